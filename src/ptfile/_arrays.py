"""Object trees with other libraries' arrays in place of tensors, and back: for `ptfile.numpy` and `ptfile.jax`."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ptfile._checkpoint import Checkpoint
from ptfile._load import load
from ptfile._save import save
from ptfile._tree import named
from ptfile._types import Buffer, Path, Readable, Writable
from ptfile.errors import LimitError, PtfileError, TensorError, UnsupportedError, located
from ptfile.limits import Limits
from ptfile.sources.file_object import name_of
from ptfile.stores.urls import redacted
from ptfile.tensors import dtypes, strides
from ptfile.tensors.create import from_numpy
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor

_DEFAULT_LIMITS = Limits()

Convert: TypeAlias = Callable[[Any], Any]
"""From a leaf of a tree to what shall stand there; itself, if it is to stay."""


def replaced(root: Any, convert: Convert, limits: Limits) -> Any:
    """A copy of an object tree with `convert(leaf)` in place of each of its leaves, once for each object.

    Its leaves are what `ptfile ls` lists: what is in objects of other classes than containers stays as it is. Errors
    say which leaf they are about. Raises LimitError for a tree that is too deep or has too much to name.
    """
    made: dict[int, Any] = {}
    leaves = named(root, limits)  # held for as long as their identities stand for them
    for name, leaf in leaves.items():
        if id(leaf.value) not in made:
            made[id(leaf.value)] = _converted(name, leaf.value, convert)
    try:
        return copy.deepcopy(root, made)
    except RecursionError as error:
        problem = "it nests deeper than Python can copy"
        raise LimitError(problem, limit="depth", allowed=limits.depth, actual=limits.depth + 1) from error


def _converted(name: str, value: Any, convert: Convert) -> Any:
    try:
        return convert(value)
    except PtfileError as error:
        error.problem = f"{name or 'the tensor'}: {error.problem}"
        raise


def save_tree(obj: object, f: Path | Writable | None, convert: Convert, options: dict[str, Any]) -> bytes | None:
    """Save a tree with its leaves converted; return the bytes if there is no `f`."""
    tree = replaced(obj, convert, _DEFAULT_LIMITS)
    if f is not None:
        save(tree, f, **options)
        return None
    buffer = io.BytesIO()
    save(tree, buffer, **options)
    return buffer.getvalue()


def load_tree(f: Path | Readable | Buffer, convert: Convert, *, limits: Limits, **options: Any) -> Any:
    """Load a tree from a path, a file object or the bytes of a file, and convert its leaves."""
    file = io.BytesIO(f) if isinstance(f, (bytes, bytearray, memoryview)) else f
    tree = load(file, limits=limits, **options)
    with located(file=redacted(os.fspath(file)) if isinstance(file, (str, os.PathLike)) else name_of(file)):
        return replaced(tree, convert, limits)


def load_flat(f: Path | Readable, convert: Convert) -> dict[str, Any]:
    """All tensors of a file by name, converted."""
    with Checkpoint(f, unknown="error") as checkpoint:
        checkpoint.read()
        return {name: _converted(name, tensor, convert) for name, tensor in checkpoint.tensors()}


def by_name(tensors: Mapping[str, Any], kinds: tuple[type, ...]) -> dict[str, Any]:
    """The same, checked: raises TypeError for anything but arrays by name."""
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, kinds):
            raise TypeError(f"{name!r}: a {type(value).__name__} is not an array, or that is no name")
    return dict(tensors)


def array_of(value: Any) -> Any:
    """The array that a tensor is; any other value is itself. Raises UnsupportedError for what no array can be."""
    if isinstance(value, Tensor):
        return value.resolve_conj().resolve_neg().numpy()
    if isinstance(value, Attributed):
        kind = type(value).__name__
        raise UnsupportedError(f"a {kind} is no array", fix="Load the file with ptfile.load, and take its parts")
    return value


class Tensors:
    """Tensors in the memory of arrays. Arrays of the same memory share a storage, so that they are saved once."""

    def __init__(self) -> None:
        self._storages: dict[tuple[int, int], tuple[Storage, DType]] = {}

    def saved(self, array: npt.NDArray[Any], *, as_array: bool) -> Tensor | npt.NDArray[Any]:
        """What is saved for an array: a tensor, or if none can hold it and `as_array` says that it may, the array.

        Raises UnsupportedError for what `load` would not give back.
        """
        if type(array) not in (np.ndarray, np.memmap):
            kind = type(array).__name__
            raise UnsupportedError(f"a {kind} is more than an array", fix="Save its parts as arrays (`np.asarray`)")
        tensor = self.of(array)
        if tensor is not None:
            return tensor
        if as_array and _is_plain(array.dtype):
            return array
        problem = f"no tensor has elements of {array.dtype}"
        raise UnsupportedError(problem, fix="Save them as elements of another type, or as Python's own values")

    def of(self, array: npt.NDArray[Any]) -> Tensor | None:
        """The tensor of an array, a copy if there are gaps in its memory; None for elements that no tensor has."""
        if array.dtype.kind not in "biufcV":
            return None
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        try:
            dtype = dtypes.from_numpy_dtype(array.dtype)
        except TensorError:
            return None
        stride = tuple(step // array.itemsize for step in array.strides)
        is_whole = all(step >= 0 and step % array.itemsize == 0 for step in array.strides)
        if not (is_whole and strides.is_dense(array.shape, stride)):
            array = np.array(array, order="C")
        tensor = from_numpy(array)
        place = (array.ctypes.data, array.nbytes)
        storage, first_dtype = self._storages.setdefault(place, (tensor.untyped_storage(), dtype))
        if dtype is not first_dtype and array.nbytes:
            return from_numpy(array.copy())  # PyTorch loads no memory that is saved as two dtypes
        return Tensor(storage, dtype, 0, tensor.shape, tensor.stride())


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether `load` gives back arrays of it: texts, times, fields of such; no objects, no arrays inside."""
    if dtype.names is not None:
        return all(_is_plain(dtype[name]) for name in dtype.names)
    return dtype.subdtype is None and not dtype.hasobject and dtype.type.__module__ == "numpy"

"""`ptfile.extract`: one tensor of a checkpoint as a file of numpy's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ptfile._collector import paused_collector
from ptfile._names import distinct
from ptfile._tree import walk
from ptfile._types import Path, Readable, Writable
from ptfile.conversion.npz_format import npy_head
from ptfile.conversion.placing import Entry
from ptfile.conversion.reading import read_tree
from ptfile.editing.casting import as_dtype, floating_dtype
from ptfile.errors import UnsupportedError, located
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sinks import open_sink
from ptfile.sources import open_source
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.create import from_numpy
from ptfile.tensors.dtypes import DType
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.tensor import Tensor

_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Extraction:
    """What `extract` has written."""

    name: str
    """Of the tensor."""
    dtype: str
    """Of the elements in the file."""
    shape: tuple[int, ...]
    nbytes: int
    """Of the file."""


def extract(
    src: Path | Readable,
    name: str,
    dst: Path | Writable,
    *,
    dtype: str | DType | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Extraction:
    """Write one tensor of a checkpoint as a `.npy` file, which `numpy.load` reads.

    src: a path, a URL, or a binary file object that can seek, of a file of any of the formats that `convert` reads.
    name: of the tensor, or of a numpy array, as `ptfile ls` gives it.
    dst: a path or a URL, which is written as `save` writes, or an object with `write` and `flush`.
    dtype: what to convert a floating point tensor to. bfloat16 and the 8-bit ones need another one: numpy knows them
        only together with other packages, and float32 holds each of their numbers exactly.
    encoding, errors: how to read the strings of Python 2, as in `load`.
    storage_options: how to open the stores that URLs are in, as in `load`.

    Takes memory for a piece of the tensor; for all of it, if its elements do not lie row by row. Its checksum is
    verified.

    Raises ValueError for a name that is that of no tensor, UnsupportedError for elements that numpy does not have, and
    what `load` raises.

    >>> import numpy, ptfile
    >>> ptfile.save({"layer": {"weight": ptfile.tensor([1.5, 2.5], dtype=ptfile.bfloat16)}}, "model.pt")
    >>> ptfile.extract("model.pt", "layer.weight", "weight.npy", dtype="float32").shape
    (2,)
    >>> numpy.load("weight.npy")
    array([1.5, 2.5], dtype=float32)
    """
    target = None if dtype is None else floating_dtype(dtype)
    sink = open_sink(dst, storage_options=storage_options)
    with open_source(src, mmap=False, storage_options=storage_options) as source, located(file=source.name):
        with paused_collector():
            tensor = _tensor(_find(read_tree(source, limits, Python2Text(encoding, errors)).root, name, limits), name)
        if target is not None:
            if not tensor.dtype.is_floating_point:
                message = f"{name!r} is of {tensor.dtype}, and only floating point tensors are converted"
                raise ValueError(message)
            tensor = as_dtype(tensor, target)
        head = npy_head(tensor)
        with sink:
            sink.expect(len(head) + tensor.nbytes)
            sink.write(head)
            for piece in Entry(tensor, 0).pieces():
                sink.write(piece.data)
    return Extraction(name, tensor.dtype.name, tensor.shape, len(head) + tensor.nbytes)


def _find(root: Any, name: str, limits: Limits) -> Any:
    leaves = list(walk(root, limits))
    names = distinct([leaf.name for leaf in leaves], [leaf.path for leaf in leaves])
    for each, leaf in zip(names, leaves, strict=True):
        if each == name:
            return leaf.value
    message = f"{name!r} is the name of nothing in it: `ptfile ls` shows the names"
    raise ValueError(message)


def _tensor(value: Any, name: str) -> Tensor:
    """A strided tensor of a dtype that numpy may have."""
    if isinstance(value, np.ndarray):
        value = from_numpy(np.asarray(value, order="C"))
    if type(value) not in (Tensor, Parameter):
        raise UnsupportedError(
            f"{name!r} is of the type {type(value).__name__}: only tensors with strides become .npy files"
        )
    if value.device == "meta":
        raise UnsupportedError(f"{name!r} is on the meta device, and has no elements")
    return value  # type: ignore[no-any-return]

"""Checkpoints for those who work in JAX: `save` and `load` of object trees with JAX's arrays in place of tensors.

    from ptfile.jax import load, save

    save({"params": params, "step": 7}, "model.pt")
    params = load("model.pt")["params"]

The files are those of `ptfile.save`: PyTorch loads the arrays as tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from ptfile._arrays import Convert, Tensors, array_of, by_name, load_flat, load_tree, save_tree
from ptfile._types import Buffer, Path, Readable, Writable
from ptfile.errors import UnsupportedError
from ptfile.limits import Limits
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.jax_arrays import import_jax, jax_array
from ptfile.tensors.python_side import Attributed

if TYPE_CHECKING:
    import jax

__all__ = ["load", "load_file", "save", "save_file"]

_DEFAULT_LIMITS = Limits()


@overload
def save(obj: object, f: None = None, **options: Any) -> bytes: ...
@overload
def save(obj: object, f: Path | Writable, **options: Any) -> None: ...
def save(obj: object, f: Path | Writable | None = None, **options: Any) -> bytes | None:
    """Save an object with its JAX and numpy arrays as tensors, as `ptfile.save` does; return the bytes without `f`.

    Arrays in dicts, lists, tuples and namespaces become tensors with the same shape. An array that is in several
    places is saved once. An array on several devices is brought together first.

    options: those of `ptfile.save`. Raises what it raises; LimitError for a tree that is too deep; UnsupportedError for
    elements that no tensor has (4-bit integers, keys of random numbers), and for an array whose elements are not there:
    it was deleted or donated, is being traced, or a part of it is on another machine.
    """
    return save_tree(obj, f, _to_tensors(as_array=True), options)


def load(
    f: Path | Readable | Buffer,
    *,
    narrow: bool = False,
    mmap: bool = False,
    unknown: Literal["error", "inert"] = "error",
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Any:
    """Load an object with JAX arrays, on JAX's default device, in place of its tensors.

    f: a path, a URL, a binary file object, or the bytes of a file. The other arguments are those of `ptfile.load`.
    narrow: whether 64-bit tensors become arrays of 32 bits while JAX's 64-bit types are off. It is an error otherwise,
        and for numbers that 32 bits cannot hold; floats are rounded.

    Devices, `requires_grad` and attributes of tensors are left out. Raises what `ptfile.load` raises; UnsupportedError
    for a tensor that no JAX array can be.
    """
    convert = _converter(narrow=narrow)
    text: dict[str, Any] = {"encoding": encoding, "errors": errors}
    return load_tree(f, convert, mmap=mmap, unknown=unknown, limits=limits, storage_options=storage_options, **text)


def save_file(tensors: Mapping[str, jax.Array], filename: Path) -> None:
    """Save arrays by name; `save` of a dict. Raises TypeError for anything but arrays by name."""
    save_tree(by_name(tensors, (import_jax().Array, np.ndarray)), filename, _to_tensors(as_array=False), {})


def load_file(filename: Path | Readable, *, narrow: bool = False) -> dict[str, jax.Array]:
    """All tensors of a file as JAX arrays, by the names that `ptfile ls` shows: nested trees become one dict.

    Raises what `load` raises.
    """
    return load_flat(filename, _converter(narrow=narrow))


def _to_tensors(*, as_array: bool) -> Convert:
    """as_array: whether numpy's arrays may stay what they are."""
    package, tensors = import_jax(), Tensors()

    def convert(value: Any) -> Any:
        if isinstance(value, package.Array):
            return tensors.saved(_elements(value), as_array=False)
        return tensors.saved(value, as_array=as_array) if isinstance(value, np.ndarray) else value

    return convert


def _elements(array: jax.Array) -> npt.NDArray[Any]:
    try:
        return np.asarray(array)
    except (RuntimeError, TypeError) as error:  # it is not there, or is none of numbers
        said = str(error).partition("\n")[0]
        raise UnsupportedError(
            f"its elements cannot be had ({said})", fix="Save an array of numbers that is there"
        ) from error


def _converter(*, narrow: bool) -> Convert:
    import_jax()  # not having it is no fault of some tensor
    return lambda value: jax_array(array_of(value), narrow=narrow) if isinstance(value, Attributed) else value

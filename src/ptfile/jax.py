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

from ptfile._arrays import Convert, Tensors, array_of, by_name, load_flat, load_tree, save_tree
from ptfile._types import Buffer, Path, Readable, Writable
from ptfile.limits import Limits
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

    options: those of `ptfile.save`. Raises what it raises; LimitError for a tree that is too deep; RuntimeError for an
    array of which a part is on another machine.
    """
    package, tensors = import_jax(), Tensors()

    def convert(value: Any) -> Any:
        if not isinstance(value, package.Array) and type(value) not in (np.ndarray, np.memmap):
            return value
        tensor = tensors.of(np.asarray(value))
        return value if tensor is None else tensor

    return save_tree(obj, f, convert, options)


def load(
    f: Path | Readable | Buffer,
    *,
    narrow: bool = False,
    mmap: bool = False,
    unknown: Literal["error", "inert"] = "error",
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
) -> Any:
    """Load an object with JAX arrays, on JAX's default device, in place of its tensors.

    f: a path, a binary file object, or the bytes of a file. The other arguments mean what they mean in `ptfile.load`.
    narrow: whether 64-bit tensors become arrays of 32 bits while JAX's 64-bit types are off. It is an error otherwise,
        and for numbers that 32 bits cannot hold; floats are rounded.

    Devices, `requires_grad` and attributes of tensors are left out. Raises what `ptfile.load` raises; UnsupportedError
    for a tensor that no JAX array can be.
    """
    convert = _converter(narrow=narrow)
    return load_tree(f, convert, mmap=mmap, unknown=unknown, encoding=encoding, errors=errors, limits=limits)


def save_file(tensors: Mapping[str, jax.Array], filename: Path) -> None:
    """Save arrays by name; `save` of a dict. Raises TypeError for anything but arrays by name."""
    save(by_name(tensors, (import_jax().Array, np.ndarray)), filename)


def load_file(filename: Path | Readable, *, narrow: bool = False) -> dict[str, jax.Array]:
    """All tensors of a file as JAX arrays, by the names that `ptfile ls` shows: nested trees become one dict.

    Raises what `load` raises.
    """
    return load_flat(filename, _converter(narrow=narrow))


def _converter(*, narrow: bool) -> Convert:
    import_jax()  # not having it is no fault of some tensor
    return lambda value: jax_array(array_of(value), narrow=narrow) if isinstance(value, Attributed) else value

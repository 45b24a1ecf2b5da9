"""Checkpoints for those who work in numpy: `save` and `load` of object trees with arrays in place of tensors.

>>> import numpy as np
>>> from ptfile.numpy import load, save
>>> save({"weight": np.ones((2, 3), np.float32), "epoch": 7}, "model.pt")
>>> load("model.pt")["weight"].shape
(2, 3)

The files are those of `ptfile.save`: PyTorch loads the arrays as tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from ptfile._arrays import Convert, Tensors, array_of, by_name, load_flat, load_tree, save_tree
from ptfile._types import Buffer, Path, Readable, Writable
from ptfile.limits import Limits
from ptfile.stores.urls import StorageOptions

__all__ = ["load", "load_file", "save", "save_file"]

_DEFAULT_LIMITS = Limits()


@overload
def save(obj: object, f: None = None, **options: Any) -> bytes: ...
@overload
def save(obj: object, f: Path | Writable, **options: Any) -> None: ...
def save(obj: object, f: Path | Writable | None = None, **options: Any) -> bytes | None:
    """Save an object with its numpy arrays as tensors, as `ptfile.save` does; return the bytes if `f` is left out.

    Arrays in dicts, lists, tuples and namespaces become tensors with the same shape. Arrays that are the same memory
    become tensors that share it; others are saved by themselves, without the gaps that strides may leave. What no
    tensor can hold (texts, times, fields) stays the numpy array that it is.

    options: those of `ptfile.save`. Raises what it raises, LimitError for a tree that is too deep, and UnsupportedError
    for arrays that `load` would not give back: of Python objects, of elements that only ml_dtypes has, and of
    subclasses, such as masked arrays.
    """
    return save_tree(obj, f, _converter(as_array=True), options)


def load(
    f: Path | Readable | Buffer,
    *,
    mmap: bool = False,
    unknown: Literal["error", "inert"] = "error",
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Any:
    """Load an object with numpy arrays in place of its tensors.

    f: a path, a URL, a binary file object, or the bytes of a file. The other arguments are those of `ptfile.load`.

    Arrays share memory as the tensors do. Elements that numpy itself lacks, such as bfloat16, are those of ml_dtypes.
    Devices, `requires_grad` and attributes of tensors are left out. Raises what `ptfile.load` raises; UnsupportedError
    for a tensor that no array can be: a sparse, quantized or nested one, or one of elements that numpy lacks.

    >>> import numpy as np
    >>> load(save([np.arange(3)]))
    [array([0, 1, 2])]
    """
    text: dict[str, Any] = {"encoding": encoding, "errors": errors}
    return load_tree(f, array_of, mmap=mmap, unknown=unknown, limits=limits, storage_options=storage_options, **text)


def save_file(tensors: Mapping[str, npt.NDArray[Any]], filename: Path) -> None:
    """Save arrays by name; `save` of a dict. Raises TypeError for anything but arrays by name, and UnsupportedError for
    arrays that no tensor can hold.
    """
    save_tree(by_name(tensors, (np.ndarray,)), filename, _converter(as_array=False), {})


def load_file(filename: Path | Readable) -> dict[str, npt.NDArray[Any]]:
    """All tensors of a file as arrays, by the names that `ptfile ls` shows: nested trees become one dict.

    Raises what `load` raises.
    """
    return load_flat(filename, array_of)


def _converter(*, as_array: bool) -> Convert:
    tensors = Tensors()
    return lambda value: tensors.saved(value, as_array=as_array) if isinstance(value, np.ndarray) else value

"""`ptfile.extract`: one tensor of a checkpoint as a file of numpy's."""

from __future__ import annotations

from dataclasses import dataclass

from ptfile._types import Path, Progress, Readable, Writable
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.dtypes import DType

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
    progress: Progress | None = None,
) -> Extraction:
    """Write one tensor of a checkpoint as a `.npy` file, which `numpy.load` reads.

    src: a path, a URL, or a binary file object that can seek, of a file of any of the formats that `convert` reads.
    name: of the tensor, or of a numpy array, as `ptfile ls` gives it.
    dst: a path or a URL, which is written as `save` writes, or an object with `write` and `flush`.
    dtype: what to convert a floating point tensor to. bfloat16 and the 8-bit ones need another one: numpy knows them
        only together with other packages, and float32 holds each of their numbers exactly.
    encoding, errors: how to read the strings of Python 2, as in `load`.
    storage_options: how to open the stores that URLs are in, as in `load`.
    progress: is called with the bytes that are done and those to do, again and again.

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
    from ptfile.editing.extracting import run  # as in `convert`

    found, nbytes = run(src, name, dst, dtype, Python2Text(encoding, errors), limits, storage_options, progress)
    return Extraction(name, found.dtype.name, found.shape, nbytes)

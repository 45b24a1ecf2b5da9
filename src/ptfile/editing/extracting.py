"""What `extract` does."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptfile._collector import paused_collector
from ptfile._progress import Counter
from ptfile._selection import SelectionError, unknown
from ptfile._tree import named
from ptfile._types import Path, Progress, Readable, Writable
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


def run(
    src: Path | Readable,
    name: str,
    dst: Path | Writable,
    dtype: str | DType | None,
    text: Python2Text,
    limits: Limits,
    storage_options: StorageOptions,
    progress: Progress | None,
) -> tuple[Tensor, int]:
    """The tensor that was written, and the bytes of the file. Raises as `extract` says."""
    target = None if dtype is None else floating_dtype(dtype)
    sink = open_sink(dst, storage_options=storage_options)
    with open_source(src, mmap=False, storage_options=storage_options) as source, located(file=source.name):
        with paused_collector():
            tensor = _tensor(_find(read_tree(source, limits, text).root, name, limits), name)
        if target is not None:
            if not tensor.dtype.is_floating_point:
                message = f"{name!r} is of {tensor.dtype}, and only floating point tensors are converted"
                raise ValueError(message)
            tensor = as_dtype(tensor, target)
        head = npy_head(tensor)
        counter = Counter(progress, len(head) + tensor.nbytes)
        with sink:
            sink.expect(counter.total)
            sink.write(head)
            for piece in Entry(tensor, 0).pieces():
                sink.write(piece.data)
                counter.advance(piece.nbytes)
        counter.finish()
    return tensor, len(head) + tensor.nbytes


def _find(root: Any, name: str, limits: Limits) -> Any:
    leaves = named(root, limits)
    if name in leaves:
        return leaves[name].value
    shown = [each for each, leaf in leaves.items() if not leaf.is_aside]
    raise SelectionError(unknown(shown, name))


def _tensor(value: Any, name: str) -> Tensor:
    """A strided tensor of a dtype that numpy may have."""
    if isinstance(value, np.ndarray):
        value = from_numpy(np.asarray(value, order="C"))
    if type(value) not in (Tensor, Parameter):
        problem = f"{name!r} is of the type {type(value).__name__}: only tensors with strides become .npy files"
        raise UnsupportedError(problem, fix="`ptfile show` prints anything else, and its parts if it has some")
    if value.device == "meta":
        problem = f"{name!r} is on the meta device, and has no elements"
        raise UnsupportedError(problem, fix="Take it from a checkpoint that was saved from another device")
    return value  # type: ignore[no-any-return]

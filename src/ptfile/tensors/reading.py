"""The elements of a view as bytes in memory, read from a file if need be: no more of them than the view needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptfile._lazy import np
from ptfile.errors import TensorError
from ptfile.tensors import strides
from ptfile.tensors.blocks import blocks
from ptfile.tensors.storage import empty_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

    from ptfile.tensors.storage import Bytes, Storage
    from ptfile.tensors.strides import Ints


def bytes_of_view(storage: Storage, offset: int, shape: Ints, stride: Ints, itemsize: int) -> tuple[Bytes, int, Ints]:
    """Bytes in memory that hold the elements of a view, and the offset and strides with which they do.

    Those of the storage; or, of a large one that has not been read, read-only copies of these elements alone.
    """
    if storage.is_loaded:
        return storage.data, offset, stride
    # However often a stride of 0 repeats an element, it is read once.
    once = tuple(min(size, 1) if step == 0 else size for size, step in zip(shape, stride, strict=True))
    if not storage.is_read_in_parts(strides.numel(once) * itemsize):
        return storage.data, offset, stride
    if strides.may_overlap(once, stride):
        start = offset * itemsize
        return _read_only(storage.peek(start, start + strides.extent(once, stride) * itemsize)), 0, stride
    data, dense = _read_blocks(storage, offset, once, stride, itemsize)
    return _read_only(data), 0, tuple(0 if old == 0 else new for old, new in zip(stride, dense, strict=True))


def _read_blocks(storage: Storage, offset: int, shape: Ints, stride: Ints, itemsize: int) -> tuple[Bytes, Ints]:
    """The elements of a view whose strides do not overlap, without the bytes between them; and their strides now."""
    nbytes, dense = strides.numel(shape) * itemsize, strides.dense(shape, stride)
    raw = np.dtype((np.void, itemsize))
    data = empty_bytes(nbytes)
    target = as_array(data, raw, 0, shape, dense)
    storage.will_peek((block.start, block.stop) for block in blocks(offset, shape, stride, itemsize))
    for block in blocks(offset, shape, stride, itemsize):
        read = storage.peek(block.start, block.stop)
        part = target[block.index]
        if part.shape == tuple(shape) and read.size == nbytes:  # all of them, in one run
            return read, dense
        part[...] = as_array(read, raw, 0, part.shape, stride)
    return data, dense


def _read_only(data: Bytes) -> Bytes:
    """The same bytes, for looking only: who writes into a copy of a file's bytes should learn that nobody sees it."""
    view: Bytes = data.view()
    view.flags.writeable = False
    return view


def as_array(
    data: npt.NDArray[Any], element: np.dtype[Any], offset: int, shape: Ints, stride: Ints
) -> npt.NDArray[Any]:
    """An array over these bytes; offset and stride count elements. Raises TensorError for what numpy cannot hold."""
    try:
        if 0 in shape:
            return np.empty(shape, element)  # its offset may lie outside the storage
        places = [step * element.itemsize for step in stride]
        return np.ndarray(shape, element, data, offset * element.itemsize, places)
    except ValueError as error:
        raise TensorError(f"numpy cannot hold a tensor of sizes {shape} and strides {stride}: {error}") from error

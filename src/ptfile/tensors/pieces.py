"""A tensor in pieces of a few MiB, each read by itself: for whatever has to see all elements and keep none.

Elements lie in a piece as they do in the tensor, and the pieces come in the order of the bytes, not of the indexes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from ptfile.tensors import strides
from ptfile.tensors.quantized import PER_BYTE, PerChannel, QuantizedTensor
from ptfile.tensors.reach import reached
from ptfile.tensors.storage import Storage
from ptfile.tensors.strides import Ints
from ptfile.tensors.tensor import Tensor

PIECE = 8 << 20
"""Bytes that are read at a time."""
Box: TypeAlias = "tuple[slice, ...]"
"""A part of a tensor: a slice for each dimension."""


def boxes(shape: Ints, stride: Ints, itemsize: int, most: int = PIECE) -> Iterator[Box]:
    """Parts that together are a tensor of this shape and these strides, none of which spans more than `most` bytes.

    It is cut along the dimension with the longest steps first, so that what is read of a part is a part of it.

    >>> [box for box in boxes((4, 3), (3, 1), 4, 24)]
    [(slice(0, 2, None), slice(0, 3, None)), (slice(2, 4, None), slice(0, 3, None))]
    """
    if 0 in shape:
        return
    waiting: list[Box] = [tuple(slice(0, size) for size in shape)]
    while waiting:
        box = waiting.pop()
        sizes = tuple(part.stop - part.start for part in box)
        cost = max(strides.extent(sizes, stride), strides.numel(sizes)) * itemsize
        if cost <= most or max(sizes, default=1) == 1:
            yield box
            continue
        dim = max((dim for dim, size in enumerate(sizes) if size > 1), key=lambda dim: (stride[dim], sizes[dim]))
        step = max(sizes[dim] * most // cost, 1)
        part = box[dim]
        starts = range(part.start, part.stop, step)
        cut = (slice(start, min(start + step, part.stop)) for start in reversed(starts))
        waiting += ((*box[:dim], smaller, *box[dim + 1 :]) for smaller in cut)


def piece(tensor: Tensor, box: Box) -> Tensor:
    """A part of a tensor, in memory. Of a storage that has not been read only that part is, and it is not kept.

    Small storages are read whole, and checked; nothing verifies a part of one.
    """
    view = tensor[box]
    storage = view.untyped_storage()
    if storage.nbytes() <= PIECE:
        here, offset = Storage(storage.peek(0, storage.nbytes())), view.storage_offset()
    else:
        here, offset = Storage(storage.peek(*reached(view))), 0
    return Tensor(here, view.dtype, offset, view.shape, view.stride(), False, view.is_conj(), view.is_neg())


def pieces(tensor: Tensor | QuantizedTensor) -> Iterator[Tensor]:
    """All of a tensor, of a quantized one as the numbers that its integers stand for, in pieces."""
    if not isinstance(tensor, QuantizedTensor):
        for box in boxes(tensor.shape, tensor.stride(), tensor.itemsize):
            yield piece(tensor, box)
    elif tensor.dtype in PER_BYTE:
        yield tensor.dequantize()
    else:
        integers = tensor.int_repr()
        for box in boxes(tensor.shape, tensor.stride(), tensor.dtype.itemsize):
            yield _quantized(tensor, piece(integers, box), box).dequantize()


def _quantized(whole: QuantizedTensor, part: Tensor, box: Box) -> QuantizedTensor:
    quantizer = whole.quantizer
    if isinstance(quantizer, PerChannel):
        channels = box[quantizer.axis]
        quantizer = PerChannel(quantizer.scales[channels], quantizer.zero_points[channels], quantizer.axis)
    place = (part.storage_offset(), part.shape, part.stride())
    return QuantizedTensor(part.untyped_storage(), whole.dtype, *place, quantizer)

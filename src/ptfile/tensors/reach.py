"""What part of a storage its tensors reach, in bytes: what has to be in a file for them, and what has not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ptfile.tensors import strides
from ptfile.tensors.quantized import PER_BYTE, QuantizedTensor
from ptfile.tensors.storage import Run

if TYPE_CHECKING:
    from ptfile.tensors.tensor import Tensor


def reached(tensor: Tensor | QuantizedTensor) -> Run:
    """The bytes from a tensor's first element to its last; none, at its offset, if it has no elements.

    A tensor of elements of which a byte holds several counts as reaching all of its storage.
    """
    if isinstance(tensor, QuantizedTensor) and tensor.dtype in PER_BYTE:
        return 0, tensor.untyped_storage().nbytes()
    itemsize = tensor.dtype.itemsize
    first = tensor.storage_offset() * itemsize
    return first, first + strides.extent(tensor.shape, tensor.stride()) * itemsize


def joined(runs: Iterable[Run], unit: int = 1) -> list[Run]:
    """The runs in order, widened to multiples of `unit` bytes; those that overlap or touch are one, empty ones none.

    >>> joined([(20, 24), (0, 8), (4, 12), (12, 16), (30, 30)])
    [(0, 16), (20, 24)]
    """
    made: list[Run] = []
    for start, stop in sorted((first - first % unit, last + -last % unit) for first, last in runs if first < last):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], stop))
        else:
            made.append((start, stop))
    return made

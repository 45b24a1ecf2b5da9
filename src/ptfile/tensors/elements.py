"""The elements of a tensor as bytes that say its values and nothing of how they lie in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ptfile._lazy import np
from ptfile.tensors import dtypes
from ptfile.tensors.quantized import PER_BYTE, QuantizedTensor
from ptfile.tensors.reach import reached
from ptfile.tensors.storage import Bytes, Storage
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

PIECE = 4 << 20
"""Bytes that are in memory at a time, unless elements do not lie row by row: then all that the tensor spans are."""


def element_bytes(tensor: Tensor | QuantizedTensor) -> Iterator[Bytes]:
    """The values row by row and little-endian, in pieces; of quantized tensors the integers, one in a byte at least.

    The conj and neg flags are resolved, and a bool is 0 or 1. A storage that has not been read stays so: only what the
    tensor reaches is read, and not checked. Raises LimitError for a huge view of a small storage.
    """
    if isinstance(tensor, QuantizedTensor):
        tensor = integers(tensor)
    tensor.afford(tensor.nbytes)
    pieces = _contiguous_pieces(tensor) if tensor.is_contiguous() else _strided_pieces(tensor)
    return (_canonical(piece, tensor) for piece in pieces)


def integers(tensor: QuantizedTensor) -> Tensor:
    """What a quantized tensor holds, one integer in a byte at least."""
    if tensor.dtype in PER_BYTE:
        return tensor.unpacked()
    return tensor.int_repr()


def _contiguous_pieces(tensor: Tensor) -> Iterator[Bytes]:
    storage, (start, stop) = tensor.untyped_storage(), reached(tensor)
    storage.will_peek([(start, stop)])
    return (storage.peek(first, min(first + PIECE, stop)) for first in range(start, stop, PIECE))


def _strided_pieces(tensor: Tensor) -> Iterator[Bytes]:
    span = Storage(tensor.untyped_storage().peek(*reached(tensor)))
    return _blocks(Tensor(span, tensor.dtype, 0, tensor.shape, tensor.stride()).raw_array())


def _blocks(array: npt.NDArray[Any]) -> Iterator[Bytes]:
    """The array's bytes in row-major order."""
    if array.nbytes <= PIECE:
        yield np.frombuffer(array.tobytes(), np.uint8)
        return
    rows = PIECE // (array.nbytes // len(array))
    if rows:
        for first in range(0, len(array), rows):
            yield np.frombuffer(array[first : first + rows].tobytes(), np.uint8)
    else:
        for row in array:
            yield from _blocks(row)


def _canonical(piece: Bytes, tensor: Tensor) -> Bytes:
    dtype = tensor.dtype
    if dtype is dtypes.bool:
        return np.not_equal(piece, 0).view(np.uint8)
    unit = dtype.itemsize // (2 if dtype.is_complex else 1)
    if tensor.is_conj() or tensor.is_neg():
        piece = _with_flags(piece, tensor, unit)
    if sys.byteorder == "big" and unit > 1:
        piece = piece.reshape(-1, unit)[:, ::-1].copy().reshape(-1)
    return piece


def _with_flags(piece: Bytes, tensor: Tensor, unit: int) -> Bytes:
    """Conjugated: the sign of each imaginary part is turned; negated: that of every number."""
    if unit == 1 or not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
        # Of the 8-bit floats some have no sign, and some have NaN where the negative zero would be.
        return np.negative(piece.view(tensor.dtype.numpy)).view(np.uint8)
    parts = piece.copy().view(f"u{unit}")
    sign = parts.dtype.type(1 << (8 * unit - 1))
    if tensor.is_conj():
        parts[1::2] ^= sign
    if tensor.is_neg():
        parts ^= sign
    flipped: Bytes = parts.view(np.uint8)
    return flipped

"""Two tensors of one shape, element by element, a few MiB of each at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ptfile._lazy import np
from ptfile.tensors.pieces import boxes, piece
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """When two numbers count as equal: `|a - b| <= atol + rtol * |b|`, both finite."""

    rtol: float = 0.0
    atol: float = 0.0
    equal_nan: bool = True
    """Whether NaN equals NaN."""

    def __post_init__(self) -> None:
        if not (self.rtol >= 0 and self.atol >= 0):
            message = f"rtol and atol are 0 or more, not {self.rtol} and {self.atol}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Apart:
    """How far two tensors are apart."""

    differing: int
    """Elements that are not equal within the tolerance."""
    max_abs: int | float | None
    """The largest absolute difference; NaN if NaN stands against a number, None for bits without a value."""


def compare(a: Tensor, b: Tensor, tolerance: Tolerance, advance: Callable[[int], object]) -> Apart:
    """Compare all elements of two tensors of the same shape.

    advance: is told of elements that are done.

    If the dimensions of the two do not lie in the same order, all that the second spans is in memory at once.
    """
    if _order(a) == _order(b):
        steps = tuple(
            max(x * a.itemsize, y * b.itemsize) for x, y in zip(a.stride(), b.stride(), strict=True)
        )  # of bytes
        parts = boxes(a.shape, steps, 1)
    else:
        b = piece(b, tuple(slice(0, size) for size in b.shape))
        parts = boxes(a.shape, a.stride(), a.itemsize)
    has_values = all(tensor.dtype.numpy_name is not None or tensor.dtype.is_complex for tensor in (a, b))
    differing = 0
    largest: int | float | None = 0 if has_values else None
    for box in parts:
        first, second = piece(a, box), piece(b, box)
        if has_values:
            count, gap = _numbers_apart(first.values_array(), second.values_array(), tolerance)
            largest = gap if largest is None or gap > largest or math.isnan(gap) else largest  # NaN stays
        else:
            count = _bytes_apart(first, second)
        differing += count
        advance(first.numel())
    return Apart(differing, largest)


def _order(tensor: Tensor) -> list[int]:
    """The dimensions by how far their steps are."""
    long = (dim for dim, size in enumerate(tensor.shape) if size > 1)
    return sorted(long, key=lambda dim: -tensor.stride()[dim])


def _bytes_apart(a: Tensor, b: Tensor) -> int:
    """Elements of which a byte differs."""
    if a.itemsize != b.itemsize:
        return a.numel()
    first, second = (
        np.frombuffer(tensor.raw_array().tobytes(), np.uint8).reshape(-1, tensor.itemsize) for tensor in (a, b)
    )
    return int((first != second).any(axis=1).sum())


def _numbers_apart(a: Array, b: Array, tolerance: Tolerance) -> tuple[int, int | float]:
    """(elements that differ, the largest difference)."""
    whole = [_whole(values) for values in (a, b)]
    if whole[0] is not None and whole[1] is not None and whole[0].dtype == whole[1].dtype:
        return _integers_apart(whole[0], whole[1], tolerance)
    plain = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    return _floats_apart(a.astype(plain), b.astype(plain), tolerance)


def _whole(values: Array) -> Array | None:
    """Integers as those of 64 bits; None for what are no integers."""
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind not in "iu":
        return None
    return values if values.dtype == np.uint64 else values.astype(np.int64)


def _integers_apart(a: Array, b: Array, tolerance: Tolerance) -> tuple[int, int]:
    # In unsigned arithmetic the difference of any two fits.
    gap = np.maximum(a, b).view(np.uint64) - np.minimum(a, b).view(np.uint64)
    if tolerance.rtol or tolerance.atol:
        allowed = tolerance.atol + tolerance.rtol * np.abs(b.astype(np.float64))
        differs = gap.astype(np.float64) > allowed
    else:
        differs = gap != 0
    return int(differs.sum()), int(gap.max(initial=0))


def _floats_apart(a: Array, b: Array, tolerance: Tolerance) -> tuple[int, float]:
    with np.errstate(all="ignore"):
        equal = a == b
        if tolerance.equal_nan:
            equal |= np.isnan(a) & np.isnan(b)
        gap = np.where(equal, 0.0, np.abs(a - b))
        near = np.isfinite(gap) & (gap <= tolerance.atol + tolerance.rtol * np.abs(b))
    return int((~(equal | near)).sum()), float(gap.max(initial=0.0))

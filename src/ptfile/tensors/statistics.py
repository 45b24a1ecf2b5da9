"""`ptfile.statistics`: the smallest, the largest, the mean and the spread of a tensor's numbers, and how they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from ptfile._lazy import np
from ptfile._types import Progress
from ptfile.errors import LimitError, TensorError, UnsupportedError
from ptfile.tensors.pieces import pieces
from ptfile.tensors.quantized import QuantizedTensor
from ptfile.tensors.tensor import EXPANDED_COPY, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

_KEPT = 64 << 20
"""Bytes of the numbers of a tensor that is read once for its bounds and its histogram; a larger one is read twice."""

_EXACT = 1 << 50
"""Integers below which a float64 has room for halves."""

Number: TypeAlias = "int | float"
Array: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the numbers of a tensor are like. Those of a complex tensor are its absolute values."""

    count: int
    """Elements."""
    nans: int
    infinities: int
    """Of either sign. Neither they nor NaN count in what follows."""
    zeros: int
    min: Number | None
    """An int for integers and bools, exactly; None if there is no finite number."""
    max: Number | None
    mean: float | None
    """In float64; None as well if the sum is too large for one. Of integers it is the exact mean, rounded."""
    std: float | None
    """Standard deviation in float64 as PyTorch's `std`, over the count less one; None for fewer than two numbers."""
    histogram: tuple[int, ...]
    """How many numbers there are in each of equal parts of the range from `min` to `max`, both included (of integers
    the last part may go beyond `max`); empty if none was asked for."""


def statistics(tensor: Tensor | QuantizedTensor, bins: int = 0, *, progress: Progress | None = None) -> Statistics:
    """Statistics of a tensor of numbers. It is looked at in pieces: no more than some 100 MiB are in memory.

    bins: parts of the histogram; of integers fewer, so that each stands for as many numbers. 0: no histogram.

    progress: is called with the bytes looked at so far and the bytes that there are to look at.

    A quantized tensor counts as the numbers that its integers stand for. The parts of a large tensor that has not been
    read are not verified by checksums.

    Raises UnsupportedError for elements that numpy has no numbers for, TensorError for a tensor without elements in
    the file (on the meta device), LimitError for a huge view of a small storage.

    >>> import ptfile
    >>> found = statistics(ptfile.tensor([1, 2, 2, 5]), bins=10)
    >>> found.min, found.max, found.mean, round(found.std, 3), found.histogram
    (1, 5, 2.5, 1.732, (1, 2, 0, 0, 1))
    """
    _check(tensor)
    small = tensor.numel() * np.dtype(np.float64).itemsize <= _KEPT
    told = _Told(tensor, progress, 1 if small or not bins else 2)
    kept = list(_numbers(tensor, told)) if small else None
    totals = _Totals()
    for numbers in _numbers(tensor, told) if kept is None else kept:
        totals.add(numbers)
    found = totals.result(tensor.numel())
    if not bins or found.min is None or found.max is None:
        return found
    edges = _edges(found.min, found.max, bins)
    if edges is None:
        return found
    counts = np.zeros(len(edges) - 1, np.int64)
    for numbers in _numbers(tensor, told) if kept is None else kept:
        counts += np.histogram(_finite(numbers), edges)[0]
    return replace(found, histogram=tuple(counts.tolist()))


def _check(tensor: Tensor | QuantizedTensor) -> None:
    if tensor.device == "meta":
        raise TensorError("a tensor on the meta device has a shape and no elements")
    cost = tensor.numel() * tensor.dtype.itemsize
    if cost > EXPANDED_COPY and cost > 16 * tensor.untyped_storage().nbytes():
        problem = f"a view of {tensor.numel()} elements of a storage of {tensor.untyped_storage().nbytes()} bytes"
        raise LimitError(problem, limit="expanded_copy", allowed=EXPANDED_COPY, actual=cost)
    if tensor.dtype.numpy_name is None and not (tensor.dtype.is_quantized or tensor.dtype.is_complex):
        raise UnsupportedError(f"numpy has no numbers for the elements of {tensor.dtype}")


class _Told:
    """How far it is, for whoever wants to know."""

    def __init__(self, tensor: Tensor | QuantizedTensor, progress: Progress | None, rounds: int) -> None:
        self._progress = progress
        self._total = tensor.numel() * rounds
        self._itemsize = tensor.dtype.itemsize
        self._done = 0

    def advance(self, elements: int) -> None:
        self._done += elements
        if self._progress is not None:
            self._progress(self._done * self._itemsize, self._total * self._itemsize)


def _numbers(tensor: Tensor | QuantizedTensor, told: _Told) -> Iterator[Array]:
    """The elements in pieces, as integers or as float64."""
    for part in pieces(tensor):
        yield _plain(part.values_array()).reshape(-1)
        told.advance(part.numel())


def _plain(values: Array) -> Array:
    if values.dtype.kind == "b":
        return values.view(np.uint8)
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind == "c":
        with np.errstate(over="ignore"):
            return np.abs(values.astype(np.complex128))
    return values.astype(np.float64)


def _finite(numbers: Array) -> Array:
    if numbers.dtype.kind != "f":
        return numbers
    is_finite = np.isfinite(numbers)
    finite: Array = numbers if is_finite.all() else numbers[is_finite]
    return finite


class _Totals:
    """What is known of the pieces so far."""

    def __init__(self) -> None:
        self._nans = self._infinities = self._zeros = self._count = 0
        self._min: Number | None = None
        self._max: Number | None = None
        self._sums: list[Number] = []
        self._mean = self._squares = 0.0  # of the squares of the distances from the mean

    def add(self, numbers: Array) -> None:
        if numbers.dtype.kind == "f":
            self._nans += int(np.isnan(numbers).sum())
            self._infinities += int(np.isinf(numbers).sum())
            numbers = _finite(numbers)
        count = numbers.size
        if not count:
            return
        self._zeros += count - int(np.count_nonzero(numbers))
        low, high = numbers.min().item(), numbers.max().item()
        self._min = low if self._min is None else min(self._min, low)
        self._max = high if self._max is None else max(self._max, high)
        with np.errstate(all="ignore"):
            total = _sum(numbers)
            self._sums.append(total)
            self._merge(count, total / count, float(np.square(numbers.astype(np.float64) - total / count).sum()))

    def _merge(self, count: int, mean: float, squares: float) -> None:
        """Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (1979)."""
        together = self._count + count
        apart = mean - self._mean
        self._squares += squares + apart * apart * (self._count / together) * count
        self._mean += apart * (count / together)
        self._count = together

    def result(self, count: int) -> Statistics:
        mean = std = None
        if self._count:
            is_exact = all(isinstance(total, int) for total in self._sums)
            mean = (sum(self._sums) if is_exact else _float_sum(self._sums)) / self._count
        if self._count > 1:
            std = math.sqrt(self._squares / (self._count - 1)) if math.isfinite(self._squares) else None
        mean = mean if mean is not None and math.isfinite(mean) else None
        return Statistics(
            count, self._nans, self._infinities, self._zeros, self._min, self._max, mean, std, histogram=()
        )


def _sum(numbers: Array) -> Number:
    """The sum: of integers exactly."""
    if numbers.dtype.kind == "f":
        return float(numbers.sum())
    if numbers.dtype.itemsize < 8:
        return int(numbers.sum(dtype=np.int64))
    # Halves, of which a piece cannot have as many as would overflow.
    return (int((numbers >> 32).sum()) << 32) + int((numbers & 0xFFFFFFFF).sum())


def _float_sum(sums: list[Number]) -> float:
    try:
        return math.fsum(sums)
    except (OverflowError, ValueError):
        return math.inf


def _edges(low: Number, high: Number, bins: int) -> Array | None:
    """Where the parts of a histogram begin and end; None for a range that is too wide for a float64."""
    start, stop = float(low), float(high)
    if isinstance(low, int) and isinstance(high, int) and high - low < _EXACT:
        width = -(-(high - low + 1) // bins)
        edges = low - 0.5 + width * np.arange((high - low) // width + 2)
    elif start == stop:
        spread = abs(start) / 2 or 0.5
        edges = np.array([start - spread, start + spread])
    else:
        with np.errstate(all="ignore"):
            edges = start + (stop - start) * np.arange(bins + 1) / bins
        edges[-1] = stop
    return edges if np.isfinite(edges).all() and (np.diff(edges) > 0).all() else None

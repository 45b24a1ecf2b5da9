"""Statistics of tensors, held against numpy and against Python's own exact numbers."""

from __future__ import annotations

import math
import statistics as python
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptfile
from ptfile.tensors import pieces
from ptfile.tensors.quantized import PerChannel, PerTensor, QuantizedTensor
from ptfile.tensors.storage import Storage


@pytest.fixture
def tiny_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few elements, so that small tensors have many."""
    monkeypatch.setattr(pieces.boxes, "__defaults__", (64,))
    monkeypatch.setattr(pieces, "PIECE", 64)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e5m2"])
def test_floats(dtype: str, tiny_pieces: None) -> None:
    """As numpy's in float64, over the finite numbers."""
    values = np.random.default_rng(1).normal(size=500)
    values[[3, 7]] = np.nan, 0
    tensor = ptfile.tensor(values.tolist(), dtype=getattr(ptfile, dtype))
    found = ptfile.statistics(tensor, 10)
    finite = tensor.numpy().astype(np.float64)
    finite = finite[np.isfinite(finite)]

    assert (found.count, found.nans, found.infinities) == (500, 1, 0)
    assert found.zeros == int((finite == 0).sum())
    assert (found.min, found.max) == (finite.min(), finite.max())
    assert found.mean == pytest.approx(finite.mean(), rel=1e-12)
    assert found.std == pytest.approx(finite.std(ddof=1), rel=1e-12)
    assert found.histogram == tuple(np.histogram(finite, 10)[0])


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=50))
def test_integers_are_exact(values: list[int]) -> None:
    """The bounds, and the mean but for its rounding."""
    found = ptfile.statistics(ptfile.tensor(values))

    assert (found.min, found.max, found.zeros) == (min(values), max(values), values.count(0))
    assert found.mean == sum(values) / len(values)
    assert found.std == pytest.approx(float(python.stdev(values)), rel=1e-9, abs=1)


def test_unsigned_integers_are_exact() -> None:
    """Up to the largest."""
    values = np.array([2**64 - 1, 2**64 - 3, 0], np.uint64)
    found = ptfile.statistics(ptfile.from_numpy(values), 4)

    assert (found.min, found.max, found.mean) == (0, 2**64 - 1, (2**65 - 4) / 3)
    assert sum(found.histogram) == 3


@pytest.mark.parametrize("index", [(...,), (slice(None), slice(0, 3)), (slice(1, 30, 4),), (5,)])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_any_view(index: Any, is_transposed: bool, tiny_pieces: None) -> None:
    """Each element counts once, however it lies."""
    values = np.arange(35 * 11).reshape(35, 11)
    whole = ptfile.from_numpy(values)
    view, expected = (whole.T, values.T) if is_transposed else (whole, values)
    found = ptfile.statistics(view[index])
    expected = expected[index]

    assert (found.count, found.min, found.max) == (expected.size, expected.min(), expected.max())
    assert found.mean == expected.mean()


def test_what_has_not_been_read_is_not_kept() -> None:
    """A large tensor of a file is read in pieces."""
    data = np.arange(1 << 22, dtype=np.float32).view(np.uint8)
    asked: list[tuple[int, int]] = []

    def peek(start: int, stop: int) -> Any:
        asked.append((start, stop))
        return data[start:stop]

    storage = Storage.deferred(data.size, pytest.fail, fetch_range=peek)
    tensor = ptfile.Tensor(storage, ptfile.float32, 0, (1 << 22,), (1,))

    assert ptfile.statistics(tensor, 5).max == (1 << 22) - 1
    assert asked == [(0, 8 << 20), (8 << 20, 16 << 20)]
    assert not storage.is_loaded


def test_expanded_views_count_every_element() -> None:
    """As PyTorch would; a huge one is refused."""
    assert ptfile.statistics(ptfile.tensor([1.0, 3.0]).expand(1000, 2)).mean == 2
    with pytest.raises(ptfile.LimitError):
        ptfile.statistics(ptfile.zeros(1).expand(1 << 60))


def test_quantized_tensors_count_as_their_numbers(tiny_pieces: None) -> None:
    """By tensor, and by channel."""
    integers = ptfile.from_numpy(np.arange(-100, 100, dtype=np.int8))
    place = (integers.untyped_storage(), ptfile.qint8, 0, (10, 20), (20, 1))
    channels = PerChannel(ptfile.arange(1.0, 21.0), ptfile.arange(20), 1)

    for tensor in (QuantizedTensor(*place, PerTensor(0.5, 10)), QuantizedTensor(*place, channels)):
        expected = tensor.dequantize().numpy().astype(np.float64)
        found = ptfile.statistics(tensor)
        assert (found.min, found.max) == (expected.min(), expected.max())
        assert found.mean == pytest.approx(expected.mean())


def test_complex_numbers_count_by_their_size() -> None:
    """There is no order among them."""
    found = ptfile.statistics(ptfile.tensor([3 + 4j, 0, complex(math.nan, 1)]))
    assert (found.min, found.max, found.nans, found.zeros) == (0, 5, 1, 1)


def test_what_has_no_numbers() -> None:
    """No elements: nothing is known; on the meta device and of mere bits: errors."""
    assert ptfile.statistics(ptfile.zeros(0), 5) == ptfile.Statistics(0, 0, 0, 0, None, None, None, None, ())
    with pytest.raises(ptfile.TensorError):
        ptfile.statistics(ptfile.zeros(2, device="meta"))
    with pytest.raises(ptfile.UnsupportedError):
        ptfile.statistics(ptfile.zeros(2, dtype=ptfile.bits8))


def test_numbers_at_the_end_of_the_range() -> None:
    """No number is better than a wrong one."""
    found = ptfile.statistics(ptfile.tensor([1e308, 1.5e308, -1e308], dtype=ptfile.float64), 5)
    assert (found.min, found.max) == (-1e308, 1.5e308)
    assert (found.std, found.histogram) == (None, ())
    found = ptfile.statistics(ptfile.full((4,), 1e308, dtype=ptfile.float64))
    assert found.mean is None

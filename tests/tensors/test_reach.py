"""What tensors reach of their storages."""

from __future__ import annotations

import pytest

import ptfile
from ptfile.tensors.quantized import PerTensor, QuantizedTensor
from ptfile.tensors.reach import joined, reached
from ptfile.tensors.storage import Storage


def test_a_tensor_reaches_from_its_first_element_to_its_last() -> None:
    """Whatever it skips on the way."""
    x = ptfile.arange(100)
    assert reached(x) == (0, 800)
    assert reached(x[10:20]) == (80, 160)
    assert reached(x[10:20:3]) == (80, 160)
    assert reached(x[10:20:4]) == (80, 152)
    assert reached(x.reshape(10, 10).T[2:4]) == (16, 16 + 8 * 92)


def test_a_stride_of_0_reaches_one_element() -> None:
    """However large the expanded tensor is."""
    assert reached(ptfile.arange(10)[3].expand(1000)) == (24, 32)


def test_an_empty_tensor_reaches_nothing_at_its_place() -> None:
    """Wherever that is."""
    x = ptfile.zeros(2, 3)
    assert reached(x[1:1]) == (12, 12)
    assert reached(x[2:, 3:]) == (36, 36)


def test_quantized_elements_of_a_byte_or_more_are_like_others() -> None:
    """Offset and strides count elements."""
    made = QuantizedTensor(Storage(bytes(40)), ptfile.qint32, 2, (3,), (2,), PerTensor(1.0, 0))
    assert reached(made) == (8, 28)


@pytest.mark.parametrize("dtype", [ptfile.quint4x2, ptfile.quint2x4])
def test_elements_that_share_a_byte_reach_the_whole_storage(dtype: ptfile.DType) -> None:
    """PyTorch has no views of such tensors."""
    assert reached(QuantizedTensor(Storage(bytes(40)), dtype, 2, (3,), (2,), PerTensor(1.0, 0))) == (0, 40)


def test_runs_that_overlap_or_touch_are_joined() -> None:
    """In order; one inside another adds nothing."""
    assert joined([(40, 48), (0, 8), (8, 16), (0, 4), (44, 60)]) == [(0, 16), (40, 60)]
    assert joined([(0, 100), (10, 20)]) == [(0, 100)]


def test_empty_runs_join_nothing() -> None:
    """Not even when they lie inside a gap."""
    assert joined([(0, 8), (8, 8), (12, 12), (16, 24)]) == [(0, 8), (16, 24)]
    assert joined([(3, 3)]) == []


def test_runs_are_widened_to_whole_elements_of_the_largest_kind() -> None:
    """And joined where that makes them meet."""
    assert joined([(4, 8), (12, 16)], 8) == [(0, 16)]
    assert joined([(5, 6), (24, 25)], 4) == [(4, 8), (24, 28)]

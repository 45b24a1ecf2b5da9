"""Arithmetic on shapes and strides, held against numpy's."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, basic_indices, broadcastable_shapes

from ptfile.errors import TensorError
from ptfile.tensors import strides

if TYPE_CHECKING:
    from ptfile.tensors.strides import Ints

SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def numbers(shape: Ints) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(prod(shape), dtype=np.int64).reshape(shape)


def element_strides(array: np.ndarray[Any, Any]) -> Ints:
    return tuple(step // array.itemsize for step in array.strides)


def places(offset: int, shape: Ints, stride: Ints) -> list[int]:
    """Where in the storage each element is, row by row."""
    return [offset + sum(i * step for i, step in zip(index, stride, strict=True)) for index in np.ndindex(shape)]


@st.composite
def views(draw: st.DrawFn) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A view of `numbers`: its values are the places of its elements in the storage."""
    array = numbers(draw(SHAPES))
    array = array[draw(basic_indices(array.shape, allow_newaxis=True))]
    if array.ndim:
        array = array.transpose(draw(st.permutations(range(array.ndim))))
        array = array[tuple(slice(None, None, draw(st.integers(1, 2))) for _ in array.shape)]
    return array if all(step >= 0 for step in array.strides) else numbers(array.shape)


@given(SHAPES)
def test_contiguous_strides_reach_every_element_once_in_order(shape: Ints) -> None:
    """Row by row, without gaps."""
    stride = strides.contiguous(shape)
    assert places(0, shape, stride) == list(range(prod(shape)))
    assert strides.is_contiguous(shape, stride)
    assert strides.extent(shape, stride) == strides.numel(shape) == prod(shape)


def test_contiguous_strides_count_a_size_of_0_as_1() -> None:
    """As PyTorch's do; it writes them into files."""
    assert strides.contiguous((2, 0, 3)) == (3, 3, 1)


@given(views())
def test_contiguous_and_overlapping_are_seen_as_numpy_sees_them(array: np.ndarray[Any, Any]) -> None:
    """Slices and permutations never overlap; contiguous is numpy's C-contiguous."""
    stride = element_strides(array)
    assert strides.is_contiguous(array.shape, stride) == array.flags.c_contiguous
    assert not strides.may_overlap(array.shape, stride)


@given(SHAPES, st.data())
def test_no_overlap_is_missed(shape: Ints, data: st.DataObject) -> None:
    """For any strides: if it says no, then no two indexes are one element."""
    stride = tuple(data.draw(st.integers(0, 12)) for _ in shape)
    if not strides.may_overlap(shape, stride):
        found = places(0, shape, stride)
        assert len(set(found)) == len(found)


def test_expanded_and_interleaved_strides_may_overlap() -> None:
    """The first surely does; the second is decided on the safe side."""
    assert strides.may_overlap((3,), (0,))
    assert strides.may_overlap((2, 3), (3, 2))
    assert not strides.may_overlap((1,), (0,))


@given(SHAPES, st.data())
def test_extent_is_the_last_place_reached(shape: Ints, data: st.DataObject) -> None:
    """And nothing if no element is."""
    stride = tuple(data.draw(st.integers(0, 9)) for _ in shape)
    assert strides.extent(shape, stride) == max(places(0, shape, stride), default=-1) + 1


@given(SHAPES, st.data(), st.integers(0, 5), st.integers(1, 8))
def test_check_view_accepts_exactly_what_fits(shape: Ints, data: st.DataObject, offset: int, itemsize: int) -> None:
    """A storage of the bytes reached is enough, and one byte less is not."""
    stride = tuple(data.draw(st.integers(0, 9)) for _ in shape)
    reached = max(places(offset, shape, stride), default=-1) + 1
    strides.check_view(reached * itemsize, itemsize, offset, shape, stride)
    if reached:
        with pytest.raises(TensorError, match="reaches"):
            strides.check_view(reached * itemsize - 1, itemsize, offset, shape, stride)


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "message"),
    [
        (-1, (1,), (1,), "offset"),
        (True, (1,), (1,), "offset"),
        (0.0, (1,), (1,), "offset"),
        (1 << 63, (0,), (1,), "offset"),
        (0, (-1,), (1,), "sizes"),
        (0, (1,), (-1,), "sizes"),
        (0, (True,), (1,), "sizes"),
        (0, (1,), (False,), "sizes"),
        (0, ("1",), (1,), "sizes"),
        (0, (1.0,), (1,), "sizes"),
        (0, (np.int64(1),), (1,), "sizes"),
        (0, (0, 1 << 63), (1, 1), "sizes"),
        (0, (1, 1), (1,), "one stride for each size"),
        (0, (1,) * 65, (1,) * 65, "at most 64"),
        (0, (1 << 62, 2), (0, 0), "2\\*\\*63"),
        (0, (2,), ((1 << 63) - 1,), "reaches"),
    ],
)
def test_check_view_refuses(offset: Any, shape: Any, stride: Any, message: str) -> None:
    """Numbers no tensor has, whatever the storage."""
    with pytest.raises(TensorError, match=message):
        strides.check_view(1 << 40, 1, offset, shape, stride)


def test_check_view_lets_an_empty_tensor_start_beyond_its_storage() -> None:
    """As `x[2:, 3:]` of a (2, 3) tensor does."""
    offset, shape, stride = strides.index_view(0, (2, 3), (3, 1), (slice(2, None), slice(3, None)))
    assert (offset, shape) == (9, (0, 0))
    strides.check_view(24, 4, offset, shape, stride)


@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), basic_indices(shape, allow_newaxis=True))))
def test_index_view_takes_the_elements_numpy_takes(case: tuple[Ints, Any]) -> None:
    """For ints, slices, Ellipsis and None; a step below 1 is an error."""
    shape, index = case
    items = index if isinstance(index, tuple) else (index,)
    stride = strides.contiguous(shape)
    if any(isinstance(item, slice) and item.step is not None and item.step < 1 for item in items):
        with pytest.raises(TensorError, match="step"):
            strides.index_view(0, shape, stride, items)
        return
    expected = numbers(shape)[index]
    offset, new_shape, new_stride = strides.index_view(0, shape, stride, items)
    assert new_shape == expected.shape
    assert places(offset, new_shape, new_stride) == expected.reshape(-1).tolist()
    strides.check_view(prod(shape), 1, offset, new_shape, new_stride)


@pytest.mark.parametrize("index", [(2,), (-3,), (0, 0, 0), (..., ...)])
def test_index_out_of_range_is_an_index_error(index: tuple[Any, ...]) -> None:
    """Which is also what ends a loop over a sequence."""
    with pytest.raises(IndexError):
        strides.index_view(0, (2, 3), (3, 1), index)


def test_new_dimension_has_the_stride_pytorch_gives_it() -> None:
    """That of the dimension behind it times its size, or 1 at the end; the numbers are torch 2.13's."""
    assert strides.index_view(0, (2, 3), (3, 1), (None, 0)) == (0, (1, 3), (6, 1))
    assert strides.index_view(0, (2, 3), (3, 1), (0, ..., None)) == (0, (3, 1), (1, 1))
    assert strides.unsqueeze((2, 3), (3, 1), 1) == ((2, 1, 3), (3, 3, 1))
    assert strides.unsqueeze((2, 3), (3, 1), -1) == ((2, 3, 1), (3, 1, 1))


@given(views(), st.data())
def test_permute_and_transpose_agree_with_numpy(array: np.ndarray[Any, Any], data: st.DataObject) -> None:
    """Shapes and strides."""
    stride = element_strides(array)
    order = data.draw(st.permutations(range(array.ndim)))
    expected = array.transpose(order)
    assert strides.permute(array.shape, stride, order) == (expected.shape, element_strides(expected))
    if array.ndim:
        dims = st.integers(-array.ndim, array.ndim - 1)
        first, second = data.draw(dims), data.draw(dims)
        expected = array.swapaxes(first, second)
        assert strides.transpose(array.shape, stride, first, second) == (expected.shape, element_strides(expected))


@pytest.mark.parametrize("dims", [(0,), (0, 0), (0, 1, 2)])
def test_permute_takes_each_dimension_once(dims: Ints) -> None:
    """Fewer, repeated or unknown dimensions are errors."""
    with pytest.raises((TensorError, IndexError)):
        strides.permute((2, 3), (3, 1), dims)


@given(views())
def test_squeeze_agrees_with_numpy(array: np.ndarray[Any, Any]) -> None:
    """All dimensions of size 1 go."""
    expected = array.squeeze()
    assert strides.squeeze(array.shape, element_strides(array)) == (expected.shape, element_strides(expected))


def test_squeeze_of_one_dimension_leaves_the_others() -> None:
    """And leaves that one too if its size is not 1."""
    assert strides.squeeze((1, 2, 1), (2, 1, 1), 0) == ((2, 1), (1, 1))
    assert strides.squeeze((1, 2, 1), (2, 1, 1), 1) == ((1, 2, 1), (2, 1, 1))


@given(views(), st.data())
def test_reshape_view_is_a_view_with_the_right_elements_or_none(
    array: np.ndarray[Any, Any], data: st.DataObject
) -> None:
    """What it says is right; and it finds one where numpy does."""
    new_shape = []
    rest = array.size
    while rest > 1:
        size = data.draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
        new_shape.append(size)
        rest //= size
    new_shape += [1] * data.draw(st.integers(0, 2)) + [0] * (array.size == 0)
    new_shape = data.draw(st.permutations(new_shape))
    found = strides.reshape_view(array.shape, element_strides(array), new_shape)
    reshaped = array.reshape(new_shape)
    if found is None:
        assert array.size
        assert not np.shares_memory(array, reshaped)
    elif array.size:
        first = int(array.reshape(-1)[0])
        assert places(first, tuple(new_shape), found) == array.reshape(-1).tolist()
    else:
        assert len(found) == len(new_shape)


def test_reshape_view_gives_pytorch_s_strides() -> None:
    """Where several strides would do; the numbers are torch 2.13's."""
    assert strides.reshape_view((1, 3), (7, 1), (1, 3)) == (3, 1)
    assert strides.reshape_view((0, 3), (5, 1), (0, 3)) == (5, 1)
    assert strides.reshape_view((0, 3), (5, 1), (3, 0)) == (1, 1)
    assert strides.reshape_view((), (), (1, 1)) == (1, 1)
    assert strides.reshape_view((4,), (3,), (2, 2)) == (6, 3)
    assert strides.reshape_view((3, 2), (1, 3), (6,)) is None


@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), broadcastable_shapes(shape, max_dims=5, max_side=4))))
def test_expand_agrees_with_numpy(case: tuple[Ints, Ints]) -> None:
    """The shape both have in common, and the elements at it."""
    shape, other = case
    common = np.broadcast_shapes(shape, other)
    expected = np.broadcast_to(numbers(shape), common)
    assert places(0, *strides.expand(shape, strides.contiguous(shape), common)) == expected.reshape(-1).tolist()


@pytest.mark.parametrize("new_shape", [(3,), (4, 3), (2, 4), (-1, 2, 3), (2, -2)])
def test_expand_refuses_other_sizes(new_shape: Ints) -> None:
    """Only dimensions of size 1 grow, only new ones come in front, and those have no size to keep."""
    with pytest.raises(TensorError, match="cannot expand"):
        strides.expand((2, 3), (3, 1), new_shape)


def test_expand_keeps_sizes_and_gives_pytorch_s_strides() -> None:
    """-1 keeps a size; the numbers are torch 2.13's."""
    assert strides.expand((1, 3), (3, 1), (2, -1)) == ((2, 3), (0, 1))
    assert strides.expand((3,), (1,), (1, 3)) == ((1, 3), (3, 1))
    assert strides.expand((), (), (1, 2)) == ((1, 2), (0, 0))


@pytest.mark.parametrize(
    ("shape", "count", "expected"),
    [((2, -1), 6, (2, 3)), ((-1,), 0, (0,)), ((-1, 3), 0, (0, 3)), ((2, 3), 6, (2, 3)), ((), 1, ())],
)
def test_infer_size_finds_the_missing_size(shape: Ints, count: int, expected: Ints) -> None:
    """At most one of them."""
    assert strides.infer_size(shape, count) == expected


@pytest.mark.parametrize(("shape", "count"), [((4, -1), 6), ((-1, -1), 4), ((-2,), 2), ((5,), 6), ((0, -1), 0)])
def test_infer_size_refuses_what_has_no_answer(shape: Ints, count: int) -> None:
    """Or more than one."""
    with pytest.raises(TensorError):
        strides.infer_size(shape, count)


@given(views())
def test_dense_strides_fill_memory_once(array: np.ndarray[Any, Any]) -> None:
    """In the order of dimensions that the view has."""
    stride = strides.dense(array.shape, element_strides(array))
    assert strides.is_dense(array.shape, stride)
    assert sorted(places(0, array.shape, stride)) == list(range(array.size))


def test_dense_strides_are_those_torch_clone_gives() -> None:
    """Numbers of torch 2.13: a dense view keeps its own, gaps are closed in the same order."""
    assert strides.dense((3, 2), (1, 3)) == (1, 3)
    assert strides.dense((3, 2), (1, 6)) == (1, 3)
    assert strides.dense((2, 3), (6, 2)) == (3, 1)
    assert strides.dense((2, 3), (0, 1)) == (3, 1)
    assert strides.dense((1, 3), (50, 1)) == (50, 1)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((3, (2, 5), (5, 1), 4, 2), (6, (2, 10), (10, 1))),
        ((6, (2, 10), (10, 1), 2, 4), (3, (2, 5), (5, 1))),
        ((1, (), (), 4, 4), (1, (), ())),
        ((0, (0, 8), (8, 1), 1, 8), (0, (0, 1), (1, 1))),
    ],
)
def test_reinterpret_scales_the_last_dimension(place: Any, expected: Any) -> None:
    """And with it the offset and the other strides."""
    assert strides.reinterpret(*place) == expected


@pytest.mark.parametrize(
    "place",
    [(0, (), (), 2, 4), (0, (4,), (2,), 2, 4), (1, (4,), (1,), 2, 4), (0, (3,), (1,), 2, 4), (0, (2, 2), (3, 1), 2, 4)],
)
def test_reinterpret_refuses_elements_that_do_not_join(place: Any) -> None:
    """No dimensions, gaps, or numbers that the ratio does not divide."""
    with pytest.raises(TensorError):
        strides.reinterpret(*place)

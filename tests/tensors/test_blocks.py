"""The plan of reads for a view: all of its bytes, few reads, little in vain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile.tensors import strides
from ptfile.tensors.blocks import NEAR, PIECE, Block, blocks

MIB = 1 << 20


def runs(offset: int, shape: tuple[int, ...], stride: tuple[int, ...], itemsize: int) -> list[tuple[int, int]]:
    return [(block.start, block.stop) for block in blocks(offset, shape, stride, itemsize)]


@pytest.mark.parametrize(
    ("shape", "stride"),
    [((10 * MIB,), (1,)), ((MIB, 10), (10, 1)), ((10, MIB), (1, 10)), ((2, 1, 5 * MIB), (5 * MIB, 7, 1)), ((), ())],
)
def test_what_lies_without_gaps_is_one_read(shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """However long it is, in whatever order of dimensions."""
    assert runs(3, shape, stride, 4) == [(12, 12 + 4 * strides.numel(shape))]


def test_runs_far_apart_are_reads_of_their_own() -> None:
    """Ten of a hundred thousand columns: one read a row, in the order of the file, transposed or not."""
    expected = [(row * 400_000, row * 400_000 + 40) for row in range(50)]

    assert runs(0, (50, 10), (100_000, 1), 4) == expected
    assert runs(0, (10, 50), (1, 100_000), 4) == expected


def test_runs_near_each_other_are_joined_up_to_a_piece() -> None:
    """Every second of many elements: reads with gaps inside, none larger than a piece."""
    found = runs(0, (4 * MIB,), (2,), 4)

    assert len(found) == 8
    assert all(stop - start <= PIECE for start, stop in found)


@pytest.mark.parametrize(("gap", "reads"), [(NEAR, 1), (NEAR + 4, 2)])
def test_near_has_a_bound(gap: int, reads: int) -> None:
    """A gap of so many bytes is read along, a larger one is left out."""
    assert len(runs(0, (2,), (1 + gap // 4,), 4)) == reads


def test_rows_too_long_for_a_piece_are_not_joined() -> None:
    """A large run with a small gap behind it: joining them would take memory for nothing."""
    row = 2 * MIB

    assert runs(0, (3, row), (row + 1, 1), 4) == [(4 * (row + 1) * i, 4 * (row + 1) * i + 4 * row) for i in range(3)]


def test_an_empty_view_needs_no_read() -> None:
    """Whatever its offset is."""
    assert runs(10, (3, 0), (1, 1), 4) == []


DIMENSIONS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([1, 1, 2, 3, 9000, 17_000, 200_000])), max_size=3)


@given(DIMENSIONS, st.permutations(range(3)), st.sampled_from([1, 2, 8]), st.integers(0, 5))
def test_every_element_is_in_one_read_at_its_place(
    dimensions: list[tuple[int, int]], order: list[int], itemsize: int, offset: int
) -> None:
    """For any nest of dimensions with any gaps, in any order."""
    shape, stride, step = [], [], 1
    for size, gap in dimensions:
        shape.append(size)
        stride.append(step * gap)
        step *= gap * size
    chosen = [dim for dim in order if dim < len(shape)]
    shape, stride = [shape[dim] for dim in chosen], [stride[dim] for dim in chosen]
    places = np.full(shape, offset, np.int64)
    for dim, step in enumerate(stride):
        places += np.arange(shape[dim]).reshape([-1 if axis == dim else 1 for axis in range(len(shape))]) * step
    covered = np.zeros(shape, np.int64)
    plan = list(blocks(offset, shape, stride, itemsize))
    for block in plan:
        inside = places[block.index]
        assert inside.min() * itemsize == block.start
        assert (inside.max() + 1) * itemsize == block.stop
        covered[block.index] += 1

    assert (covered == 1).all()
    assert plan == sorted(plan, key=lambda block: block.start)
    assert all(isinstance(block, Block) for block in plan)

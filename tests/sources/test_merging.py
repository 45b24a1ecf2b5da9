"""Ranges that are wanted become runs that are fetched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ptfile.sources.merging import GAP, PIECE_MAX, PIECE_MIN, cut, merge, without

ranges = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 60)).map(lambda pair: (pair[0], sum(pair))), max_size=12
)


def bytes_of(runs: list[tuple[int, int]]) -> set[int]:
    return {at for start, stop in runs for at in range(start, stop)}


@given(ranges, st.integers(0, 40))
def test_merged_runs_hold_what_is_wanted_and_small_gaps(wanted: list[tuple[int, int]], gap: int) -> None:
    """Nothing wanted is left out, runs are further apart than the gap, and what else they hold is no longer than it."""
    runs = merge(wanted, gap)

    assert bytes_of(wanted) <= bytes_of(runs)
    assert all(later[0] - earlier[1] > gap for earlier, later in zip(runs, runs[1:], strict=False))
    extra = merge([(at, at + 1) for at in bytes_of(runs) - bytes_of(wanted)], 0)
    assert all(stop - start <= gap for start, stop in extra)


@given(ranges, ranges)
def test_what_is_known_is_taken_out(wanted: list[tuple[int, int]], known: list[tuple[int, int]]) -> None:
    """As sets of bytes it is a difference."""
    assert bytes_of(without(wanted, known)) == bytes_of(wanted) - bytes_of(known)


@given(ranges, st.integers(1, 8))
def test_pieces_are_the_runs_cut(wanted: list[tuple[int, int]], at_once: int) -> None:
    """In order, without overlap, none larger than allowed with its quarter more, and none of them empty."""
    runs = merge(wanted, 0)
    pieces = list(cut(runs, at_once, smallest=8, largest=40))

    assert merge(pieces, 0) == runs
    assert pieces == sorted(pieces)
    assert all(0 < stop - start <= 50 for start, stop in pieces)


def test_a_run_a_little_over_a_piece_is_one_piece() -> None:
    """A tensor of 1 MiB with its header takes one request, not a second one for the last bytes."""
    assert list(cut([(0, PIECE_MIN + 200)], at_once=16)) == [(0, PIECE_MIN + 200)]


def test_what_is_large_is_cut_into_large_pieces() -> None:
    """A gibibyte goes in requests of 8 MiB."""
    pieces = list(cut([(0, 1 << 30)], at_once=16))

    assert len(pieces) == (1 << 30) // (PIECE_MAX * 5 // 4) + 1
    assert PIECE_MAX < max(stop - start for start, stop in pieces) <= PIECE_MAX * 5 // 4


def test_tensors_behind_one_another_are_one_run() -> None:
    """The headers between them are no reason for another request."""
    assert merge([(at * 10_000, at * 10_000 + 9_900) for at in range(64)], GAP) == [(0, 639_900)]

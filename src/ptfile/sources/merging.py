"""Which runs of bytes to fetch for the ranges that are wanted: few requests, little that nobody wants, even pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

Range: TypeAlias = "tuple[int, int]"
"""From the first byte to behind the last."""

GAP = 64 << 10
"""Bytes between two ranges that are fetched with them: a request costs more than these do."""
PIECE_MIN = 1 << 20
PIECE_MAX = 8 << 20
"""Object stores give one connection less than the whole line has, and pieces of this size the best of it."""


def merge(ranges: Iterable[Range], gap: int = GAP) -> list[Range]:
    """Disjoint runs in rising order that hold all the ranges, and nothing else but gaps of at most `gap` bytes.

    >>> merge([(100, 120), (0, 10), (12, 30), (20, 25)], gap=5)
    [(0, 30), (100, 120)]
    """
    runs: list[Range] = []
    for start, stop in sorted(ranges):
        if stop <= start:
            continue
        if runs and start - runs[-1][1] <= gap:
            runs[-1] = (runs[-1][0], max(runs[-1][1], stop))
        else:
            runs.append((start, stop))
    return runs


def cut(runs: Iterable[Range], at_once: int, smallest: int = PIECE_MIN, largest: int = PIECE_MAX) -> Iterator[Range]:
    """The runs in even pieces: so small that about `at_once` of them hold it all, but within the sizes that pay, give
    or take a quarter.

    >>> list(cut([(0, 100), (200, 210)], at_once=4, smallest=10, largest=50))
    [(0, 25), (25, 50), (50, 75), (75, 100), (200, 210)]
    """
    runs = list(runs)
    total = sum(stop - start for start, stop in runs)
    most = min(largest, max(smallest, total // at_once)) * 5 // 4
    for start, stop in runs:
        size = -(-(stop - start) // -(-(stop - start) // most))
        yield from ((at, min(at + size, stop)) for at in range(start, stop, size))


def without(ranges: Iterable[Range], known: Iterable[Range]) -> list[Range]:
    """What the known runs do not hold of the ranges.

    >>> without([(0, 100)], [(90, 120), (10, 20)])
    [(0, 10), (20, 90)]
    """
    held = merge(known, gap=0)
    rest: list[Range] = []
    for start, stop in ranges:
        at = start
        for first, last in held:
            if at < last and first < stop:
                rest.append((at, first))
                at = last
        rest.append((at, stop))
    return [(start, stop) for start, stop in rest if start < stop]

"""Dicts of 10,000, 100,000 and 1,000,000 tensors of 16 floats: the figures are for one tensor, and should not grow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from harness import Contestant, Context, Operation, Work
from round_trip import Load, Save
from trees import Tensors

COUNTS = (10_000, 100_000, 1_000_000)
_TINY = Tensors(2, 16)


def _make(kind: type[Save | Load], count: int, context: Context) -> Contestant:
    tree = Tensors(count // 100 if context.quick else count, 16)
    contestant = kind("ptfile", tree, _TINY, context)
    contestant.loops = tree.count
    return contestant


def _operations() -> Iterator[Operation]:
    for count in COUNTS:
        for name, kind in (("save", Save), ("load", Load)):
            yield Operation(f"{name}, {count:,}", {"ptfile": partial(_make, kind, count)})


WORK = Work(
    name="scale",
    title="one of many tensors",
    quick_title="one of many tensors, a hundredth of them",
    operations=tuple(_operations()),
    fresh=True,
    rounds=2,
    in_quick=False,
    scratch=1 << 30,
)

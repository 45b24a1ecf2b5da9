"""What ptfile sets out to reach, and how far it is. A ratio says how many times as long the other one takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness import Measured
from report import SUBJECT, Row
from works.scale import COUNTS

DROP_IN = "drop-in"
RAW_DISK = ("raw write, fsync", "raw write, followed by the disk", "raw O_DIRECT")
MEMORY = 32 << 20
"""Bytes beyond the tensors' own, at most."""
GROWTH = 1.15
"""How much more one tensor may cost among 1,000,000 than among 10,000."""


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that is to be reached in one operation of one work."""

    work: str
    operation: str
    ratio: float
    against: tuple[str, ...] = ("torch",)
    """The best of them."""
    who: str = SUBJECT


@dataclass(frozen=True, slots=True)
class Outcome:
    """A target, in words, and what was measured."""

    title: str
    who: str
    target: str
    measured: str
    reached: bool


TARGETS = (
    Target("gib", "save", 2.5),
    Target("gib", "save", 2.5, who=DROP_IN),
    Target("gib", "save", 0.9, ("raw write",)),
    Target("gib_disk", "save, fsync", 1.3),
    Target("gib_disk", "save, fsync", 1.3, who=DROP_IN),
    Target("gib_disk", "save, fsync", 0.9, RAW_DISK),
    Target("gib", "load", 1.3),
    Target("gib", "load", 1.3, who=DROP_IN),
    Target("gib", "load", 0.9, ("raw read",)),
    Target("mapped", "load", 5),
    Target("mapped", "load", 5, who=DROP_IN),
    Target("cold_slice", "read", 10),
    Target("small_tensors", "load", 8),
    Target("small_tensors", "load", 1.5, ("safetensors",)),
    Target("small_tensors", "load", 3, who=DROP_IN),
    Target("small_tensors", "save", 3),
    Target("small_tensors", "save", 1.5, who=DROP_IN),
    Target("dicts", "load", 4),
    Target("dicts", "save", 1),
    Target("five_ints", "save", 1),
    Target("five_ints", "save", 1, who=DROP_IN),
    Target("five_ints", "load", 1),
    Target("five_ints", "load", 1, who=DROP_IN),
    Target("imports", "import", 10),
    Target("listing", "list", 6),
)
LEAN = (("gib", "save"), ("gib", "load"), ("gib_memory", "save"), ("gib_memory", "load"))
"""Operations whose peak memory has a bound."""


def outcomes(rows: Sequence[Row]) -> list[Outcome]:
    """Each target of which everything was measured."""
    by_name = {(row.work, row.operation): row for row in rows}
    return [*_ratios(by_name), *_peaks(by_name), *_growth(by_name)]


def _ratios(rows: Mapping[tuple[str, str], Row]) -> Iterator[Outcome]:
    for target in TARGETS:
        row = rows.get((target.work, target.operation))
        if row is None or not {target.who, *target.against} <= row.results.keys():
            continue
        best = min(target.against, key=lambda name, row=row: row.results[name].median)  # type: ignore[misc]
        ratio = row.results[best].median / row.results[target.who].median
        goal = f"{f'{target.ratio:g} times ' if target.ratio != 1 else ''}as fast as {best}"
        yield Outcome(f"{row.title}: {row.operation}", target.who, goal, f"{ratio:.2f}", ratio >= target.ratio)


def _peaks(rows: Mapping[tuple[str, str], Row]) -> Iterator[Outcome]:
    for row in (rows[name] for name in LEAN if name in rows):
        for who in (SUBJECT, DROP_IN):
            peak = row.results[who].peak
            if peak is not None:
                title, mib = f"{row.title}: {row.operation}", peak / 2**20
                yield Outcome(title, who, f"at most {MEMORY >> 20} MiB more", f"{mib:.1f} MiB", peak <= MEMORY)


def _growth(rows: Mapping[tuple[str, str], Row]) -> Iterator[Outcome]:
    for name in ("save", "load"):
        found = [rows.get(("scale", f"{name}, {count:,}")) for count in (COUNTS[0], COUNTS[-1])]
        few, many = (row and row.results[SUBJECT] for row in found)
        if few is not None and many is not None:
            growth = _ratio(many, few)
            title = f"one tensor of {COUNTS[-1]:,} beside one of {COUNTS[0]:,}: {name}"
            yield Outcome(title, SUBJECT, f"at most {GROWTH} times the time", f"{growth:.2f}", growth <= GROWTH)


def _ratio(one: Measured, other: Measured) -> float:
    return one.median / other.median

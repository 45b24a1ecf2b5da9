"""Results as text and as JSON."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from harness import Measured, Ratio, ratio

SUBJECT = "ptfile"
RIVAL = "torch"


@dataclass(frozen=True, slots=True)
class Row:
    """One operation of one work, measured."""

    work: str
    title: str
    operation: str
    results: dict[str, Measured]
    load_average: float | None
    """When it was done: how busy the machine was, with this work and others."""

    def ratio_to(self, other: str) -> Ratio:
        """How many times as long as ptfile another contestant took."""
        return ratio(self.results[other], self.results[SUBJECT])

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Row:
        results = {name: Measured.from_json(measured) for name, measured in row["contestants"].items()}
        return cls(row["work"], row["title"], row["operation"], results, row["load_average"])

    def as_json(self) -> dict[str, Any]:
        others = [name for name in self.results if name != SUBJECT]
        return {
            "work": self.work,
            "title": self.title,
            "operation": self.operation,
            "load_average": self.load_average,
            "rounds": len(self.results[SUBJECT].seconds),
            "contestants": {name: measured.as_json() for name, measured in self.results.items()},
            "ratio_to_ptfile": {name: asdict(self.ratio_to(name)) for name in others},
        }


def machine() -> dict[str, Any]:
    """What the figures depend on. Deliberately no more of the machine than its cores and its memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "cores": cores,
        "memory_bytes": memory,
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("ptfile", "torch", "numpy", "isal")},
    }


def load_average() -> float | None:
    """How many processes wanted to run in the last minute, ours among them."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def describe(facts: dict[str, Any]) -> str:
    memory = f"{facts['memory_bytes'] / 2**30:.0f} GiB of memory" if facts["memory_bytes"] else "memory unknown"
    programs = ", ".join(f"{name} {facts[name]}" for name in ("python", "ptfile", "torch", "numpy", "isal"))
    return f"{facts['cores']} cores, {memory}, {facts['system']}; {programs}"


HEADS = ("work", "", "rounds", "load", "ptfile", "torch", "torch / ptfile", "ptfile: peak, kept", "torch: peak, kept")
HEADS_BESIDE = ("work", "", "beside", "time", "its time / ptfile's", "peak, kept")
NOTES = (
    "Times are medians with (min–max); ratios are of the medians, with (min–max) over the rounds.",
    "Memory is MiB beyond the tensors' bytes: at most during the run, and what stays for its result;",
    "for imports it is all that the process has.",
)


def main_rows(rows: Sequence[Row]) -> list[list[str]]:
    """ptfile beside torch."""
    return [
        [
            row.title,
            row.operation,
            str(len(row.results[SUBJECT].seconds)),
            str(row.load_average),
            times(row.results[SUBJECT]),
            times(row.results[RIVAL]) if RIVAL in row.results else "",
            _ratio(row.ratio_to(RIVAL)) if RIVAL in row.results else "",
            _memory(row.results[SUBJECT]),
            _memory(row.results[RIVAL]) if RIVAL in row.results else "",
        ]
        for row in rows
    ]


def rows_beside(rows: Sequence[Row]) -> list[list[str]]:
    """ptfile beside whatever else was measured."""
    return [
        [row.title, row.operation, name, times(row.results[name]), _ratio(row.ratio_to(name)), _memory(measured)]
        for row in rows
        for name, measured in row.results.items()
        if name not in (SUBJECT, RIVAL)
    ]


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for the terminal."""
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same for a page."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows))


def times(measured: Measured) -> str:
    median = measured.median
    scale, unit = (1, "s") if median >= 1 else (1e3, "ms") if median >= 1e-3 else (1e6, "µs")
    low, high = min(measured.seconds) * scale, max(measured.seconds) * scale
    return f"{_three_digits(median * scale)} {unit} ({_three_digits(low)}–{_three_digits(high)})"


def _ratio(of: Ratio) -> str:
    return f"{_three_digits(of.of_medians)} ({_three_digits(of.low)}–{_three_digits(of.high)})"


def _memory(measured: Measured) -> str:
    return ", ".join(f"{size / 2**20:.1f}" for size in (measured.peak, measured.kept) if size is not None) or "unknown"


def _three_digits(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""What a work is, and how it is measured: every contestant in a process of its own, taking turns, A B A B.

In one process the contestants would share a heap, a garbage collector and whatever the other one had imported; in
turns they share the noise of the machine, so that the ratio of two medians holds where the medians themselves do not.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, slots=True)
class Context:
    """What a contestant is told about the run it is part of."""

    folder: Path
    """Where its files go. Those of an earlier operation of the same work are still there."""
    quick: bool
    """Whether to do less of the same."""


class Contestant:
    """One way to do an operation. Made in its own process, where nothing else has been imported.

    Making one is not measured: it imports, builds what will be saved, and warms up on something tiny.
    """

    loops = 1
    """How often one `run` does the thing, for what is too short to be timed alone."""
    payload = 0
    """Bytes of tensors that `run` has to allocate for its result, and that are not counted against it."""

    touches = 0
    """Bytes of memory that `run` gets from the system, where they are many: its result, or a file in memory."""

    def before(self) -> None:
        """What has to happen before each run and is not measured."""

    def run(self) -> object:
        """What is measured."""
        raise NotImplementedError

    def check(self, result: object) -> None:
        """Raise unless the result is right. Not measured."""

    def peak(self) -> int | None:
        """Peak memory in bytes, where it is not this process that needs it; called once, and not timed."""
        return None


Maker = Callable[[Context], Contestant]


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the result: what several contestants do, each in its way."""

    name: str
    contestants: Mapping[str, Maker]
    """By name. `ptfile` and `torch`, if it is there, are compared; the others are shown beside ptfile, limits too."""
    verify: Callable[[Context], None] = lambda _: None
    """Raise unless what all of them left in the folder is right."""


@dataclass(frozen=True, slots=True)
class Work:
    """Operations on the same thing, measured one after the other in the same folder."""

    name: str
    """What `--only` calls it, and the module it is in."""
    title: str
    quick_title: str
    operations: tuple[Operation, ...]
    fresh: bool = False
    """A new process for each turn, so that memory is new to it, as it is when a program loads its model."""
    rounds: int = 7
    quick_rounds: int = 3
    in_quick: bool = True
    """Whether it is worth its time in a run of less than a minute."""
    scratch: int = 64 << 20
    """Bytes that its files may need at once."""
    on_disk: bool = False
    """Its files belong on a disk; else they are in memory, if there is room."""


@dataclass(slots=True)
class Measured:
    """All turns of one contestant at one operation."""

    seconds: list[float] = field(default_factory=list)
    peak: int | None = None
    """Most bytes beyond the payload, and beyond what the process had before the run."""
    kept: int | None = None
    """Bytes that stay, beyond the same: the objects of the result."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @classmethod
    def from_json(cls, measured: dict[str, Any]) -> Measured:
        return cls(measured["seconds"], measured["peak_bytes"], measured["kept_bytes"])

    def as_json(self) -> dict[str, Any]:
        numbers = {"median": self.median, "min": min(self.seconds), "max": max(self.seconds)}
        return {**numbers, "seconds": self.seconds, "peak_bytes": self.peak, "kept_bytes": self.kept}


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long another contestant took; more than 1 says that the first one is faster."""

    of_medians: float
    low: float
    """The smallest ratio of two turns of the same round."""
    high: float


def ratio(other: Measured, first: Measured) -> Ratio:
    rounds = [theirs / ours for theirs, ours in zip(other.seconds, first.seconds, strict=True)]
    return Ratio(other.median / first.median, min(rounds), max(rounds))


class WorkerError(Exception):
    """A contestant failed; it has said why on stderr."""


class Worker:
    """A contestant's process, seen from the parent's side."""

    def __init__(self, work: str, operation: str, contestant: str, context: Context) -> None:
        self._who = f"{work}, {operation}, {contestant}"
        order = {
            "work": work,
            "operation": operation,
            "contestant": contestant,
            "folder": str(context.folder),
            "quick": context.quick,
        }
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()  # it is ready

    def turn(self) -> dict[str, Any]:
        """Measure one run."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self._who}: the process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def measure(work: Work, operation: Operation, context: Context, rounds: int) -> dict[str, Measured]:
    """Let the contestants take turns. What they did has been checked when this returns."""
    results = {name: Measured() for name in operation.contestants}
    with contextlib.ExitStack() as workers:

        def start(name: str) -> Worker:
            return workers.enter_context(contextlib.closing(Worker(work.name, operation.name, name, context)))

        if work.fresh:
            for _ in range(rounds):
                for name, measured in results.items():
                    _count(measured, start(name).turn())
                    workers.close()
        else:
            # The first run of a process shows its peak memory best, and its time worst.
            kept = {name: start(name) for name in results}
            for name, measured in results.items():
                _count(measured, kept[name].turn(), timed=False)
            for _ in range(rounds):
                for name, measured in results.items():
                    _count(measured, kept[name].turn(), memory=False)
    operation.verify(context)
    return results


def _count(measured: Measured, answer: dict[str, Any], *, timed: bool = True, memory: bool = True) -> None:
    if timed:
        measured.seconds.append(answer["seconds"])
    if memory and answer["peak"] is not None:
        measured.peak = max(measured.peak or 0, answer["peak"])
    if memory and answer["kept"] is not None:
        measured.kept = max(measured.kept or 0, answer["kept"])

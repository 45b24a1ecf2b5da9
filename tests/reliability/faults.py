"""Every operation of a save fails, one at a time: is the file that was there whole, or the new one?"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

from tests.reliability.saves import Case, Kind
from tests.reliability.system import Operation, as_it_is, replaced_system

ERRNOS = tuple(
    getattr(errno, name) for name in ("ENOSPC", "EIO", "EDQUOT", "EFBIG", "EACCES", "EINTR") if hasattr(errno, name)
)
Mode = Literal["fails", "done, then fails", "takes a part", "takes nothing"]
"""How an operation goes wrong. An error can come although the thing was done: a server's answer gets lost."""
_DONE = frozenset({"replace", "link", "unlink", "fsync", "fsync folder", "write", "sendfile"})


@dataclass(frozen=True)
class Fault:
    """One operation that went wrong, and what came of it."""

    kind: Kind
    operation: str
    mode: Mode
    number: int
    """The errno that it failed with."""
    error: BaseException | None
    """What the save raised."""
    before: str
    found: str
    """What is at the path then: none, old, new, or damaged."""
    others: tuple[str, ...]
    """What else is in the folder."""
    leaked: int
    """Files that are open and were not before."""


class _Failing:
    """A system of which the n-th operation goes wrong."""

    def __init__(self, kind: Kind, nth: int, mode: Mode, number: int) -> None:
        self._kind = kind
        self._nth = nth
        self._mode = mode
        self._number = number
        self.failed = ""

    def __call__(self, operation: Operation, number: int) -> Any:
        if self._kind.way == "refused" and operation.name == "link":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        if number != self._nth:
            return as_it_is(operation, number)
        if self._mode in ("takes a part", "takes nothing"):
            if operation.name != "write":
                return as_it_is(operation, number)
            self.failed = operation.name
            file, data = operation.arguments
            return os.write(file, data[: len(data) // 2]) if self._mode == "takes a part" else 0
        if self._mode == "done, then fails" and operation.name not in _DONE:
            return as_it_is(operation, number)
        self.failed = operation.name
        if self._mode == "done, then fails" or operation.name.startswith("close"):
            operation.do()  # Linux closes a file also when it says that this failed
        raise OSError(self._number, os.strerror(self._number))


def count_operations(case: Case) -> int:
    """How many operations the save makes when nothing fails."""
    case.prepare()
    with replaced_system(_Failing(case.kind, 0, "fails", 0)) as system:
        case.save()
    assert case.found() == "new"
    return len(system.operations)


def faults(kind: Kind, folder: Path) -> Iterator[Fault]:
    """Each operation of a save of this kind goes wrong in each way."""
    case = Case(kind, folder)
    numbers = cycle(ERRNOS)
    modes: tuple[Mode, ...] = ("fails", "done, then fails", "takes a part", "takes nothing")
    for nth in range(1, count_operations(case) + 1):
        for mode in modes:
            number = next(numbers)
            case.prepare()
            failing = _Failing(kind, nth, mode, number)
            error: BaseException | None = None
            before = _open_files()
            with replaced_system(failing):
                try:
                    case.save()
                except OSError as raised:
                    error = raised.with_traceback(None)
            leaked = _open_files() - before
            if failing.failed:
                others = tuple(case.others())
                yield Fault(kind, failing.failed, mode, number, error, case.before, case.found(), others, leaked)


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

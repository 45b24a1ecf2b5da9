"""Ctrl-C at every point of a save at which Python could notice it, and at some where it could not."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from ptfile import sinks
from tests.reliability.faults import usual
from tests.reliability.saves import Case, Kind
from tests.reliability.system import replaced_system

_FOLDER = str(Path(sinks.__file__).parent)


class Interrupt(NamedTuple):
    """Where it came, and what was there afterwards."""

    place: str
    found: str
    others: tuple[str, ...]


class _Interrupting:
    """A trace function that raises KeyboardInterrupt at the n-th event in the sinks."""

    def __init__(self, nth: int, opcodes: bool) -> None:
        self._nth = nth
        self._opcodes = opcodes
        self._count = 0
        self.place = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        del argument
        if not frame.f_code.co_filename.startswith(_FOLDER) or frame.f_code.co_name == "__del__":
            return None  # what is raised in `__del__` Python lets nobody see
        frame.f_trace_opcodes = self._opcodes
        self._count += 1
        if self._count == self._nth:
            sys.settrace(None)
            self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}, {frame.f_code.co_name}, {event}"
            raise KeyboardInterrupt
        return self


def interrupts(kind: Kind, folder: Path, *, opcodes: bool = False) -> Iterator[Interrupt]:
    """Each line of the sinks interrupted in turn, each entry and exit of a function, or even each opcode."""
    case = Case(kind, folder)
    nth = 0
    while True:
        nth += 1
        case.prepare()
        interrupting = _Interrupting(nth, opcodes)
        _save(case, interrupting)
        if not interrupting.place:
            assert case.found() == "new"
            return
        yield Interrupt(interrupting.place, case.found(), tuple(case.others()))


def _save(case: Case, interrupting: _Interrupting) -> None:
    before = sys.gettrace()
    with warnings.catch_warnings(), replaced_system(usual(case.kind)):
        warnings.simplefilter("ignore", ResourceWarning)  # of a folder's listing that was left halfway
        try:
            sys.settrace(interrupting)
            case.save()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)

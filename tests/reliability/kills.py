"""Saves that are killed, at every operation and after every so many bytes, and saves for which the disk is too small.

    python -m tests.reliability.kills FOLDER operations
    python -m tests.reliability.kills FOLDER LIBRARY...

print what came of it, as JSON. A process of its own, because it forks a child for each save.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

from ptfile.sinks import space
from tests.reliability.faults import count_operations, usual
from tests.reliability.saves import TEMPORARY, Case, Kind, Library, Way, kinds
from tests.reliability.system import Operation, replaced_system

if sys.platform != "win32":
    import resource

TIMES = 40
"""A quarter of a millisecond apart."""
PLACES = 20
"""Numbers of bytes, over the whole of a file, after which a save is ended."""
_ERROR = 3
"""The exit code of a child whose save raised OSError, or RuntimeError as PyTorch does."""


class End(NamedTuple):
    """How a save ended, and what was found afterwards."""

    library: str
    legacy: bool
    way: str
    fsync: bool
    how: str
    """"killed" at an operation or at "times", killed after some "bytes", or the disk was "full" after some."""
    where: str
    """The operation that was not made any more, the number of bytes, or which of the times."""
    said: str
    """"killed", "error" or "saved"."""
    before: str
    found: str
    bytes_left: int
    """In all that is left beside the file."""
    others: tuple[str, ...]

    @property
    def recognised(self) -> bool:
        """Whether all that is left beside the file is known by its name as a temporary."""
        return all(TEMPORARY.fullmatch(name) for name in self.others)


def ends(folder: Path, *what: Literal["operations"] | Library) -> list[End]:
    """Have it done in another process: saves killed at operations, or ended after some bytes by these libraries."""
    command = [sys.executable, "-m", "tests.reliability.kills", str(folder), *what]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True)
    return [End._make([*fields[:-1], tuple(fields[-1])]) for fields in json.loads(done.stdout)]


def killed_at_operations(kind: Kind, folder: Path) -> Iterator[End]:
    """SIGKILL before each operation that a save makes of the system, and when it has made the last."""
    case = Case(kind, folder)
    for nth in range(1, count_operations(case) + 2):
        name = folder / "operation"
        yield _end(case, "killed", partial(_save_until, case, nth, name), partial(name.read_text, "utf-8"))


def _save_until(case: Case, nth: int, name: Path) -> None:
    answer = usual(case.kind)

    def answer_or_die(operation: Operation, number: int) -> Any:
        if number == nth:
            _die(name, operation.name)
        return answer(operation, number)

    with replaced_system(answer_or_die):
        case.save()
    _die(name, "the end")


def _die(name: Path, where: str) -> None:
    name.write_text(where, "utf-8")
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at_times(kind: Kind, folder: Path) -> Iterator[End]:
    """SIGKILL to a child that saves again and again, after no time at all, a little, and a little more."""
    case = Case(kind, folder, numel=100_000)
    for number in range(TIMES):
        yield _end(case, "times", partial(_save_for, case, number / 4000), partial(str, number))


def _save_for(case: Case, seconds: float) -> None:
    if child := os.fork():
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        case.save()


def ended_after_bytes(kind: Kind, folder: Path, how: str) -> Iterator[End]:
    """The kernel kills the child, or lets its write fail, when a file would get larger than so many bytes."""
    case = Case(kind, folder, numel=30_000)
    size = len(case.new)
    for number in range(PLACES):
        limit = size * number // PLACES
        yield _end(case, how, partial(_save_within, case, limit, how), partial(str, limit))


def _save_within(case: Case, limit: int, how: str) -> None:
    assert sys.platform != "win32"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if how == "bytes" else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    # A large save would look, and end before it begins.
    with mock.patch.object(space, "_limit", return_value=None) if how == "bytes" else contextlib.nullcontext():
        case.save()


def _end(case: Case, how: str, save: Callable[[], None], where: Callable[[], str]) -> End:
    case.prepare()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # PyTorch may have last words
            try:
                save()
            except (OSError, RuntimeError):
                os._exit(_ERROR)
            os._exit(0)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status)
    said = "killed" if killed else {0: "saved", _ERROR: "error"}[os.WEXITSTATUS(status)]
    kind = case.kind
    about = (kind.library, kind.legacy, kind.way, kind.fsync)
    return End(*about, how, where(), said, case.before, case.found(), case.bytes_left(), tuple(case.others()))


def _all(folder: Path, what: Sequence[Any]) -> Iterator[End]:
    if list(what) == ["operations"]:
        # Those with fsync ask for all that others do, and more.
        for kind in (kind for kind in kinds("ptfile.save") if kind.fsync or kind.way == "at once"):
            yield from killed_at_operations(kind, folder / f"{kind} killed")
        for kind in (Kind(), Kind(way="nameless"), Kind(legacy=True)):
            yield from killed_at_times(kind, folder / f"{kind} killed at times")
        return
    for library in what:
        ways: tuple[Way, ...] = ("named",) if library == "torch.save" else ("named", "nameless")
        for legacy, way, how in product((False, True), ways, ("bytes", "full")):
            kind = Kind(library, legacy, way=way)
            yield from ended_after_bytes(kind, folder / f"{kind} {how}", how)


if __name__ == "__main__":
    print(json.dumps(list(_all(Path(sys.argv[1]), sys.argv[2:]))))

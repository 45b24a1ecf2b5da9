"""The tables of docs/reliability.md about saves that go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.reliability.faults import Fault
from tests.reliability.kills import PLACES, End
from tests.reliability.table import table

_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "open a file or a folder, make a file": ("open", "open folder"),
    "write": ("write", "sendfile"),
    "give the mode of the old file": ("fchmod",),
    "sync the file": ("fsync",),
    "give a name to a file without one": ("link",),
    "close": ("close", "close folder"),
    "rename": ("replace",),
    "sync the folder": ("fsync folder",),
    "remove a temporary": ("unlink",),
    "look: what is there, may it be written, how much room": (
        *("lstat", "stat", "fstat", "access", "listxattr", "scandir", "fstatvfs"),
    ),
}
"""Headings, and the functions of `os` below them."""
_WAYS = {
    "at once": "small, and made in memory: without `fsync`",
    "named": "small",
    "nameless": "large",
    "refused": "large, and the system refuses to name the file",
    "swept": "large, on a system where files need names",
}


def fault_table(faults: Sequence[Fault]) -> Iterator[str]:
    """What was asked of the system, down; what came of it when it failed, across."""
    names = {name for names in _OPERATIONS.values() for name in names}
    unknown = {fault.operation for fault in faults} - names
    if unknown:
        raise ValueError(f"no row has {unknown}")
    rows = [
        (heading, *_outcomes([fault for fault in faults if fault.operation in names]))
        for heading, names in _OPERATIONS.items()
    ]
    head = ("what went wrong", "times", "error, old file whole", "error, new file whole", "saved", "anything else")
    yield f"{len({fault.kind for fault in faults})} kinds of save, {len(faults):,} faults:"
    yield ""
    yield from table((*head, "a temporary left"), [*rows, ("all", *_outcomes(faults))])


def _outcomes(faults: Sequence[Fault]) -> tuple[str, ...]:
    old = sum(fault.error is not None and fault.found == fault.before for fault in faults)
    new = sum(fault.error is not None and fault.found == "new" for fault in faults)
    saved = sum(fault.error is None and fault.found == "new" for fault in faults)
    left = sum(bool(fault.others) for fault in faults)
    return _texts(len(faults), old, new, saved, len(faults) - old - new - saved, left)


def kill_table(ends: Sequence[End]) -> Iterator[str]:
    """Kinds of save, down; what was there after kills at operations, across."""
    rows = []
    for way, heading in _WAYS.items():
        those = [end for end in ends if (end.how, end.way) == ("killed", way)]
        left = [end for end in those if end.others]
        rows.append((heading, *_texts(len(those), *_found(those), len(left), sum(end.bytes_left > 0 for end in those))))
    head = ("saves", "kills", "old file whole", "new file whole", "neither", "a temporary left", "that was not empty")
    yield from table(head, rows)


def byte_table(ends: Sequence[End]) -> Iterator[str]:
    """Libraries and formats, down; what was there after the end of a save somewhere in the file, across."""
    rows = []
    for how, heading in (("bytes", "killed"), ("full", "disk full")):
        for library in dict.fromkeys(end.library for end in ends):
            for legacy in (False, True):
                those = [end for end in ends if (end.how, end.library, end.legacy) == (how, library, legacy)]
                name = f"`{library}`, {'legacy' if legacy else 'zip'}"
                rows.append((heading, name, *_texts(len(those), *_found(those))))
    yield f"At {PLACES} places of a file each; ptfile's small and large saves:"
    yield ""
    yield from table(("", "", "times", "old file whole", "new file whole", "neither"), rows)


def _found(ends: Sequence[End]) -> tuple[int, int, int]:
    old = sum(end.found == end.before for end in ends)
    new = sum(end.found == "new" for end in ends)
    return old, new, len(ends) - old - new


def _texts(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in numbers)

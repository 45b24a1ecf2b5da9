"""A disk that loses whatever was not synced, and what a save looks like on it after a power cut at any moment.

The model knows no file system's kindness: of a file's bytes that were not synced under a name, nothing, zeros, a part
or all may be there; of the changes of a folder since it was last synced, any may be there and any not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import Any, NamedTuple

from tests.reliability.faults import usual
from tests.reliability.saves import NAME, Case, Kind
from tests.reliability.system import Operation, is_nameless, replaced_system

OLD = 0
"""The number of the file that is there before."""


class Change(NamedTuple):
    """One thing that a save did to the disk."""

    name: str
    """"create", "write", "sync", "link", "rename", "unlink" or "sync folder"."""
    file: int = -1
    """Files are numbered in the order in which they were made; of a rename and an unlink it does not matter."""
    data: bytes = b""
    entry: str = ""
    """The name in the folder; "" for a file that has none."""
    target: str = ""
    """What it is renamed to."""


def recorded(kind: Kind, folder: Path) -> tuple[list[Change], Case]:
    """What a save of this kind does to the disk, in order; it is really made."""
    case = Case(kind, folder)
    case.prepare()
    recorder = _Recorder(kind)
    with replaced_system(recorder):
        case.save()
    assert case.found() == "new"
    return recorder.changes, case


class _Recorder:
    def __init__(self, kind: Kind) -> None:
        self.changes: list[Change] = []
        self._refuse = usual(kind)
        self._open: dict[int, int] = {}
        self._made = OLD

    def __call__(self, operation: Operation, number: int) -> Any:
        answer = self._refuse(operation, number)
        change = self._change(operation, answer)
        if change is not None:
            self.changes.append(change)
        return answer

    def _change(self, operation: Operation, answer: Any) -> Change | None:
        name, arguments = operation.name, operation.arguments
        if name == "open" and arguments[1] & os.O_WRONLY | arguments[1] & os.O_RDWR:
            self._made += 1
            self._open[answer] = self._made
            return Change("create", self._made, entry="" if is_nameless(arguments[1]) else arguments[0])
        if name in ("write", "sendfile"):
            data = bytes(arguments[1][:answer]) if name == "write" else os.pread(arguments[1], answer, arguments[2])
            return Change("write", self._open[arguments[0]], data)
        if name == "fsync":
            return Change("sync", self._open[arguments[0]])
        if name == "fsync folder":
            return Change("sync folder")
        if name == "link":
            return Change("link", self._open[int(arguments[0].rpartition("/")[2])], entry=arguments[1])
        if name == "replace":
            return Change("rename", entry=arguments[0], target=arguments[1])
        return Change("unlink", entry=arguments[0]) if name == "unlink" else None


@dataclass
class Disk:
    """What is known to be on the disk, and what may be."""

    old: bytes
    entries: dict[str, int] = field(default_factory=lambda: {NAME: OLD})
    """Names on the disk for certain, and the files that they stand for."""
    names: dict[str, int] = field(default_factory=lambda: {NAME: OLD})
    """As the running system sees them."""
    pending: list[tuple[str, int, str]] = field(default_factory=list)
    """Changes of the folder that may be on the disk: a name, the file that it stands for then, the name that goes."""
    written: dict[int, bytes] = field(default_factory=dict)
    synced: dict[int, int] = field(default_factory=dict)
    """Bytes of each file that are on the disk for certain."""

    def make(self, change: Change) -> None:
        """Go on by one change."""
        if change.name in ("create", "link") and change.entry:
            self._enter(change.entry, change.file, "")
        elif change.name == "write":
            self.written[change.file] = self.written.get(change.file, b"") + change.data
        elif change.name == "sync" and change.file in self.names.values():
            self.synced[change.file] = len(self.written.get(change.file, b""))
        elif change.name == "rename":
            self._enter(change.target, self.names[change.entry], change.entry)
        elif change.name == "unlink":
            self._enter("", -1, change.entry)
        elif change.name == "sync folder":
            self.entries = dict(self.names)
            self.pending.clear()

    def _enter(self, name: str, file: int, gone: str) -> None:
        self.pending.append((name, file, gone))
        _apply(self.names, name, file, gone)

    def after_a_power_cut(self) -> Iterator[bytes | None]:
        """Everything that may be found under the name afterwards; None for nothing."""
        subsets = chain.from_iterable(combinations(self.pending, count) for count in range(len(self.pending) + 1))
        for file in {self._entries_with(subset).get(NAME) for subset in subsets}:
            if file is None:
                yield None
            elif file == OLD:
                yield self.old
            else:
                yield from self._contents(file)

    def _entries_with(self, changes: Sequence[tuple[str, int, str]]) -> dict[str, int]:
        entries = dict(self.entries)
        for change in changes:
            _apply(entries, *change)
        return entries

    def _contents(self, file: int) -> Iterator[bytes]:
        data = self.written.get(file, b"")
        sure, rest = data[: self.synced.get(file, 0)], data[self.synced.get(file, 0) :]
        yield from {sure, sure + rest, sure + bytes(len(rest)), sure + rest[: len(rest) // 2]}


def _apply(entries: dict[str, int], name: str, file: int, gone: str) -> None:
    entries.pop(gone, None)
    if name:
        entries[name] = file


def found_after_power_cuts(changes: Sequence[Change], old: bytes | None) -> list[set[bytes | None]]:
    """What may be found under the name after a power cut in front of each change and behind the last."""
    disk = Disk(old or b"")
    if old is None:
        disk.entries.clear()
        disk.names.clear()
    found = [set(disk.after_a_power_cut())]
    for change in changes:
        disk.make(change)
        found.append(set(disk.after_a_power_cut()))
    return found

"""Saves of every kind, of small files, for what can happen to them: what is at the path before, and what after."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import ptfile
from ptfile.sinks import folder, local_file

Library = Literal["ptfile.save", "ptfile.torch.save", "torch.save"]
Place = Literal["new", "old", "link"]
"""What is at the path before: nothing, an old file, or a symlink to one."""
Way = Literal["at once", "named", "nameless", "refused", "swept"]
"""Made in memory and put in place at once, as the smallest go; through a temporary with a name, as small ones do;
through one without, as large saves do, also where the system will not give it one in the end; through one with a name,
as large saves do on other systems, with what a killed save has left removed."""
WAYS: tuple[Way, ...] = ("at once", "named", "nameless", "refused", "swept")
ELSEWHERE: tuple[Way, ...] = ("named", "swept")
"""Where files always have names."""
NAME = "model.pt"
LEFT = f".{NAME}.0123abcd.tmp"
"""What a killed save has left, for those that sweep."""
TEMPORARY = re.compile(rf"\.{NAME}\.[0-9a-f]{{8}}\.tmp")
_HOURS_AGO = 7200


@dataclass(frozen=True)
class Kind:
    """One way to save."""

    library: Library = "ptfile.save"
    legacy: bool = False
    fsync: bool = False
    place: Place = "old"
    way: Way = "named"

    def __str__(self) -> str:
        words = [self.library, "legacy" if self.legacy else "zip", self.place, self.way]
        return " ".join([*words, "fsync"] if self.fsync else words)


def kinds(library: Library, ways: tuple[Way, ...] = WAYS) -> list[Kind]:
    """Each way with each choice of the others, once at least; of the drop-in, which has the same sink, some."""
    places: tuple[Place, ...] = ("new", "old", "link")
    old = places[1:2]
    many = product((False,), (False, True), places, ways)
    legacy = product((True,), (False, True), old, ways)
    some = product((False, True), (False,), old, ways)
    all_kinds = [Kind(library, *choice) for choice in ([*many, *legacy] if library == "ptfile.save" else some)]
    return [kind for kind in all_kinds if kind.way != "at once" or not (kind.legacy or kind.fsync)]


def library(name: Library) -> Callable[..., None]:
    """The function of that name, if PyTorch is there or not needed."""
    module, _, function = name.rpartition(".")
    found: Callable[..., None] = getattr(importlib.import_module(module), function)
    return found


class Case:
    """A folder in which saves of one kind are made, again and again."""

    def __init__(self, kind: Kind, folder: Path, *, numel: int | None = None) -> None:
        """`numel`: elements of the largest tensor, of 8 bytes each."""
        if numel is None:
            numel = 1_000 if kind.way == "at once" else 10_000
        self.kind = kind
        self.folder = folder / "here"
        self.path = self.folder / NAME
        self._elsewhere = folder / "elsewhere"
        self._save = library(kind.library)
        self._options: dict[str, Any] = {"_use_new_zipfile_serialization": False} if kind.legacy else {}
        if kind.fsync:
            self._options["fsync"] = True
        make: Any = ptfile if kind.library == "ptfile.save" else importlib.import_module("torch")
        self._value = {"large": make.arange(numel), **{str(number): make.ones(number) for number in range(30)}}
        self.folder.mkdir(parents=True)
        self._elsewhere.mkdir()
        self.old = self._bytes({"large": make.zeros(100)})
        self.new = self._bytes(self._value)

    def _bytes(self, value: object) -> bytes:
        self._save(value, self._elsewhere / NAME, **self._options)
        return (self._elsewhere / NAME).read_bytes()

    def prepare(self) -> None:
        """Put in place what is there before."""
        for place in (self.folder, self._elsewhere):
            for name in os.listdir(place):
                (place / name).unlink()
        if self.kind.place == "old":
            self.path.write_bytes(self.old)
        elif self.kind.place == "link":
            (self._elsewhere / NAME).write_bytes(self.old)
            self.path.symlink_to(self._elsewhere / NAME)
        if self.kind.way == "swept":
            left = self.path.resolve().parent / LEFT
            left.write_bytes(b"left over")
            os.utime(left, (left.stat().st_mtime - _HOURS_AGO,) * 2)

    def save(self) -> None:
        """The save."""
        with self._way():
            self._save(self._value, self.path, **self._options)

    @contextlib.contextmanager
    def _way(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if self.kind.way != "named":
                stack.enter_context(mock.patch.object(local_file, "LARGE", 1))
            if self.kind.way == "swept":
                stack.enter_context(mock.patch.object(folder, "_NAMELESS", 0))
            yield

    def found(self) -> Literal["none", "old", "new", "damaged"]:
        """What is at the path now."""
        if self.kind.place == "link" and not self.path.is_symlink():
            return "damaged"
        if not self.path.exists():
            return "none"
        data = self.path.read_bytes()
        return "old" if data == self.old else "new" if data == self.new else "damaged"

    @property
    def before(self) -> str:
        """What is at the path before the save."""
        return "none" if self.kind.place == "new" else "old"

    def others(self) -> list[str]:
        """What else is in the folder of the file, and was not there before."""
        return sorted(set(os.listdir(self.path.resolve().parent)) - {NAME, LEFT})

    def bytes_left(self) -> int:
        """The bytes of all that."""
        return sum((self.path.resolve().parent / name).stat().st_size for name in self.others())

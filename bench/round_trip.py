"""The work that most works are: save something to a new file, and load it back, with each library."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from harness import Contestant, Context, Maker, Operation, Work
from libraries import LIBRARIES, Library

FILE_NAME = "model.pt"
"""The same for all: what the file is called is part of its bytes."""


class Tree(Protocol):
    """Something to save, of a certain size."""

    @property
    def payload(self) -> int:
        """Bytes of its tensors."""

    def build(self, library: Library) -> Any:
        """Make it with the library's tensors."""

    def check(self, library: Library, loaded: Any) -> None:
        """Raise unless what was loaded is what `build` makes."""


def file_of(context: Context, name: str) -> Path:
    """The file that a contestant saves to and loads from. Its folder is there."""
    folder = context.folder / name.replace(" ", "_")
    folder.mkdir(exist_ok=True)
    return folder / FILE_NAME


class Save(Contestant):
    def __init__(self, name: str, tree: Tree, tiny: Tree, context: Context, *, fsync: bool = False) -> None:
        self._fsync = fsync
        self._library = LIBRARIES[name]()
        self._path = file_of(context, name)
        warm_up(self._library, tiny, self._path.with_name("tiny.pt"))
        self._value = tree.build(self._library)
        self.touches = tree.payload

    def before(self) -> None:
        self._path.unlink(missing_ok=True)  # giving back an old file's pages takes long, and is not saving

    def run(self) -> None:
        self._library.save(self._value, self._path, fsync=self._fsync)


class Load(Contestant):
    def __init__(self, name: str, tree: Tree, tiny: Tree, context: Context) -> None:
        self._library = LIBRARIES[name]()
        self._path = file_of(context, name)
        self._tree = tree
        self.payload = self.touches = tree.payload
        warm_up(self._library, tiny, self._path.with_name("tiny.pt"))

    def run(self) -> object:
        return self._library.load(self._path)

    def check(self, result: object) -> None:
        self._tree.check(self._library, result)


def warm_up(library: Library, tiny: Tree, path: Path) -> None:
    """Have everything imported that the library imports late."""
    library.save(tiny.build(library), path)
    tiny.check(library, library.load(path))
    path.unlink()


def check_same_bytes(context: Context) -> None:
    """Raise unless ptfile and torch have written the same file."""
    ours, theirs = file_of(context, "ptfile"), file_of(context, "torch")
    if not filecmp.cmp(ours, theirs, shallow=False):
        raise AssertionError(
            f"ptfile ({ours.stat().st_size} bytes) and torch ({theirs.stat().st_size}) wrote different files"
        )


def round_trip(
    *,
    full: Tree,
    quick: Tree,
    tiny: Tree,
    saving: Mapping[str, Maker] | None = None,
    loading: Mapping[str, Maker] | None = None,
    **about: Any,
) -> Work:
    """A work of two operations, save and load. `saving` and `loading` are what to measure beside the libraries."""

    def make(kind: type[Save | Load], name: str, context: Context) -> Contestant:
        return kind(name, quick if context.quick else full, tiny, context)

    save: dict[str, Maker] = {name: partial(make, Save, name) for name in LIBRARIES}
    load: dict[str, Maker] = {name: partial(make, Load, name) for name in LIBRARIES}
    operations = (
        Operation("save", {**save, **(saving or {})}, check_same_bytes),
        Operation("load", {**load, **(loading or {})}),
    )
    return Work(operations=operations, **about)

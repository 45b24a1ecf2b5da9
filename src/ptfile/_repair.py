"""`ptfile.repair`: what is whole in a file that is cut or damaged, as a file that loads."""

# ruff: noqa: PTH121  (as in `sinks`, pathlib would lose what paths say)

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ptfile._collector import paused_collector
from ptfile._names import distinct, exact
from ptfile._progress import Counter
from ptfile._tree import Leaf, storage_of, walk
from ptfile._types import Buffer, Path, Progress
from ptfile._without import LOST, without
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.errors import FormatError, UnsupportedError
from ptfile.formats.opening import open_format
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.salvage import BrokenZip, SalvagedStorage
from ptfile.formats.storages import SavedStorages
from ptfile.formats.zip_saving import ZipSave, root_for_path
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sinks import open_sink
from ptfile.sources import Source, open_source
from ptfile.stores.urls import StorageOptions, is_file_url, is_url, local_path, redacted
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.storage import Storage, TypedStorage

_DEFAULT_LIMITS = Limits()
_PARTS_DEPTH = 3
"""Steps from a part of a tensor to what it is a part of, and one more."""

_ByStorage: TypeAlias = "Mapping[int, SalvagedStorage]"
"""By the `id` of the storage that stands for it."""


@dataclass(frozen=True, slots=True)
class LostTensor:
    """A tensor that is not in the repaired file."""

    name: str
    """Its place in the checkpoint, as `inspect` and `ptfile ls` name it."""
    record: str
    """The record that its bytes were in; for a tensor of several parts that of a part that is lost."""
    problem: str
    """Why it is lost."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What `repair` has saved, and what it could not."""

    file: str
    """The broken file."""
    out: str
    """The file that was written."""
    kept: tuple[str, ...]
    """Names of the tensors that are in it."""
    lost: tuple[LostTensor, ...]
    unverified: tuple[str, ...]
    """Names of tensors among those kept for whose bytes there is no checksum."""
    notes: tuple[str, ...]
    """What else had to be taken on trust."""


def repair(
    broken: Path,
    out: Path,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
    progress: Progress | None = None,
) -> Repair:
    """Save what is whole in a cut or damaged file of the zip format to another file.

    A storage is whole if its bytes and its checksum are there and agree, or if there is no checksum to compare: then
    its tensors are in `unverified`. Tensors of which a storage is lost are left out: their keys go from dicts, their
    attributes from objects, and in lists and tuples None takes their place. All else is kept: values, sharing, objects
    of unknown classes (as inert records, which are saved as what they stand for). Nothing that the file names is run.

    broken, out: paths or URLs. `out` is written as `save` writes, all of it or nothing; a file that is there is
    replaced, but never `broken` itself.

    encoding, errors: how to read the strings of Python 2, as in `load`.
    storage_options: how to open the stores that URLs are in, as in `load`.
    progress: is called with the bytes that are done and those to do, again and again.

    Raises FormatError if the pickle, which says what is in the file, is damaged itself: then nothing can be salvaged.
    UnsupportedError for files of other formats, ValueError if `out` is `broken`, OSError.
    """
    _check_other(broken, out)
    with paused_collector(), open_source(broken, mmap=False, storage_options=storage_options) as source:
        _check_format(source, limits)
        rest = BrokenZip(source, limits, SafeRunner(limits, "inert", Python2Text(encoding, errors)))
        counter = Counter(progress, 2 * sum(storage.nbytes for storage in rest.storages.values()))
        rest.resolve(counter.advance)
        by_storage = {id(storage.storage): storage for storage in rest.storages.values()}
        before = _tensors(rest.value, limits)
        value = without(rest.value, {identity for identity, storage in by_storage.items() if storage.problem})
        if value is LOST:
            raise FormatError("the one tensor in it is lost", fix="Copy or download the file again", file=source.name)
        left = {_place(leaf) for _, leaf in _tensors(value, limits)}
        kept = [(name, leaf) for name, leaf in before if _place(leaf) in left]
        lost = [(name, leaf) for name, leaf in before if _place(leaf) not in left]
        reasons = _reasons(before, by_storage)
        storages = _UnkeptStorages(rest, by_storage, counter.advance)
        save = ZipSave(value, root_for_path(os.fspath(out)), storages=storages)
        with open_sink(out, storage_options=storage_options) as sink:
            save.write(sink)
        counter.finish()
        return Repair(
            file=source.name,
            out=redacted(os.fspath(out)),
            kept=tuple(name for name, _ in kept),
            lost=tuple(_lost(name, leaf, reasons) for name, leaf in lost),
            unverified=tuple(name for name, leaf in kept if _is_unverified(leaf, by_storage)),
            notes=tuple(rest.notes),
        )


def _check_other(broken: Path, out: Path) -> None:
    """Raise ValueError if both are one file."""
    one, other = (local_path(f) if is_file_url(f) else f for f in (broken, out))
    if is_url(one) or is_url(other):
        same = one == other
    else:
        try:
            same = os.path.samefile(one, other)
        except FileNotFoundError:
            same = False
    if same:
        message = (
            f"{redacted(os.fspath(out))} is the broken file itself, which is never written over: give another name"
        )
        raise ValueError(message)


def _check_format(source: Source, limits: Limits) -> None:
    kind = sniff(bytes(source.read(0, min(HEAD_SIZE, source.size))), source.size)
    if kind in (Kind.LEGACY, Kind.TAR, Kind.SAFETENSORS):
        problem = f"only files of the zip format can be repaired, and it is {kind.looks}: that has no checksums"
        raise UnsupportedError(problem, fix="If it loads, save it again: then it has some", file=source.name)
    if kind not in (Kind.ZIP, Kind.ZEROS, Kind.UNKNOWN):  # a zip file may have lost its first bytes
        open_format(source, limits)  # says what it is


def _place(leaf: Leaf) -> tuple[str, int]:
    return exact(leaf.path), id(leaf.value)


def _tensors(root: object, limits: Limits) -> list[tuple[str, Leaf]]:
    """Everything in a tree that has bytes in a storage, with the names that `ptfile ls` gives."""
    leaves = list(walk(root, limits))
    names = distinct([leaf.name for leaf in leaves], [leaf.path for leaf in leaves])
    kinds = (Attributed, Storage, TypedStorage)
    return [(name, leaf) for name, leaf in zip(names, leaves, strict=True) if isinstance(leaf.value, kinds)]


def _reasons(tensors: list[tuple[str, Leaf]], by_storage: _ByStorage) -> dict[str, SalvagedStorage]:
    """The lost storage by the place of the tensor that looks at it, and by the places that the tensor is a part of."""
    reasons: dict[str, SalvagedStorage] = {}
    for above in range(_PARTS_DEPTH):
        for _, leaf in tensors:
            storage = by_storage.get(id(storage_of(leaf.value)))
            if storage is not None and storage.problem and above <= len(leaf.path):
                reasons.setdefault(exact(leaf.path[: len(leaf.path) - above]), storage)
    return reasons


def _lost(name: str, leaf: Leaf, reasons: dict[str, SalvagedStorage]) -> LostTensor:
    places = (exact(leaf.path[: len(leaf.path) - above]) for above in range(min(_PARTS_DEPTH, len(leaf.path) + 1)))
    for above, place in enumerate(places):
        if place in reasons:
            problem = reasons[place].problem
            own = above == 0 and storage_of(leaf.value) is not None
            return LostTensor(name, reasons[place].record, problem if own else f"a part of it is lost: {problem}")
    return LostTensor(name, "", "it belongs to a tensor that is lost")


def _is_unverified(leaf: Leaf, by_storage: _ByStorage) -> bool:
    storage = by_storage.get(id(storage_of(leaf.value)))
    return storage is not None and not storage.is_verified


class _UnkeptStorages(SavedStorages):
    """Storages whose bytes are read when they are written and not kept: the file may be larger than memory."""

    def __init__(self, rest: BrokenZip, by_storage: _ByStorage, advance: Callable[[int], None]) -> None:
        super().__init__()
        self._advance = advance
        self._rest = rest
        self._by_storage = by_storage

    def payload(self, storage: Storage) -> Buffer:
        self._advance(storage.nbytes())
        found = self._by_storage.get(id(storage))
        return super().payload(storage) if found is None else self._rest.read(found.key).data

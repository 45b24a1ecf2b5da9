"""What `edit` does."""

# ruff: noqa: PTH122  (as in `sinks`, pathlib would lose what paths say)

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ptfile._collector import paused_collector
from ptfile._selection import SelectionError, unknown
from ptfile._tree import walk
from ptfile._types import Path
from ptfile.conversion.checking import StorageSums, Watch, is_as_expected
from ptfile.conversion.reading import read_tree
from ptfile.conversion.report import SUFFIXES
from ptfile.editing.casting import cast as cast_tensors
from ptfile.editing.casting import floating_dtype
from ptfile.editing.changes import apply, merge, new_keys, not_to_keep, to_drop
from ptfile.editing.places import Place, described, places
from ptfile.editing.report import Edit
from ptfile.errors import FormatError, UnsupportedError, located
from ptfile.formats.streamed import CopiedStorages, streamed_save
from ptfile.limits import Limits
from ptfile.machine.inert import InertRecord
from ptfile.machine.vm import Python2Text
from ptfile.sinks import open_sink
from ptfile.sources import open_source
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed


@dataclass(frozen=True, slots=True)
class Changes:
    """What shall be done, in this order, as the arguments of `edit` have it."""

    root: str
    keep: Sequence[str]
    drop: Sequence[str]
    rename: Mapping[str, str]
    cast: str | DType | Mapping[str, str | DType]


def run(
    src: Path | Sequence[Path],
    dst: Path,
    changes: Changes,
    text: Python2Text,
    limits: Limits,
    storage_options: StorageOptions,
    watch: Watch,
) -> Edit:
    """Do it. Raises as `edit` says."""
    target = os.fspath(dst)
    if SUFFIXES.get(os.path.splitext(target)[1].lower(), "pt") != "pt":
        message = f"{target!r}: it would be a .pt file; give it such a name, and convert it afterwards"
        raise ValueError(message)
    wanted = _dtypes(changes.cast)
    with ExitStack() as stack, paused_collector():
        trees = []
        for path in [src] if isinstance(src, str | os.PathLike) else src:
            source = stack.enter_context(open_source(path, mmap=False, storage_options=storage_options))
            trees.append((source.name, _below(read_tree(source, limits, text).root, changes.root, limits)))
        if not trees:
            raise ValueError("there is no file to edit")
        files = tuple(name for name, _ in trees)
        with located(file=", ".join(files)):
            value, done = _changed(trees, changes, wanted, limits)
            storages = CopiedStorages(watch.feed, seen=watch.note, advance=watch.counter.advance)
            prepared = streamed_save(value, dst, storages)
        with open_sink(dst, storage_options=storage_options) as sink:
            watch.expect(prepared.nbytes, sink)
            prepared.write(sink)
            try:
                verified = is_as_expected(sink, target, lambda: value, watch, limits, text, of=StorageSums)
            except FormatError:
                storages.check_copied()  # the source may be what is damaged: then that is to be said
                raise
        watch.counter.finish()
    return Edit(files=files, out=target, nbytes=prepared.nbytes, copied=storages.copied, verified=verified, **done)


def _below(value: Any, name: str, limits: Limits) -> Any:
    """What has this name in a tree."""
    if not name:
        return value
    found = {place.name: place.value for place in places(value, limits)}
    if name not in found:
        raise SelectionError(unknown([one for one in found if one], name))
    return found[name]


def _changed(
    trees: Sequence[tuple[str, Any]], changes: Changes, wanted: Mapping[str, DType], limits: Limits
) -> tuple[Any, dict[str, Any]]:
    """One tree of all, edited, and what was done to it."""
    value = trees[0][1]
    for name, other in trees[1:]:
        merge(value, other, "", name)
    found = places(value, limits)
    dropped: list[str] = []
    for patterns, choose in ((changes.keep, not_to_keep), (changes.drop, to_drop)):
        if patterns:
            gone = choose(found, patterns)
            dropped += _leaves(found, gone)
            value = apply(found, gone, {}, {})
            found = places(value, limits)
    keys = new_keys(found, changes.rename)
    renamed = {found[number].name: key for number, key in keys.items()}
    if keys:
        value = apply(found, set(), keys, {})
        found = places(value, limits)
    chosen = _chosen(found, wanted, limits)
    replaced = cast_tensors(value, found, chosen, limits)
    if replaced:
        value = apply(found, set(), {}, replaced)
    names = tuple(place.name for place in found if id(place.value) in replaced)
    return value, {"dropped": tuple(dropped), "renamed": renamed, "cast": names}


def _leaves(found: Sequence[Place], gone: set[int]) -> list[str]:
    """Names of the tensors and values at some places and in them."""
    below = set(gone)
    opened = {place.above for place in found}
    for number, place in enumerate(found):
        if place.above in below:
            below.add(number)
    return [found[number].name for number in sorted(below) if number not in opened]


def _dtypes(cast: str | DType | Mapping[str, str | DType]) -> dict[str, DType]:
    """Dtypes by patterns."""
    named = cast if isinstance(cast, Mapping) else {"*": cast}
    return {pattern: floating_dtype(name) for pattern, name in named.items()}


def _chosen(found: Sequence[Place], wanted: Mapping[str, DType], limits: Limits) -> dict[int, DType]:
    """The dtypes that places shall have, by their numbers; the last pattern that describes one decides."""
    chosen: dict[int, DType] = {}
    names = [place.name for place in found]
    for pattern, dtype in wanted.items():
        those = described(pattern, names)
        inside: set[int] = set()
        for number, place in enumerate(found):
            if place.name in those or place.above in inside:
                inside.add(number)
                chosen[number] = dtype
                _check_reachable(place, limits)
    return chosen


def _check_reachable(place: Place, limits: Limits) -> None:
    """Raise UnsupportedError for an object of an unknown class that has floating point tensors inside."""
    if type(place.value) is not InertRecord:
        return
    for leaf in walk(place.value, limits):
        if isinstance(leaf.value, Attributed) and leaf.value.dtype.is_floating_point:
            problem = (
                f"{place.name or '(root)'} is an object of {place.value.inert_class}, whose tensors cannot be cast"
            )
            raise UnsupportedError(problem, fix="Take its weights with ptfile.state_dict first, or leave it out")

"""`ptfile.edit`: another checkpoint made of parts of one or several, without reading their tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ptfile._collector import paused_collector
from ptfile._convert import SUFFIXES
from ptfile._tree import walk
from ptfile._types import Path
from ptfile.conversion.reading import read_tree
from ptfile.editing.casting import cast as cast_tensors
from ptfile.editing.casting import floating_dtype
from ptfile.editing.changes import apply, merge, new_keys, not_to_keep, to_drop
from ptfile.editing.places import Place, matching, places
from ptfile.errors import UnsupportedError, located
from ptfile.formats.streamed import CopiedStorages, streamed_save
from ptfile.limits import Limits
from ptfile.machine.inert import InertRecord
from ptfile.machine.vm import Python2Text
from ptfile.sinks import open_sink
from ptfile.sources import open_source
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed

_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Edit:
    """What `edit` has done."""

    files: tuple[str, ...]
    """The files that were read."""
    out: str
    """The file that was written."""
    nbytes: int
    """Its size."""
    dropped: tuple[str, ...]
    """Names of the tensors and values that are not in it."""
    renamed: Mapping[str, str]
    """New keys by the names of their places."""
    cast: tuple[str, ...]
    """Names of the tensors that are of another dtype."""
    copied: int
    """Bytes of tensors that went from file to file without being looked at."""


def edit(
    src: Path | Sequence[Path],
    dst: Path,
    *,
    root: str = "",
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    cast: str | DType | Mapping[str, str | DType] | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Edit:
    r"""Write a checkpoint made of parts of another, in the bytes in which `save` would write that object.

    Names are those of `ptfile ls`. In a pattern `*` stands for any characters, `?` for any one, and all else for
    itself; what it describes is meant with all that is in it. Things are done in the order of the arguments:

    src: a path or a URL, or several, whose dicts are merged: what two of them have at one place is an error, unless
        both are dicts or the same plain value. Files of the formats that `convert` reads will do.
    dst: a path or a URL, which may be that of `src`, and is written as `save` writes, all of it or nothing.
    root: the name of what shall be the whole object, such as "model"; of each source.
    keep: patterns of what shall stay. What they do not describe goes, but for what stands beside the keys of dicts
        that stay, such as the `_metadata` of a state dict.
    drop: patterns of what shall go. Items go from lists, too, so that those behind them move up.
    rename: replacements by regular expressions, as in `re.sub`: in each key of a dict that is a text the first match is
        replaced. A key is the last part of a name: that of `model.module.a.weight` in `model` is `module.a.weight`.
    cast: a dtype, or dtypes by patterns of names, for floating point tensors; others stay as they are. Numbers that are
        too large become infinite, or what the dtype has in place of it. Tensors that share a storage are cast together.
    storage_options: how to open the stores that URLs are in, as in `load`.

    Storages that stay as they are go from file to file as whole records, on Linux without passing through the memory
    of this process. Their checksums go with them: damage in `src` is damage in `dst`, and is found there as it is here.
    All else is verified as `load` does.

    Raises ValueError for a name or pattern that describes nothing, two things of one name, and sources that cannot be
    merged; UnsupportedError for tensors that cannot be cast; what `load` raises; and OSError. `dst` is then as it was.

    >>> import os, ptfile
    >>> ptfile.save({"model": {"module.weight": ptfile.ones(2)}, "epoch": 3}, "checkpoint.pt")
    >>> ptfile.edit("checkpoint.pt", "weights.pt", root="model", rename={r"^module\.": ""}, cast="float16").cast
    ('weight',)
    >>> ptfile.load("weights.pt")
    {'weight': tensor([1., 1.], dtype=ptfile.float16)}
    """
    target = os.fspath(dst)
    if SUFFIXES.get(os.path.splitext(target)[1].lower(), "pt") != "pt":  # noqa: PTH122
        message = f"{target!r}: it would be a .pt file; give it such a name, and convert it afterwards"
        raise ValueError(message)
    sources = [src] if isinstance(src, str | os.PathLike) else list(src)
    wanted = _dtypes(cast)
    with ExitStack() as stack, paused_collector():
        trees = []
        for path in sources:
            source = stack.enter_context(open_source(path, mmap=False, storage_options=storage_options))
            trees.append(
                (source.name, _below(read_tree(source, limits, Python2Text(encoding, errors)).root, root, limits))
            )
        if not trees:
            raise ValueError("there is no file to edit")
        with located(file=", ".join(name for name, _ in trees)):
            value, report = _changed(trees, keep, drop, rename or {}, wanted, limits)
            storages = CopiedStorages()
            prepared = streamed_save(value, dst, storages)
        with open_sink(dst, storage_options=storage_options) as sink:
            prepared.write(sink)
    names = tuple(name for name, _ in trees)
    return Edit(files=names, out=target, nbytes=prepared.nbytes, copied=storages.copied, **report)


def _below(value: Any, name: str, limits: Limits) -> Any:
    """What has this name in a tree."""
    if not name:
        return value
    found = next((place for place in places(value, limits) if place.name == name), None)
    if found is None:
        message = f"{name!r} is the name of nothing in it: `ptfile ls` shows the names"
        raise ValueError(message)
    return found.value


def _changed(
    trees: Sequence[tuple[str, Any]],
    keep: Sequence[str],
    drop: Sequence[str],
    rename: Mapping[str, str],
    wanted: Mapping[str, DType],
    limits: Limits,
) -> tuple[Any, dict[str, Any]]:
    """One tree of all, edited, and what was done to it."""
    value = trees[0][1]
    for name, other in trees[1:]:
        merge(value, other, "", name)
    found = places(value, limits)
    dropped: list[str] = []
    for patterns, choose in ((keep, not_to_keep), (drop, to_drop)):
        if patterns:
            gone = choose(found, patterns)
            dropped += _leaves(found, gone)
            value = apply(found, gone, {}, {})
            found = places(value, limits)
    keys = new_keys(found, rename)
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


def _dtypes(cast: str | DType | Mapping[str, str | DType] | None) -> dict[str, DType]:
    """Dtypes by patterns."""
    if cast is None:
        return {}
    named = cast if isinstance(cast, Mapping) else {"*": cast}
    return {pattern: floating_dtype(name) for pattern, name in named.items()}


def _chosen(found: Sequence[Place], wanted: Mapping[str, DType], limits: Limits) -> dict[int, DType]:
    """The dtypes that places shall have, by their numbers; the last pattern that describes one decides."""
    chosen: dict[int, DType] = {}
    names = [place.name for place in found]
    for pattern, dtype in wanted.items():
        described = matching(pattern, names)
        if not described:
            message = f"{pattern!r} is the name of nothing in it: `ptfile ls` shows the names"
            raise ValueError(message)
        inside: set[int] = set()
        for number, place in enumerate(found):
            if place.name in described or place.above in inside:
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

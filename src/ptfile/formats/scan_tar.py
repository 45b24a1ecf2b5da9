"""The small pickles of the tar format, between which raw numbers stand, cut out without making tensors of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ptfile.errors import FormatError
from ptfile.formats.pickle_sequence import CutPickle, PickleSequence
from ptfile.formats.scan_pickles import NOTHING, PLAIN_POLICY
from ptfile.formats.tar_format import COUNT_SIZE, DIMENSIONS, MOST_DIMENSIONS, NAMES
from ptfile.machine.names import Global
from ptfile.machine.policy import Policy
from ptfile.tensors import dtypes

Cut = tuple[CutPickle, Policy]
"""A pickle, and what it may name."""

_CLASSES = Policy(NAMES, {})


def small_pickles(member: str, sequence: PickleSequence) -> Iterator[Cut]:
    """The pickles in one of the four members. Raises FormatError where what is between them makes no sense."""
    yield from TORCH_MEMBERS[member](sequence)


def _one(sequence: PickleSequence, rules: Policy) -> Iterator[Cut]:
    while sequence.rest:
        yield sequence.next(), rules


def _storages(sequence: PickleSequence) -> Iterator[Cut]:
    count = sequence.next()
    yield count, NOTHING
    for _ in range(_number(count)):
        entry = sequence.next()
        yield entry, _CLASSES
        kind = _entry(entry)[-1]
        storage_class = kind.name if isinstance(kind, Global) else ""
        dtype = dtypes.BY_STORAGE_CLASS.get(storage_class)
        if dtype is None:
            raise FormatError("an entry has no class of storages", offset=entry.start)
        numel = int.from_bytes(sequence.take(COUNT_SIZE), "little", signed=True)
        if numel < 0:
            raise FormatError("a storage has a negative number of elements", offset=entry.start)
        sequence.skip(numel * dtype.itemsize)
    yield from _one(sequence, NOTHING)  # the views


def _tensors(sequence: PickleSequence) -> Iterator[Cut]:
    count = sequence.next()
    yield count, NOTHING
    for _ in range(_number(count)):
        entry = sequence.next()
        yield entry, _CLASSES
        _entry(entry)
        (rank,) = DIMENSIONS.unpack(sequence.take(DIMENSIONS.size))
        if not 0 <= rank <= MOST_DIMENSIONS:
            raise FormatError(f"a tensor has {rank} dimensions", offset=entry.start)
        sequence.skip(COUNT_SIZE * (2 * rank + 1))
    yield from _one(sequence, NOTHING)


def _number(count: CutPickle) -> int:
    value = count.plain()
    if type(value) is not int or value < 0:
        raise FormatError("it does not begin with a number of entries", offset=count.start)
    return value


def _entry(entry: CutPickle) -> tuple[Any, ...]:
    value = entry.plain(NAMES)
    if type(value) is not tuple or not value:
        raise FormatError("an entry is no tuple", offset=entry.start)
    return value


TORCH_MEMBERS: Mapping[str, Callable[[PickleSequence], Iterator[Cut]]] = {
    "sys_info": lambda sequence: _one(sequence, NOTHING),
    "pickle": lambda sequence: _one(sequence, PLAIN_POLICY),
    "storages": _storages,
    "tensors": _tensors,
}
"""The members of a checkpoint, and how each is cut up."""

"""Storages that are made of several tensors of a file, or of one whose elements do not lie row by row.

Tensors may be many and look at one flat buffer, and each is read by itself: so no more is made of such a storage than
the parts that the asked bytes lie in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

import numpy as np

from ptfile.tensors import strides
from ptfile.tensors.storage import Bytes, Storage
from ptfile.tensors.tensor import Tensor

_PIECE = 1 << 20
_KEPT = 16 << 20
"""Bytes of a cluster that is made once for several reads."""
_GAPS = 16
_SMALL = 4 << 10


def warranted(nbytes: int) -> int:
    """Bytes that may be made of tensors of so many: views may skip some of their storage, but not nearly all of it.

    Otherwise a line of text could ask for as many zeros as it likes. `convert` writes nothing that asks for more.
    """
    return _SMALL + _GAPS * nbytes


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of the file in a storage."""

    tensor: Tensor
    start: int
    """Bytes."""
    stride: tuple[int, ...]
    """With which it lies in the storage, in elements."""

    @property
    def is_run(self) -> bool:
        """Whether its bytes lie in the storage as they lie in the file."""
        return self.tensor.is_contiguous() and strides.is_contiguous(self.tensor.shape, self.stride)

    def once(self) -> Tensor:
        """The elements, but only the first of those that have one place: an expanded tensor is large in the file."""
        every, first = slice(None), slice(1)
        return self.tensor[tuple(every if step else first for step in self.stride)]

    @property
    def stop(self) -> int:
        return self.start + strides.extent(self.tensor.shape, self.stride) * self.tensor.itemsize


@dataclass(frozen=True, eq=False)
class Cluster:
    """Parts that reach into one another, and into no other."""

    start: int
    stop: int
    parts: tuple[Part, ...]
    """In the order in which they are written: the last has its way."""

    @cached_property
    def are_runs(self) -> bool:
        return all(part.is_run for part in self.parts)

    @property
    def is_made_whole(self) -> bool:
        """Whether it has to be, or is small enough that it had better be, because other reads will ask for it again."""
        return not self.are_runs or (len(self.parts) > 1 and self.stop - self.start <= _KEPT)

    def range(self, start: int, stop: int) -> Bytes:
        """Bytes between `start` and `stop` of the storage. The parts are runs."""
        made = np.zeros(stop - start, np.uint8)
        for part in self.parts:
            first, last = max(start, part.start), min(stop, part.stop)
            if first < last:
                place = part.tensor.storage_offset() * part.tensor.itemsize - part.start
                made[first - start : last - start] = _read(part.tensor.untyped_storage(), first + place, last + place)
        return made

    def whole(self) -> Bytes:
        """All its bytes."""
        made = np.zeros(self.stop - self.start, np.uint8)
        for part in self.parts:
            seen = part.once()
            place = Tensor(Storage(made[part.start - self.start :]), seen.dtype, 0, seen.shape, part.stride)
            place.raw_array()[...] = _unkept(seen).raw_array()
        return made


def _read(storage: Storage, start: int, stop: int) -> Bytes:
    """Bytes that are not kept; all of them are checked, if they can be."""
    return storage.read() if stop - start == storage.nbytes() else storage.peek(start, stop)


def _unkept(tensor: Tensor) -> Tensor:
    """The same elements, of a storage that does not keep what is read of it."""
    storage = tensor.untyped_storage()
    if storage.is_read_in_parts(tensor.nbytes):
        return tensor
    whole = Storage(storage.read())
    return Tensor(whole, tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())


def clusters_of(parts: Sequence[Part]) -> tuple[Cluster, ...]:
    """The parts, together with those that they overlap, in the order of the storage."""
    groups: list[list[int]] = []
    stop = 0
    numbers = (number for number, part in enumerate(parts) if part.tensor.numel())
    for number in sorted(numbers, key=lambda each: parts[each].start):
        part = parts[number]
        if not groups or part.start >= stop:
            groups.append([])
            stop = part.stop
        groups[-1].append(number)
        stop = max(stop, part.stop)
    return tuple(_cluster([parts[number] for number in sorted(group)]) for group in groups)


def _cluster(parts: list[Part]) -> Cluster:
    return Cluster(min(part.start for part in parts), max(part.stop for part in parts), tuple(parts))


class Kept:
    """The cluster that was made last, unless it is large: one for all storages of a file, so that memory is bounded."""

    def __init__(self) -> None:
        self._last: tuple[Cluster, Bytes] | None = None

    def whole(self, cluster: Cluster) -> Bytes:
        """All bytes of a cluster, not to be written to."""
        last = self._last  # once: other threads may change it
        if last is not None and last[0] is cluster:
            return last[1]
        self._last = last = None
        made = cluster.whole()
        if made.nbytes <= _KEPT:
            self._last = (cluster, made)
        return made


@dataclass(frozen=True, slots=True)
class Composed:
    """Where the bytes of such a storage come from."""

    nbytes: int
    clusters: tuple[Cluster, ...]
    kept: Kept = field(repr=False)
    offset: int = 0
    crc: None = None

    def range(self, start: int, stop: int) -> Bytes:
        """The bytes from `start` to `stop`."""
        made = np.zeros(stop - start, np.uint8)
        for cluster in self._between(start, stop):
            low, high = max(start, cluster.start), min(stop, cluster.stop)
            if cluster.is_made_whole:
                part = self.kept.whole(cluster)[low - cluster.start : high - cluster.start]
            else:
                part = cluster.range(low, high)
            if part.nbytes == stop - start > _KEPT:
                return part  # nobody else holds it
            made[low - start : high - start] = part
        return made

    def _between(self, start: int, stop: int) -> Sequence[Cluster]:
        first = bisect_right(self.clusters, start, key=attrgetter("stop"))
        return self.clusters[first : bisect_left(self.clusters, stop, key=attrgetter("start"))]

    def check(self, start: int, stop: int) -> None:
        """Read what the bytes between `start` and `stop` are made of, to see whether its checksums are right."""
        for cluster in self._between(start, stop):
            for part in cluster.parts:
                for _ in part.tensor.untyped_storage().pieces():
                    pass

    def pieces(self) -> Iterator[Bytes]:
        """All of them, cut between clusters, so that nothing is made twice and what has a checksum is checked."""
        start = 0
        while start < self.nbytes:
            stop = min(start + _PIECE, self.nbytes)
            number = bisect_right(self.clusters, stop, key=attrgetter("stop"))
            cluster = self.clusters[number] if number < len(self.clusters) else None
            if cluster is not None and cluster.start < stop and (cluster.is_made_whole or len(cluster.parts) == 1):
                stop = cluster.start if cluster.start > start else cluster.stop
                storage = cluster.parts[0].tensor.untyped_storage()
                if cluster.start == start and cluster.are_runs and storage.nbytes() == stop - start:
                    yield from storage.pieces()
                    start = stop
                    continue
            yield self.range(start, stop)
            start = stop

"""A run of bytes of another source, as a source of its own: a file that is stored inside a file."""

from __future__ import annotations

from collections.abc import Iterable

from ptfile._types import Buffer
from ptfile.sources.base import Closing, DistantSource, Source, ViewSource, announce, check_range
from ptfile.sources.memory import MemorySource


class PartSource(Closing):
    """Bytes `start` to `start + size` of a source, which stays its owner's to close."""

    __slots__ = ("_start", "_whole", "name", "size")

    def __init__(self, whole: Source, start: int, size: int, name: str) -> None:
        """Raises FormatError unless the part lies within the whole."""
        check_range(whole.name, whole.size, start, size)
        self._whole = whole
        self._start = start
        self.name = name
        self.size = size

    def read(self, offset: int, length: int) -> Buffer:
        check_range(self.name, self.size, offset, length)
        return self._whole.read(self._start + offset, length)

    def read_into(self, offset: int, target: memoryview) -> None:
        check_range(self.name, self.size, offset, target.nbytes)
        self._whole.read_into(self._start + offset, target)


class DistantPart(PartSource, DistantSource):
    """A part of a source that is far away."""

    __slots__ = ()

    def will_read(self, ranges: Iterable[tuple[int, int]]) -> None:
        announce(self._whole, ((self._start + first, self._start + last) for first, last in ranges))


def part_of(whole: Source, start: int, size: int, name: str) -> Source:
    """The part as a source: one that gives views where the whole does."""
    if isinstance(whole, ViewSource):
        return MemorySource(whole.view(start, size), name, is_mapped=whole.is_mapped)
    kind = DistantPart if isinstance(whole, DistantSource) else PartSource
    return kind(whole, start, size, name)

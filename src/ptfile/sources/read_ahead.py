"""Many small reads, few system calls: a hundred thousand record headers lie behind one another."""

from __future__ import annotations

from ptfile._types import Buffer
from ptfile.sources.base import Closing, DistantSource, Source, ViewSource, check_range
from ptfile.sources.small_file import SmallFileSource

_PASS_THROUGH = 64 << 10
"""Reads of this many bytes and more gain nothing from a window."""
_FIRST_WINDOW = 4 << 10
"""Bytes fetched for a read that goes on from no other: records far apart should not cost a full window each."""


class ReadAhead(Closing):
    """Another source behind a window that doubles while reads go on where they left off, up to `window` bytes.

    Threads may share one: the window is replaced whole, so the worst that can happen is to read it twice.
    """

    __slots__ = ("_most", "_source", "_window", "name", "size")

    def __init__(self, source: Source, window: int = 1 << 20) -> None:
        self._source = source
        self._most = window
        self._window: tuple[int, memoryview] = (0, memoryview(b""))
        self.name = source.name
        self.size = source.size

    def read(self, offset: int, length: int) -> Buffer:
        if length >= _PASS_THROUGH:
            return self._source.read(offset, length)
        start, window = self._window
        if not start <= offset <= offset + length <= start + window.nbytes:
            check_range(self.name, self.size, offset, length)
            start, window = self._fetch(offset, length)
        return window[offset - start : offset - start + length]

    def read_into(self, offset: int, target: memoryview) -> None:
        if target.nbytes >= _PASS_THROUGH:
            self._source.read_into(offset, target)
        else:
            target[:] = self.read(offset, target.nbytes)

    def _fetch(self, offset: int, length: int) -> tuple[int, memoryview]:
        start, window = self._window
        end = start + window.nbytes
        goes_on = start <= offset <= end + window.nbytes
        wanted = max(length, min(2 * window.nbytes if goes_on else 0, self._most), min(_FIRST_WINDOW, self._most))
        self._window = fetched = (offset, memoryview(self._source.read(offset, min(wanted, self.size - offset))))
        return fetched

    def close(self) -> None:
        self._window = (0, memoryview(b""))
        self._source.close()


def near(source: Source) -> Source:
    """A source for small reads: itself, if it is in memory or fetches ahead in a way of its own."""
    return source if isinstance(source, (ViewSource, DistantSource, SmallFileSource)) else ReadAhead(source)

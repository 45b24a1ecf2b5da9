"""A file far away as a source: each request costs a journey, so few are made, and many are on their way at once.

What is going to be read can be announced (`will_read`). It is then fetched in pieces, some of which are always ahead of
the reader, and forgotten behind it: a file of any size goes by in bounded memory. Who asks for one
small thing after the other gets more than that, and more each time, as a system reads ahead on its disks.
"""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Protocol

from ptfile._types import Buffer
from ptfile.sources.base import Closing, DistantSource, check_range, closed_error
from ptfile.sources.merging import GAP, Range, cut, merge, without

HEAD = 32 << 10
"""Bytes from the start that come along when a file is opened."""
AT_ONCE = 16
"""Requests on their way, and pieces ahead of a reader: at most 120 MiB, of the largest."""
BESIDE = 4 << 10
"""Bytes before and behind what is read unannounced that are fetched with it: headers stand beside what they are of."""
AHEAD_MIN, AHEAD_MAX = 32 << 10, 1 << 20
"""Bytes that are fetched with what is asked for where that goes on from the last: twice as many each time."""
_KEPT_PIECE = 256 << 10
_KEPT = 4 << 20
_KEPT_PIECES = 64
"""What stays after it was read: so many pieces that are so small, directories and headers and small tensors."""
_PLANS = 4
"""Announcements that are held at once; fewer if much of them stays unread. Who makes more needs the first no more."""
_PLANNED = 1 << 16
"""Pieces of an announcement that are remembered. A server can say that a file is as large as it likes."""
_DESCRIPTOR = 24
"""Bytes behind the last record that is announced which nobody reads, as a rule."""
_BEHIND = 2
"""Pieces behind the latest read that are not forgotten unread: threads may read side by side."""


class RangeFile(Protocol):
    """A file that gives ranges of itself, to several threads at once, and makes sure that it is still the same file."""

    @property
    def name(self) -> str:
        """The URL, without what is secret in it."""

    @property
    def size(self) -> int: ...

    @property
    def head(self) -> Buffer:
        """Its first bytes, which came when it was opened."""

    def fetch(self, start: int, target: memoryview) -> None:
        """Fill the target from `start` on. Raises OSError, with `errno.ESTALE` if the file has changed."""


@dataclass(slots=True, eq=False)
class _Piece:
    """A run of bytes that is fetched as a whole."""

    start: int
    stop: int
    coming: Future[memoryview] | None = None
    """None: not asked for yet."""
    read: list[Range] = field(default_factory=list)
    """What was read of it."""

    def note(self, start: int, stop: int, unread: int) -> bool:
        """Say that these bytes were read. Returns whether all were, but for gaps and at most `unread` at the end."""
        self.read = merge([*self.read, (start, stop)])
        first, last = self.read[0]
        return first <= self.start + GAP and last >= self.stop - unread


class _Plan:
    """Pieces that were announced, in rising order. Those next to be read are on their way."""

    def __init__(self, pieces: list[Range], unread: int) -> None:
        self.unread = unread
        """Bytes at the end of a piece that nobody may want."""
        self._starts = [start for start, _ in pieces]
        self.pieces = {number: _Piece(*piece) for number, piece in enumerate(pieces)}
        """By number, those that were not read yet."""

    def find(self, offset: int) -> int | None:
        """The number of the piece that holds a byte, unless it was read already."""
        number = bisect_right(self._starts, offset) - 1
        piece = self.pieces.get(number)
        return number if piece is not None and offset < piece.stop else None

    def under_way(self) -> int:
        """How many pieces are in memory or will be."""
        return sum(piece.coming is not None for piece in self.pieces.values())

    def forget(self, number: int) -> None:
        piece = self.pieces.pop(number, None)
        if piece is not None and piece.coming is not None:
            piece.coming.cancel()

    def forget_before(self, number: int) -> None:
        for passed in list(takewhile(lambda at: at < number, self.pieces)):
            self.forget(passed)

    def forget_all(self) -> None:
        for number in list(self.pieces):
            self.forget(number)


class _Row:
    """Ranges that are fetched one by one. Where one goes on where the last ended, more of what follows is fetched."""

    def __init__(self) -> None:
        self._end = -2 * BESIDE
        self._ahead = 0

    def end_of(self, start: int, stop: int) -> int:
        """To where a range should be fetched."""
        goes_on = start - BESIDE <= self._end <= stop
        self._ahead = min(max(2 * self._ahead, AHEAD_MIN), AHEAD_MAX) if goes_on else 0
        self._end = stop + self._ahead
        return self._end


class RemoteSource(Closing, DistantSource):
    """A file that gives ranges of itself. Threads may share it."""

    __slots__ = ("_file", "_kept", "_lock", "_plans", "_pool", "_row", "name", "size")

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._kept: list[tuple[int, Buffer]] = [(0, file.head)]
        self._plans: list[_Plan] = []
        self._row = _Row()
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ptfile")
        self.name = file.name
        self.size = file.size

    def read(self, offset: int, length: int) -> memoryview:
        check_range(self.name, self.size, offset, length)
        data = bytearray()  # grows as bytes arrive: a server can say that a file is as large as it likes
        for part in self._parts(offset, length):
            data += part
        return memoryview(data).toreadonly()

    def read_into(self, offset: int, target: memoryview) -> None:
        check_range(self.name, self.size, offset, target.nbytes)
        done = 0
        for part in self._parts(offset, target.nbytes):
            target[done : done + part.nbytes] = part
            done += part.nbytes

    def will_read(self, ranges: Iterable[Range]) -> None:
        with self._lock:
            wanted = [each for each in ranges if not self._is_at_hand(*each)]
            if len(wanted) == 1:
                start, stop = wanted[0]
                wanted = [(start, min(self._row.end_of(start, stop), self.size))]
            self._plan(wanted, _DESCRIPTOR)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
            self._plans.clear()
            self._kept.clear()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _parts(self, offset: int, length: int) -> Iterator[memoryview]:
        """The bytes, a part at a time, as they lie in pieces."""
        end = offset + length
        while offset < end:
            part = self._part(offset, end)
            yield part
            offset += part.nbytes

    def _part(self, offset: int, end: int) -> memoryview:
        """The bytes from `offset` on, as many as there are of them in one piece, but for those behind `end`."""
        while True:
            with self._lock:
                kept = self._find_kept(offset)
                if kept is not None:
                    return kept[: end - offset]
                plan, number = self._find_planned(offset, end)
                piece = plan.pieces[number]
            assert piece.coming is not None
            try:
                data = piece.coming.result()
            except CancelledError:  # passed over by another thread
                continue
            except BaseException:
                with self._lock:
                    plan.forget(number)  # whoever wants it again asks again
                raise
            break
        end = min(end, piece.stop)
        with self._lock:
            if piece.note(offset, end, plan.unread):
                self._retire(plan, number, data)
        return data[offset - piece.start : end - piece.start]

    # with the lock held

    def _find_kept(self, offset: int) -> memoryview | None:
        """The bytes from `offset` on that are at hand."""
        for start, data in reversed(self._kept):
            if start <= offset < start + len(data):
                return memoryview(data)[offset - start :]
        return None

    def _is_at_hand(self, start: int, stop: int) -> bool:
        """Whether a range was fetched or announced, as far as its ends tell."""
        kept = self._find_kept(start)
        if kept is not None and start + kept.nbytes >= stop:
            return True
        return any(plan.find(start) is not None and plan.find(stop - 1) is not None for plan in self._plans)

    def _find_planned(self, offset: int, end: int) -> tuple[_Plan, int]:
        """The piece with a byte, on its way; announced now if it was not before."""
        for plan in reversed(self._plans):
            number = plan.find(offset)
            if number is not None:
                self._move(plan, number)
                return plan, number
        stop = self._row.end_of(offset, end + BESIDE)
        unread = BESIDE if stop == end + BESIDE else 0
        self._plan([(max(0, offset - BESIDE), min(stop, self.size))], unread)
        number = self._plans[-1].find(offset)
        assert number is not None
        self._move(self._plans[-1], number)
        return self._plans[-1], number

    def _plan(self, ranges: Iterable[Range], unread: int) -> None:
        """Announce what is neither here nor announced already."""
        known = [(start, start + len(data)) for start, data in self._kept]
        known += [(piece.start, piece.stop) for plan in self._plans for piece in plan.pieces.values()]
        pieces = list(islice(cut(merge(without(merge(ranges), known)), AT_ONCE), _PLANNED))
        if not pieces:
            return
        self._plans.append(_Plan(pieces, unread))
        while len(self._plans) > _PLANS or sum(plan.under_way() for plan in self._plans) > 2 * AT_ONCE:
            self._plans.pop(0).forget_all()
        self._move(self._plans[-1], 0)

    def _move(self, plan: _Plan, number: int) -> None:
        """Have the piece of this number on its way and those behind it, and forget what was passed over."""
        if self._pool is None:
            raise closed_error(self.name)
        plan.forget_before(number - _BEHIND)
        for near in range(number, number + AT_ONCE):
            piece = plan.pieces.get(near)
            if piece is not None and piece.coming is None:
                piece.coming = self._pool.submit(self._fetch, piece.start, piece.stop)

    def _retire(self, plan: _Plan, number: int, data: memoryview) -> None:
        """Forget a piece that was read, or keep it for a while if it is small."""
        piece = plan.pieces.pop(number, None)
        if not plan.pieces and plan in self._plans:
            self._plans.remove(plan)
        if piece is not None and len(data) <= _KEPT_PIECE:
            self._kept.append((piece.start, data))
            while len(self._kept) > _KEPT_PIECES or sum(len(kept) for _, kept in self._kept) > _KEPT:
                del self._kept[0]

    # in threads

    def _fetch(self, start: int, stop: int) -> memoryview:
        # Large ones straight from the system: what threads give back to malloc stays with it, as much again.
        size = stop - start
        piece = memoryview(bytearray(size) if size <= _KEPT_PIECE else mmap.mmap(-1, size))
        self._file.fetch(start, piece)
        return piece

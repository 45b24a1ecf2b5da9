"""The bytes of many storages on their way to a file: read in time, and together where they are small.

Another thread reads and sums up the next bytes while the last ones are being written. What is small is read many at a
time, in the order of the source's file, whichever order it is written in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from queue import Queue
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import numpy as np
from isal import isal_zlib

from ptfile._threads import cores
from ptfile.containers.zip_writer import ZipWriter
from ptfile.tensors.storage import Bytes, Storage

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.11 has it in `typing`

SMALL = 64 << 10
"""Bytes of a storage that are read together with others."""
_TOGETHER = 16 << 20
"""Bytes that are read together at most, where each part counts for `_PART` more."""
_PART = 256
_AHEAD = 4
"""Pieces that wait to be written at most."""

_Item = TypeVar("_Item")


class Part(Protocol):
    """Some bytes of a storage, or all."""

    @property
    def nbytes(self) -> int: ...

    @property
    def whole(self) -> Storage | None:
        """The storage whose bytes these are, from its first to its last."""

    def pieces(self) -> Iterator[Bytes]:
        """The bytes, none of which is kept; a checksum of the storage is verified."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All bytes of a storage."""

    whole: Storage

    @property
    def nbytes(self) -> int:
        return self.whole.nbytes()

    def pieces(self) -> Iterator[Bytes]:
        return self.whole.pieces()


class Feed:
    """Gives the bytes of parts, in their order: a context, which all bytes have to be taken in."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        seen: Callable[[Part, int], None] | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        """seen: gets the CRC-32 of each part, in another thread; advance: how many further bytes have been taken."""
        self._advance = advance
        read = (batch for group in _groups(parts) for batch in _read(group, seen))
        self._batches = _ahead(read) if sum(part.nbytes for part in parts) > _TOGETHER else read
        self._waiting: Iterator[Bytes] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        try:
            if kind is None:  # a checksum is compared behind the last piece
                for _ in self._batches:
                    pass
        finally:
            self._batches.close()

    def __iter__(self) -> Iterator[list[Bytes]]:
        """All bytes, some pieces at a time."""
        for batch in self._batches:
            yield batch
            self._advance(sum([piece.nbytes for piece in batch]))

    def write(self, part: Part, writer: ZipWriter, head: bytes = b"") -> None:
        """Write the bytes of the next part as the next record of a zip file."""
        pieces = self._pieces(part.nbytes)
        if part.nbytes > SMALL:
            writer.write_pieces(chain([head], (piece.data for piece in pieces)))
        else:
            writer.write(b"".join([head, *(piece.data for piece in pieces)]))

    def _pieces(self, nbytes: int) -> Iterator[Bytes]:
        while nbytes > 0:
            piece = next(self._waiting, None)
            if piece is None:
                self._waiting = iter(next(self._batches))
                continue
            nbytes -= piece.nbytes
            yield piece
            self._advance(piece.nbytes)


MakeFeed: TypeAlias = "Callable[[Sequence[Part]], Feed]"


def sums(
    storages: Iterable[Storage], advance: Callable[[int], None] = lambda _: None
) -> Iterator[Callable[[], list[tuple[Storage, int]]]]:
    """What gives the CRC-32 of all bytes of each storage, as functions for several threads.

    advance: how many further bytes have been read, by any of them.
    """
    for group in _groups([Whole(storage) for storage in storages]):
        yield partial(_sums, group, advance)


def _sums(group: Sequence[Part], advance: Callable[[int], None]) -> list[tuple[Storage, int]]:
    found: list[tuple[Storage, int]] = []

    def seen(part: Part, crc: int) -> None:
        if part.whole is not None:
            found.append((part.whole, crc))

    for batch in _read(group, seen):
        advance(sum([piece.nbytes for piece in batch]))
    return found


def _groups(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """The parts in their order, small ones together."""
    group: list[Part] = []
    total = 0
    for part in parts:
        if part.whole is None or part.nbytes > SMALL:
            if group:
                yield group
            yield (part,)
            group, total = [], 0
            continue
        group.append(part)
        total += part.nbytes + _PART
        if total >= _TOGETHER:
            yield group
            group, total = [], 0
    if group:
        yield group


def _read(group: Sequence[Part], seen: Callable[[Part, int], None] | None) -> Iterator[list[Bytes]]:
    """The bytes of parts, those of several at once."""
    if len(group) > 1:
        yield _read_together(group, seen)
        return
    (part,) = group
    known = _known(part) if seen is not None else 0
    crc = 0
    for piece in part.pieces():
        if known is None:
            crc = isal_zlib.crc32(piece, crc)
        yield [piece]
    if seen is not None:
        seen(part, crc if known is None else known)


def _read_together(group: Sequence[Part], seen: Callable[[Part, int], None] | None) -> list[Bytes]:
    storages: list[Storage] = [part.whole for part in group if part.whole is not None]
    made: list[Bytes] = [np.zeros(0, np.uint8)] * len(group)
    for number in sorted(range(len(storages)), key=lambda number: _offset(storages[number])):
        made[number] = data = storages[number].read()
        if seen is not None:
            part = group[number]
            known = _known(part)
            seen(part, isal_zlib.crc32(data) if known is None else known)
    return made


def _offset(storage: Storage) -> int:
    return storage.origin.offset if storage.origin is not None else 0


def _known(part: Part) -> int | None:
    """The CRC-32 that whoever reads the part compares it with."""
    return part.whole.origin.crc if part.whole is not None and part.whole.origin is not None else None


class _End:
    """What comes behind the last item."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _ahead(items: Iterator[_Item]) -> Generator[_Item]:
    """The same items, made by another thread before they are asked for."""
    if cores() == 1:
        yield from items
        return
    queue: Queue[_Item | _End] = Queue(_AHEAD)
    is_over = threading.Event()

    def run() -> None:
        error = None
        try:
            for item in items:
                queue.put(item)
                if is_over.is_set():
                    break
        except BaseException as raised:  # noqa: BLE001 - it is raised where the item would have come
            error = raised
        queue.put(_End(error))

    thread = threading.Thread(target=run, name="ptfile", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads to be had
        yield from items
        return
    item: _Item | _End = _End(None)
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        is_over.set()
        while not isinstance(item, _End):
            item = queue.get()
        thread.join()

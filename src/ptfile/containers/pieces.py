"""A run of bytes read in pieces by whoever is free, and the checksum of the whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

from isal import isal_zlib

from ptfile.sources.base import Source

PIECE = 1 << 20
"""Bytes that are read, and whose checksum is taken while they are in the processor's cache."""


class Pieces:
    """Bytes of a source from `offset` on, on their way into `target`."""

    def __init__(self, source: Source, offset: int, target: memoryview, check: Callable[[int], None]) -> None:
        """check: called with the CRC-32 of all bytes by the task that ends last; what it raises, that task raises."""
        self._source = source
        self._offset = offset
        self._target = target
        self._check = check
        self._lock = threading.Lock()
        self._starts = range(0, target.nbytes, PIECE)
        self._checksums: dict[int, int] = {}

    def tasks(self) -> Iterator[Callable[[], None]]:
        """One for each piece, to be run in any order and by any thread."""
        for start in self._starts:
            yield partial(self._read, start)

    def _read(self, start: int) -> None:
        piece = self._target[start : start + PIECE]
        self._source.read_into(self._offset + start, piece)
        checksum = isal_zlib.crc32(piece)
        with self._lock:
            self._checksums[start] = checksum
            is_last = len(self._checksums) == len(self._starts)
        if is_last:
            self._check(self._combined())

    def _combined(self) -> int:
        crc = 0
        for start in self._starts:
            length = min(PIECE, self._target.nbytes - start)
            crc = isal_zlib.crc32_combine(crc, self._checksums[start], length)
        return crc

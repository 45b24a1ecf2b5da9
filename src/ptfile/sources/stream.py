"""A binary file object that cannot seek (a pipe, a socket, a download) as a source: from front to back, once."""

from __future__ import annotations

import io
import sys
from typing import Any

from ptfile.errors import UnsupportedError
from ptfile.sources.base import Closing, cut_off
from ptfile.sources.file_object import count_of, name_of

_PIECE = 1 << 20
"""Bytes asked for in one call. What a file claims to hold takes no memory before it has arrived."""


class StreamSource(Closing):
    """A stream from where it stands. Each read must begin where the last one ended.

    It takes no byte from the stream that it was not asked for, so that what follows a checkpoint is still there. Reads
    are for one thread. The stream is the caller's: closing the source doesn't close it.
    """

    __slots__ = ("_ahead", "_file", "_position", "name", "size")

    def __init__(self, file: Any) -> None:
        """Raises TypeError if it is a text stream."""
        if isinstance(file, io.TextIOBase):
            raise TypeError(f"{name_of(file)} is open as text: open it as binary")
        self._file = file
        self._position = 0
        self._ahead = b""
        self.name = name_of(file)
        self.size = sys.maxsize
        """Nobody knows before the end: the largest that there could be."""

    def peek(self, length: int) -> bytes:
        """The next bytes, which will be read again: fewer than `length` only if the stream ends before."""
        if len(self._ahead) < length:
            self._ahead += self._take(length - len(self._ahead), bytearray())
        return self._ahead[:length]

    def look(self) -> bytes:
        """What has arrived, without taking it off the stream; nothing if the stream has no way to tell."""
        peek = getattr(self._file, "peek", None)
        return self._ahead or (bytes(peek(1)) if callable(peek) else b"")

    def rest(self) -> bytearray:
        """All that is still to come, and what has been looked at without taking it off."""
        data, self._ahead = bytearray(self._ahead), b""
        self._take(sys.maxsize, data)
        self._position += len(data)
        return data

    def read(self, offset: int, length: int) -> memoryview:
        if offset != self._position:
            raise UnsupportedError(
                f"byte {offset} is wanted where the stream is at {self._position}, and it cannot seek", file=self.name
            )
        data = bytearray(self._ahead[:length])
        self._ahead = self._ahead[len(data) :]
        self._take(length - len(data), data)
        self._position += len(data)
        if len(data) < length:
            raise cut_off(self.name, self._position, offset + length)
        return memoryview(data)

    def read_into(self, offset: int, target: memoryview) -> None:
        target[:] = self.read(offset, target.nbytes)

    def _take(self, length: int, data: bytearray) -> bytearray:
        """Add so many bytes off the stream to these: fewer only at its end."""
        end = len(data) + length
        while len(data) < end:
            wanted = min(end - len(data), _PIECE)
            piece = self._file.read(wanted)
            if isinstance(piece, str):
                raise TypeError(f"{self.name} gives text: open it as binary")
            if not count_of(self.name, None if piece is None else memoryview(piece).nbytes, wanted):
                break
            data += piece
        return data

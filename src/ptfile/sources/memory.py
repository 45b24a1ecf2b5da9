"""Bytes that are in memory already, as a source."""

from __future__ import annotations

from ptfile._types import Buffer
from ptfile.sources.base import Closing, ViewSource, check_range, closed_error


class MemorySource(Closing, ViewSource):
    """The bytes of a buffer: bytes, bytearray, or a contiguous memoryview of any shape and format."""

    __slots__ = ("_bytes", "_is_closed", "_is_mapped", "name", "size")

    def __init__(self, buffer: Buffer, name: str = "bytes", *, is_mapped: bool = False) -> None:
        self._bytes = memoryview(buffer).cast("B")
        self.name = name
        self.size = self._bytes.nbytes
        self._is_closed = False
        self._is_mapped = is_mapped

    @property
    def is_mapped(self) -> bool:
        return self._is_mapped

    def read(self, offset: int, length: int) -> memoryview:
        return self.view(offset, length)

    def view(self, offset: int, length: int) -> memoryview:
        """Bytes `offset` to `offset + length` without a copy; writable if the buffer is."""
        if self._is_closed:
            raise closed_error(self.name)
        check_range(self.name, self.size, offset, length)
        return self._bytes[offset : offset + length]

    def read_into(self, offset: int, target: memoryview) -> None:
        target[:] = self.view(offset, target.nbytes)

    def close(self) -> None:
        # Dropped, not released: a view that was handed out keeps the buffer, as it should.
        self._bytes = memoryview(b"")
        self._is_closed = True

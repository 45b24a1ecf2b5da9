"""A file object, pipe or socket as a sink: anything with `write` and `flush`."""

from __future__ import annotations

import errno
import io
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ptfile._types import Buffer, Writable
from ptfile.sinks.base import can_sync, write_zeros

if TYPE_CHECKING:
    from typing_extensions import Self


class StreamSink:
    """Writes to a file object from where it stands. Never seeks, never closes; flushes at commit.

    What has been written when an exception ends the block stays written: a stream cannot be taken back. With `fsync`
    the bytes of a file are on the disk when the block has been left, if it was open before, as far as it has passed
    them on when it is flushed.
    """

    __slots__ = ("_descriptor", "_file", "name")

    def __init__(self, file: Writable, *, fsync: bool = False) -> None:
        """Raises ValueError for `fsync` of what has no file descriptor, which could not be kept to."""
        self._file = file
        self._descriptor = _descriptor(file) if fsync else None
        name = getattr(file, "name", None)
        self.name = name if isinstance(name, str) and name else type(file).__name__

    def expect(self, size: int) -> None:
        """Nothing follows from it: how much a stream takes only it knows."""

    def write(self, data: Buffer) -> None:
        """Write all of it, in as many calls as the file object makes of it. Raises OSError if it takes no more."""
        rest = memoryview(data).cast("B")
        while rest.nbytes:
            taken = self._taken(self._file.write(rest), rest.nbytes)
            rest = rest[taken:]

    def skip(self, length: int) -> None:
        """Go on behind what is there, if the file object can; write zeros if not."""
        file: Any = self._file
        # What is opened to append writes at its end, wherever it stands.
        if callable(getattr(file, "seek", None)) and "a" not in str(getattr(file, "mode", "")):
            try:
                file.seek(length, os.SEEK_CUR)
            except (OSError, ValueError, NotImplementedError):
                pass  # it has the name, not the deed
            else:
                return
        write_zeros(self, length)

    def _taken(self, answer: object, offered: int) -> int:
        if answer is None and not isinstance(self._file, io.RawIOBase):
            return offered  # a file-like that keeps no count has taken what it was given, as in PyTorch
        if answer is None:
            raise BlockingIOError(errno.EAGAIN, "the stream is in non-blocking mode and takes no bytes now", self.name)
        # numpy's and ctypes's integers count too
        count = int(answer) if hasattr(answer, "__index__") else -1
        if not 0 < count <= offered:
            raise OSError(errno.EIO, f"offered {offered} bytes, the stream says it took {answer!r}", self.name)
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is None:
            self._file.flush()
            if self._descriptor is not None and can_sync(self._descriptor):
                os.fsync(self._descriptor)


def _descriptor(file: Any) -> int:
    try:
        return int(file.fileno())
    except (AttributeError, OSError, TypeError, ValueError):
        message = f"fsync=True needs a path or an open file: a {type(file).__name__} has no file descriptor"
        raise ValueError(message) from None

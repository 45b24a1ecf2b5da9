"""A file on this machine, read where asked for without a shared file position."""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH116

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Sequence

from ptfile._types import Path
from ptfile.errors import FormatError, UnsupportedError
from ptfile.sources.base import Closing, ConcurrentSource, check_range, closed_error, cut_off

READ_MAX = 1 << 30
"""Bytes asked of the system in one call. Linux moves at most 0x7ffff000 in one, macOS refuses 2 GiB and more."""

_END = 64 << 10
"""Bytes at either end that are going to be read, whatever else is: a table of contents stands there."""

OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_HAS_POSITIONED_READS = hasattr(os, "preadv")


class LocalSource(Closing, ConcurrentSource):
    """A regular file, by path. Threads read at once where the system has positioned reads (not Windows)."""

    __slots__ = ("_file", "_lock", "_written", "name", "size")

    def __init__(self, path: Path) -> None:
        """Open it. Raises OSError as `open` does, UnsupportedError for what is no regular file."""
        self._file = -1
        self._lock = threading.Lock()
        self.name = os.fspath(path)
        # Looked at before it is opened: opening a FIFO waits for a writer that may never come.
        check_regular(self.name, os.stat(self.name))
        self._file = os.open(self.name, OPEN_FLAGS)
        status = os.fstat(self._file)
        self.size = status.st_size
        self._written = status.st_mtime_ns
        self._fetch_ends()

    def _fetch_ends(self) -> None:
        """Have both ends on their way, if they are not in memory: a disk answers two questions as soon as one."""
        if hasattr(os, "posix_fadvise") and self.size > _END:
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file, self.size - _END, _END, os.POSIX_FADV_WILLNEED)
                os.posix_fadvise(self._file, 0, _END, os.POSIX_FADV_WILLNEED)

    def read(self, offset: int, length: int) -> memoryview:
        check_range(self.name, self.size, offset, length)
        target = memoryview(bytearray(length))
        self._fill(offset, target)
        return target.toreadonly()

    def read_into(self, offset: int, target: memoryview) -> None:
        check_range(self.name, self.size, offset, target.nbytes)
        self._fill(offset, target)

    def read_many(self, offsets: Sequence[int], length: int) -> bytes:
        """As many bytes from each of these places, one behind the other. Needs positioned reads.

        Those that have to come from the disk are asked for together, and are not waited for one by one.
        """
        for offset in (min(offsets), max(offsets)):
            check_range(self.name, self.size, offset, length)
        self._check_open()
        if not self._is_in_memory(offsets[len(offsets) // 2]):
            for offset in offsets:
                os.posix_fadvise(self._file, offset, length, os.POSIX_FADV_WILLNEED)
        data = b"".join([os.pread(self._file, length, offset) for offset in offsets])
        if len(data) < length * len(offsets):  # the file has shrunk since it was opened
            raise cut_off(self.name, os.fstat(self._file).st_size, max(offsets) + length)
        return data

    def _is_in_memory(self, offset: int) -> bool:
        """Whether the system need not ask the disk for a byte; also where it does not tell."""
        if hasattr(os, "RWF_NOWAIT") and hasattr(os, "posix_fadvise"):
            try:
                os.preadv(self._file, [bytearray(1)], offset, os.RWF_NOWAIT)
            except BlockingIOError:
                return False
            except OSError:  # a file system that knows no such question
                return True
        return True

    def _fill(self, offset: int, target: memoryview) -> None:
        self._check_open()
        length = target.nbytes
        done = 0
        while done < length:
            got = self._read_some(offset + done, target[done : done + READ_MAX])
            if got == 0:  # the file has shrunk since it was opened
                raise cut_off(self.name, offset + done, offset + length)
            done += got
        # Who writes into the file instead of replacing it gives its readers a mixture of two.
        status = os.fstat(self._file)
        if (status.st_size, status.st_mtime_ns) != (self.size, self._written):
            raise changed(self.name)

    def _read_some(self, offset: int, target: memoryview) -> int:
        if _HAS_POSITIONED_READS:
            return os.preadv(self._file, [target], offset)
        with self._lock:
            os.lseek(self._file, offset, os.SEEK_SET)
            data = os.read(self._file, target.nbytes)
        target[: len(data)] = data
        return len(data)

    def _check_open(self) -> None:
        if self._file < 0:
            raise closed_error(self.name)

    def fileno(self) -> int:
        """The open file, for those who have the system copy from it. Raises OSError if it is closed."""
        self._check_open()
        return self._file

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            self.close()


def changed(name: str) -> FormatError:
    """The error for a file that is not what it was when it was opened."""
    return FormatError("the file was changed while it was open", fix="Open it again", file=name)


def check_regular(name: str, status: os.stat_result) -> None:
    """Raise UnsupportedError, with what to do instead, for a directory, a pipe or a device."""
    if stat.S_ISDIR(status.st_mode):
        raise UnsupportedError(
            "it is a directory",
            fix="Give the path of the file in it; a distributed checkpoint's folder is not one checkpoint file",
            file=name,
        )
    if not stat.S_ISREG(status.st_mode):
        raise UnsupportedError(
            "it is no regular file: a checkpoint is read from its end",
            fix="Read it into memory first: load(io.BytesIO(open(path, 'rb').read()))",
            file=name,
        )

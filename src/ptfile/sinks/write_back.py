"""The disk at work from the first byte of a durable save on, where the system lets us ask for it (Linux).

Written plainly, a file waits in memory until fsync sends all of it to the disk at once: first the processor works, then
the disk. Here the disk writes while further bytes arrive, and the file's blocks are found in one go beforehand. That
takes half the time, and keeps less memory busy. (O_DIRECT, which leaves the system's memory out, gains less: it needs
a copy of its own, since tensors do not lie in a file as a disk wants them.)
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from typing import Any

_STEP = 8 << 20
"""Bytes that the disk is asked to write at a time: enough for large requests, and little is left for the fsync."""
_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE, linux/falloc.h: the file's end stays where the last byte was written."""
_WRITE = 2
"""SYNC_FILE_RANGE_WRITE, linux/fs.h: begin to write what is not being written, and do not wait for it."""
_NO_ROOM = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


class WriteBack:
    """What is written to a file, followed by the disk. What fails here fails at fsync too, which is there to tell."""

    __slots__ = ("_begun", "_file", "_system", "_written")

    def __init__(self, file: int, size: int) -> None:
        """file: open for writing, and empty; size: bytes that will be written. Raises OSError if there is no room."""
        self._system = _system()
        self._file = file
        self._begun = self._written = 0
        if self._system is not None and self._system.fallocate(file, _KEEP_SIZE, 0, size):
            error = ctypes.get_errno()
            if error in _NO_ROOM:  # else the file system has no such thing
                raise OSError(error, os.strerror(error))

    def follow(self, length: int) -> None:
        """Be told that so many bytes were written behind the last ones."""
        self._written += length
        if self._system is not None and self._written - self._begun >= _STEP:
            self._system.sync_file_range(self._file, self._begun, self._written - self._begun, _WRITE)
            self._begun = self._written


def _system() -> Any:
    """The C library, with the two functions of it that Python's `os` lacks; None where it has none of them."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32:  # where an offset is a long
        return None
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None, use_errno=True)
        library.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
        library.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_uint)
        return library
    return None

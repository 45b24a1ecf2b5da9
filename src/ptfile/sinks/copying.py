"""Bytes from one open file to another, inside the system where it can do that."""

from __future__ import annotations

import errno
import os

_PIECE = 1 << 20
_CANNOT = frozenset({errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF})
"""What `copy_file_range` says for files that it cannot copy between: on two file systems, on some networks, pipes."""


def copy_some(source: int, target: int, offset: int, length: int) -> int:
    """Copy at most `length` bytes of a file from `offset` on to where another one stands.

    Returns how many; 0 at the end. Raises OSError.
    """
    if hasattr(os, "copy_file_range"):  # Linux
        try:
            return os.copy_file_range(source, target, length, offset)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
    data = memoryview(_read(source, min(length, _PIECE), offset))
    done = 0
    while done < len(data):
        done += os.write(target, data[done:])
    return done


def _read(source: int, length: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(source, length, offset)
    os.lseek(source, offset, os.SEEK_SET)  # Windows: the position is nobody's who reads at the same time
    return os.read(source, length)

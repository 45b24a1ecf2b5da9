"""A small file on this machine, read at once: a few tensors, a configuration, one sample of a data set.

For such a file the system calls and the way to the bytes cost more than the bytes.
"""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH116

from __future__ import annotations

import os

from ptfile._types import Path
from ptfile.sources.base import Closing, check_range, closed_error
from ptfile.sources.local import OPEN_FLAGS, changed, check_regular

SMALL = 64 << 10
"""Bytes of a file up to which it is read at once: to find the end of a zip file takes as many in any case."""


class SmallFileSource(Closing):
    """The bytes of a file that has been read, under its name. What is loaded from it are copies.

    A view of a few bytes would keep all of them.
    """

    __slots__ = ("_bytes", "name", "size")

    def __init__(self, name: str, content: bytes) -> None:
        self._bytes: bytes | None = content
        self.name = name
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        content = self._bytes
        if content is None:
            raise closed_error(self.name)
        end = offset + length
        if not 0 <= offset <= end <= self.size:
            check_range(self.name, self.size, offset, length)
        return content[offset:end]

    def read_into(self, offset: int, target: memoryview) -> None:
        target[:] = self.read(offset, target.nbytes)

    def close(self) -> None:
        self._bytes = None


def read_small_file(path: Path) -> SmallFileSource | None:
    """Read a small file; None for one that is not, or that could not be read in one call.

    Raises OSError as `open` does, UnsupportedError for what is no regular file, FormatError if it changes meanwhile.
    """
    name = os.fspath(path)
    # Looked at before it is opened: opening a FIFO waits for a writer that may never come.
    status = os.stat(name)
    check_regular(name, status)
    if status.st_size > SMALL:
        return None
    file = os.open(name, OPEN_FLAGS)
    try:
        before = os.fstat(file)
        content = os.read(file, before.st_size + 1)
        after = os.fstat(file)
    finally:
        os.close(file)
    if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
        raise changed(name)
    return SmallFileSource(name, content) if len(content) == after.st_size else None

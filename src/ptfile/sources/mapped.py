"""A file mapped into memory: its pages are read when they are first looked at."""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH123

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Sequence

from ptfile._types import Path
from ptfile.sources.local import LocalSource
from ptfile.sources.memory import MemorySource

_MANY_PAGES = 128 << 10
"""Bytes that are read faster in one go than page by page."""


class MappedSource(MemorySource):
    """A regular file under a mapping: writing to a view changes the memory of this process, not the file.

    With `shared` it changes the file, for all who have it open.

    A file that another program shortens meanwhile takes its pages away, and touching those ends the process (SIGBUS):
    that is what a mapping is. Programs that save by replacing the file, as ptfile does, leave the mapped one whole.

    Until it is closed, the system is asked to read no more than what is looked at: between the tensors there is a
    header each, and around each of them it would read megabytes.
    """

    __slots__ = ("_is_shared", "_local", "_mapping")

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        """Map it. Raises OSError as `open` does, UnsupportedError for what is no regular file."""
        self._mapping: mmap.mmap | None = None
        self._local = local = LocalSource(path)
        """The same file for small reads: to look at a page for the first time takes longer than to read from it."""
        self._is_shared = shared
        if local.size:  # an empty file cannot be mapped
            self._mapping = _shared(local) if shared else mmap.mmap(local.fileno(), local.size, access=mmap.ACCESS_COPY)
        self._advise("MADV_RANDOM")
        super().__init__(memoryview(self._mapping or b""), local.name, is_mapped=True)

    def read(self, offset: int, length: int) -> memoryview:
        if length < _MANY_PAGES and not self._is_shared:  # what is shared may well change meanwhile
            return self._local.read(offset, length)
        view = self.view(offset, length)
        if length >= _MANY_PAGES:  # all of it is wanted, now
            start = offset - offset % mmap.PAGESIZE
            self._advise("MADV_WILLNEED", start, offset + length - start)
        return view

    def read_many(self, offsets: Sequence[int], length: int) -> bytes:
        return self._local.read_many(offsets, length) if hasattr(os, "pread") else super().read_many(offsets, length)

    def close(self) -> None:
        self._local.close()
        self._advise("MADV_NORMAL")  # who looks at a tensor mostly goes on to its end
        self._mapping = None  # views that were handed out keep it
        super().close()

    def _advise(self, advice: str, *place: int) -> None:
        """Tell the system what comes, if it can be told."""
        if self._mapping is not None and hasattr(mmap, advice):
            with contextlib.suppress(OSError):
                self._mapping.madvise(getattr(mmap, advice), *place)


def _shared(file: LocalSource) -> mmap.mmap:
    """A mapping that writes to the file, which has to be opened for that."""
    with open(file.name, "r+b", buffering=0) as writable:
        return mmap.mmap(writable.fileno(), file.size, access=mmap.ACCESS_WRITE)

"""A file mapped into memory: its pages are read when they are first looked at."""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import contextlib
import mmap
import os

from ptfile._types import Path
from ptfile.sources.local import check_regular
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

    __slots__ = ("_mapping",)

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        """Map it. Raises OSError as `open` does, UnsupportedError for what is no regular file."""
        name = os.fspath(path)
        check_regular(name, os.stat(name))
        access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
        with open(name, "r+b" if shared else "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            # An empty file cannot be mapped.
            self._mapping = mmap.mmap(file.fileno(), size, access=access) if size else None
        self._advise("MADV_RANDOM")
        super().__init__(memoryview(b"" if self._mapping is None else self._mapping), name, is_mapped=True)

    def read(self, offset: int, length: int) -> memoryview:
        view = self.view(offset, length)
        if length >= _MANY_PAGES:  # all of it is wanted, now
            start = offset - offset % mmap.PAGESIZE
            self._advise("MADV_WILLNEED", start, offset + length - start)
        return view

    def close(self) -> None:
        self._advise("MADV_NORMAL")  # who looks at a tensor mostly goes on to its end
        self._mapping = None  # views that were handed out keep it
        super().close()

    def _advise(self, advice: str, *place: int) -> None:
        """Tell the system what comes, if it can be told."""
        if self._mapping is not None and hasattr(mmap, advice):
            with contextlib.suppress(OSError):
                self._mapping.madvise(getattr(mmap, advice), *place)

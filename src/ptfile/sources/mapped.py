"""A file mapped into memory: its pages are read when they are first looked at."""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import mmap
import os

from ptfile._types import Path
from ptfile.sources.local import check_regular
from ptfile.sources.memory import MemorySource


class MappedSource(MemorySource):
    """A regular file under a mapping: writing to a view changes the memory of this process, not the file.

    With `shared` it changes the file, for all who have it open.

    A file that another program shortens meanwhile takes its pages away, and touching those ends the process (SIGBUS):
    that is what a mapping is. Programs that save by replacing the file, as ptfile does, leave the mapped one whole.
    """

    __slots__ = ()

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        """Map it. Raises OSError as `open` does, UnsupportedError for what is no regular file."""
        name = os.fspath(path)
        check_regular(name, os.stat(name))
        access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
        with open(name, "r+b" if shared else "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            # An empty file cannot be mapped. The memoryview keeps the mapping alive, and is all that does.
            whole = memoryview(mmap.mmap(file.fileno(), size, access=access)) if size else memoryview(b"")
        super().__init__(whole, name, is_mapped=True)

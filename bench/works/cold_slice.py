"""4 KiB of one tensor out of a file of 10 GiB, of which nothing is in memory; the file has 256 tensors and holes.

The file is forgotten by the system before each turn. Opening it and finding the tensor are measured, importing is not.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import Contestant, Context, Operation, Work
from libraries import LIBRARIES
from works.sparse import NAME, PART, sparse_file


class Slice(Contestant):
    def __init__(self, context: Context) -> None:
        self._path = sparse_file(context.folder, 1 << 30 if context.quick else 10 << 30)

    def before(self) -> None:
        file = os.open(self._path, os.O_RDWR)
        os.fsync(file)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)

    def check(self, result: Any) -> None:
        assert np.array_equal(result, np.arange(PART.stop - PART.start, dtype=np.float32))


class LibrarySlice(Slice):
    def __init__(self, name: str, context: Context) -> None:
        super().__init__(context)
        self._library = LIBRARIES[name]()

    def run(self) -> npt.NDArray[Any]:
        return self._library.part(self._path, NAME, PART)


class RawSlice(Slice):
    """The limit: one read of 4 KiB, by someone who knows where they are."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        expected = np.arange(PART.stop - PART.start, dtype=np.float32).tobytes()
        self._length = len(expected)
        step = self._path.stat().st_size // 256
        with self._path.open("rb") as file:
            start = 128 * step
            file.seek(start)
            self._offset = start + file.read(step).index(expected)

    def run(self) -> npt.NDArray[Any]:
        file = os.open(self._path, os.O_RDONLY)
        data = os.pread(file, self._length, self._offset)
        os.close(file)
        return np.frombuffer(data, np.float32)


WORK = Work(
    name="cold_slice",
    title="4 KiB of a 10 GiB file, cold",
    quick_title="4 KiB of a 1 GiB file, cold",
    operations=(
        Operation(
            "read",
            {**{name: partial(LibrarySlice, name) for name in LIBRARIES}, "raw open, read": RawSlice},
        ),
    ),
    rounds=15,
    quick_rounds=3,
    scratch=64 << 20,
    on_disk=True,
)

"""1 GiB in 256 tensors, saved so that it outlasts a power cut: the file is on the disk when the save returns.

Beside it stand three raw ways to get the bytes there: through the system's memory and then fsync; the same with the
disk told to begin while bytes still arrive; and past the system's memory (O_DIRECT), from a buffer that is aligned as
the disk wants it, while a second one is filled.
"""

from __future__ import annotations

import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np

from harness import Context, Operation, Work
from libraries import LIBRARIES
from round_trip import Save, check_same_bytes
from trees import Tensors
from works.gib import RawWrite, size

_BUFFER = 4 << 20


class DurableSave(Save):
    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, size(context), Tensors(2, 16), context, fsync=True)

    def before(self) -> None:
        super().before()
        os.sync()


class RawDurable(RawWrite):
    """All bytes of all tensors in an own way, then fsync."""

    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL

    def before(self) -> None:
        os.sync()

    def run(self) -> None:
        file = os.open(self._path, self.flags)
        self.write(file)
        os.fsync(file)
        os.close(file)

    def write(self, file: int) -> None:
        for array in self._arrays:
            os.write(file, array)


class Followed(RawDurable):
    def __init__(self, context: Context, name: str) -> None:
        from ptfile.sinks.write_back import WriteBack

        super().__init__(context, name)
        self._follow = WriteBack

    def write(self, file: int) -> None:
        write_back = self._follow(file, sum(array.nbytes for array in self._arrays))
        for array in self._arrays:
            write_back.follow(os.write(file, array))


class Direct(RawDurable):
    flags = RawDurable.flags | getattr(os, "O_DIRECT", 0)

    def write(self, file: int) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, sum(array.nbytes for array in self._arrays))
        buffers = [mmap.mmap(-1, _BUFFER) for _ in range(2)]
        pending: Future[int] | None = None
        with ThreadPoolExecutor(1) as disk:
            for number, array in enumerate(self._arrays):
                assert array.nbytes == _BUFFER
                buffer = buffers[number % 2]
                np.frombuffer(buffer, np.float32)[:] = array
                if pending is not None:
                    assert pending.result() == _BUFFER
                pending = disk.submit(os.write, file, buffer)


WORK = Work(
    name="gib_disk",
    title="1 GiB in 256 tensors, on disk",
    quick_title="128 MiB in 32 tensors, on disk",
    operations=(
        Operation(
            "save, fsync",
            {
                **{name: partial(DurableSave, name) for name in LIBRARIES},
                "raw write, fsync": partial(RawDurable, name="raw"),
                "raw write, followed by the disk": partial(Followed, name="followed"),
                "raw O_DIRECT": partial(Direct, name="direct"),
            },
            check_same_bytes,
        ),
    ),
    fresh=True,
    rounds=4,
    quick_rounds=1,
    scratch=6 << 30,
    on_disk=True,
)

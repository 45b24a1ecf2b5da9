"""1 GiB in 256 tensors of 4 MiB, in a file system in memory: what is left when the disk costs nothing.

Each turn has a process of its own. A process that loads for the second time may get memory that it has had before,
which saves the system from clearing it: a third of the time, and nothing that a program that loads a model can use.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness import Contestant, Context
from round_trip import file_of, round_trip
from trees import Tensors

FULL = Tensors(256, 1 << 20)
QUICK = Tensors(32, 1 << 20)


def size(context: Context) -> Tensors:
    return QUICK if context.quick else FULL


class RawWrite(Contestant):
    """The limit of a save: one write() for each tensor's bytes, and nothing else."""

    def __init__(self, context: Context, name: str = "raw write") -> None:
        tensors = size(context)
        self.touches = tensors.payload
        self._path = file_of(context, name)
        values = np.random.default_rng(0).random(tensors.numel, dtype=np.float32)
        self._arrays = [values + np.float32(i) for i in range(tensors.count)]

    def run(self) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        for array in self._arrays:
            written = os.write(file, array)
            assert written == array.nbytes
        os.close(file)

    def check(self, result: object) -> None:
        assert result is None
        assert self._path.stat().st_size == sum(array.nbytes for array in self._arrays)
        self._path.unlink()


class RawRead(Contestant):
    """The limit of a load: one read into new memory for each tensor's bytes, on so many threads, nothing checked."""

    def __init__(self, threads: int, context: Context) -> None:
        tensors = size(context)
        self.payload = self.touches = tensors.payload
        self._threads = threads
        self._path = file_of(context, "ptfile")
        self._offsets = range(0, tensors.payload, tensors.numel * 4)
        self._step = tensors.numel * 4

    def run(self) -> list[object]:
        file = os.open(self._path, os.O_RDONLY)

        def read(offset: int) -> object:
            array = np.empty(self._step, np.uint8)
            got = os.preadv(file, [memoryview(array)], offset)
            assert got == self._step
            return array

        if self._threads == 1:
            arrays = [read(offset) for offset in self._offsets]
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                arrays = list(pool.map(read, self._offsets))
        os.close(file)
        return arrays


WORK = round_trip(
    name="gib",
    title="1 GiB in 256 tensors",
    quick_title="128 MiB in 32 tensors",
    full=FULL,
    quick=QUICK,
    tiny=Tensors(2, 16),
    saving={"raw write": RawWrite},
    loading={
        "raw read": lambda context: RawRead(1, context),
        "raw read, 2 threads": lambda context: RawRead(2, context),
    },
    fresh=True,
    rounds=5,
    quick_rounds=1,
    scratch=4 << 30,
)

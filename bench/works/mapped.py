"""A file of 1 GiB in 256 tensors, loaded by mapping it into memory: no byte of a tensor is looked at."""

from __future__ import annotations

from functools import partial

import numpy as np

from harness import Contestant, Context, Operation, Work
from libraries import LIBRARIES
from works.sparse import COUNT, NAME, PART, sparse_file


class LoadMapped(Contestant):
    def __init__(self, name: str, context: Context) -> None:
        self._library = LIBRARIES[name]()
        self._path = sparse_file(context.folder, 1 << 30)

    def run(self) -> object:
        return self._library.load(self._path, mmap=True)

    def check(self, result: object) -> None:
        assert isinstance(result, dict)
        assert len(result) == COUNT
        expected = np.arange(PART.stop - PART.start, dtype=np.float32)
        assert np.array_equal(self._library.array(result[NAME])[PART], expected)


WORK = Work(
    name="mapped",
    title="1 GiB in 256 tensors, mapped",
    quick_title="1 GiB in 256 tensors, mapped",
    operations=(Operation("load", {name: partial(LoadMapped, name) for name in LIBRARIES}),),
    rounds=25,
)

"""The contents of many small records that are read one behind the other, as those of a checkpoint are.

To look at each header on its own takes longer than all the rest. Here one read brings many records, and numpy compares
their headers with the directory side by side. Only headers as PyTorch writes them pass; the others are looked at one by
one elsewhere, and it is there that is said what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_directory import Directory, Record
from ptfile.sources.base import Source

SMALL = 4 << 10
"""Bytes of a record that are small."""
_FIRST, _MOST = 64, 8_192
"""Records in a run: twice as many as in the one before, as long as they are asked for in order."""
_MOST_BYTES = 4 << 20

_Ints: TypeAlias = "npt.NDArray[np.int64]"
_Bytes: TypeAlias = "npt.NDArray[np.uint8]"

_HEADER = np.dtype(
    [
        ("signature", "S4"), ("needed", "<u2"), ("flags", "<u2"), ("method", "<u2"), ("time", "<u4"), ("crc", "<u4"),
        ("packed", "<u4"), ("size", "<u4"), ("name_length", "<u2"), ("extra_length", "<u2"),
    ]
)  # fmt: skip
"""`zip_structs.LOCAL`, for numpy."""
_EXTRA = np.dtype([("kind", "<u2"), ("length", "<u2")])
_FLAGS = zs.FLAG_UTF8 | zs.FLAG_DESCRIPTOR


class Runs:
    """Small records of one file. Threads may share it: the run is replaced whole."""

    def __init__(self, source: Source, directory: Directory) -> None:
        self._source = source
        self._directory = directory
        self._count = 0
        self._run: tuple[memoryview, dict[int, int]] = memoryview(b""), {}
        """Bytes of the file, and where in them each record's content begins, by the offset of its header."""
        self._next = -1
        """The header behind the last record that was asked for."""
        records = directory.records
        self._is_off = len(records) != len(directory.header_offsets)  # there are folders between them

    def content(self, record: Record) -> memoryview | None:
        """The content of a stored record, whose checksum is not compared; None: look at it by itself."""
        data, places = self._run
        place = places.get(record.header_offset)
        if place is None:
            if record.header_offset != self._next or self._is_off:

        ...

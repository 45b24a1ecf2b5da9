"""The contents of many small records that are read one behind the other, as those of a checkpoint are.

To look at each header on its own takes longer than all the rest. Here one read brings many records, and numpy compares
their headers with the directory side by side. Only headers as PyTorch writes them pass; all others are left to those
who look at one at a time, and who say what is wrong with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ptfile._lazy import np
from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_directory import Directory, Record
from ptfile.sources.base import Source

if TYPE_CHECKING:
    import numpy.typing as npt

SMALL = 4 << 10
"""Bytes of a record that are small."""
_FIRST, _MOST = 64, 8_192
"""Records in a run: each has twice as many as the one before, as long as they are asked for in order."""
_MOST_BYTES = 4 << 20
_FEW = 8
"""Records that are not worth a run: large ones stand between them."""

_HEADER = [
    ("signature", "<u4"), ("needed", "<u2"), ("flags", "<u2"), ("method", "<u2"), ("time", "<u4"), ("crc", "<u4"),
    ("packed", "<u4"), ("size", "<u4"), ("name_length", "<u2"), ("extra_length", "<u2"),
]  # fmt: skip
"""`zip_structs.LOCAL`, for numpy."""
_EXTRA = [("kind", "<u2"), ("length", "<u2")]
_WIDE = [*_EXTRA, ("offset", "<u8")]
"""The block of an extra field in which PyTorch says where a header behind 4 GiB begins."""
HEADER_SIZE = zs.LOCAL.size + zs.EXTRA.size + 8 + zs.EXTRA.size
"""Bytes of a header, beside its name, that `payloads` looks at: its extra field may have two blocks."""
_SIGNATURE = int.from_bytes(zs.LOCAL_SIGNATURE, "little")


class Runs:
    """The small records of one file. Threads may share it: a run is replaced whole."""

    def __init__(self, source: Source, directory: Directory) -> None:
        self._source = source
        self._offsets = directory.header_offsets
        self._end = directory.offset
        self._by_name = directory.records
        self._in_order: list[Record] = []
        self._count = 0
        self._behind = 0
        """The number of the record behind the last one that was asked for, or that is in the run."""
        self._contents: dict[int, memoryview] = {}
        """Of the records in the run, by the offset of their headers."""
        self._is_off = len(directory.records) != len(directory.header_offsets)  # there are folders among them

    def content(self, record: Record) -> memoryview | None:
        """The content of a stored record, whose checksum nobody has compared; None: look at it by itself."""
        content = self._contents.get(record.header_offset)
        if content is None and not self._is_off:
            number = bisect_left(self._offsets, record.header_offset)
            if number == self._behind:
                self._read(number)
                content = self._contents.get(record.header_offset)
            else:
                self._behind, self._count = number + 1, 0
        return content

    def _read(self, first: int) -> None:
        """The next run."""
        self._in_order = self._in_order or list(self._by_name.values())
        self._count = min(max(2 * self._count, _FIRST), _MOST)
        start = self._offsets[first]
        ends = (*self._offsets[first + 1 : first + 1 + self._count], self._end)
        ends = tuple(takewhile(lambda end: end - start <= _MOST_BYTES, ends[: self._count]))
        records = list(takewhile(lambda record: record.size <= SMALL, self._in_order[first : first + len(ends)]))
        ends = ends[: len(records)]
        self._behind = first + max(len(records), 1)
        if len(records) < _FEW:
            self._contents = {}
            return
        data = self._source.read(start, ends[-1] - start)
        heads = np.array(self._offsets[first : first + len(ends)]) - start
        places = payloads(np.frombuffer(data, np.uint8), heads, records, ends)
        view = memoryview(data)
        self._contents = {
            record.header_offset: view[place - start : place - start + record.size]
            for record, place in zip(records, places, strict=True)
            if place >= 0
        }
        self._is_off = 2 * len(self._contents) < len(records)  # another program's, or damaged all over


def payloads(
    data: npt.NDArray[np.uint8], heads: npt.NDArray[np.int64], records: Sequence[Record], ends: Sequence[int]
) -> Sequence[int]:
    """Where in the file the payloads of records begin; -1 for those whose headers have to be looked at one by one.

    data: bytes of the file, among them `HEADER_SIZE` of each header and its name. heads: where in the data each header
    begins. ends: where in the file each record ends. A place is given for a stored record of some bytes whose header is
    as PyTorch writes it, with the record's name, and which ends with its descriptor where it should.
    """
    each_name, _, each_method, _, _, each_size, each_offset = zip(*records, strict=True)
    names = "".join(each_name)
    if not names.isascii():
        return [-1] * len(records)
    lengths = np.fromiter(map(len, each_name), np.int64, len(records))
    sizes, methods, offsets = np.array(each_size), np.array(each_method), np.array(each_offset)
    behind = heads + zs.LOCAL.size
    headers = _structures(data, heads, _HEADER)
    # Of the names, all letters at once: where each is in the data, one name behind the other.
    letters = np.arange(len(names)) + np.repeat(behind - (np.cumsum(lengths) - lengths), lengths)
    same = np.frombuffer(names.encode(), np.uint8) == data[letters]
    as_named = np.logical_and.reduceat(same, np.cumsum(lengths) - lengths)
    is_far = offsets >= zs.MAX32
    wide = _structures(data, behind + lengths, _WIDE)
    is_wide = (wide["kind"] == zs.ZIP64_EXTRA) & (wide["length"] == 8) & (wide["offset"] == offsets)
    before = np.where(is_far, wide.itemsize, 0)
    padding = _structures(data, behind + lengths + before, _EXTRA)
    places = offsets + zs.LOCAL.size + lengths + headers["extra_length"]
    is_plain = (
        (headers["signature"] == _SIGNATURE)
        & (headers["flags"] == zs.FLAG_UTF8 | zs.FLAG_DESCRIPTOR)
        & (headers["method"] == zs.STORED)
        & (methods == zs.STORED)
        & (headers["crc"] == 0)
        & (headers["packed"] == 0)
        & (headers["size"] == 0)
        & (headers["name_length"] == lengths)
        & as_named
        & (is_wide == is_far)
        & (padding["kind"] == zs.PADDING_EXTRA)
        & (before + zs.EXTRA.size + padding["length"] == headers["extra_length"])
        & (sizes > 0)
        & (sizes < zs.MAX32)
        & (places + sizes + np.where(is_far, zs.DESCRIPTOR64.size, zs.DESCRIPTOR.size) == np.asarray(ends))
    )
    return np.where(is_plain, places, -1).tolist()  # type: ignore[no-any-return]


def _structures(data: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], fields: list[tuple[str, str]]) -> Any:
    """The structures that begin at these places; where the data ends before that, what stands at its end."""
    kind = np.dtype(fields)
    first = np.minimum(places, data.size - kind.itemsize)
    return data[first[:, None] + np.arange(kind.itemsize)].view(kind)[:, 0]

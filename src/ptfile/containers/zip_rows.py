"""The contents of very many small records at once, each an array of its own and checked.

One read brings many records. numpy looks at their headers side by side (`zip_runs.payloads`) and copies the contents of
those of one size together, so that no step but the checksum is taken for each alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from isal import isal_zlib

from ptfile._lazy import np
from ptfile.containers.zip_directory import Directory, Record
from ptfile.containers.zip_runs import SMALL, payloads
from ptfile.sources.base import Source

if TYPE_CHECKING:
    import numpy.typing as npt

Rows: TypeAlias = "Sequence[npt.NDArray[np.uint8] | None]"

_FEW = 8
"""Records of one size behind one another for which it is not worth it."""
_MOST, _MOST_BYTES = 8_192, 4 << 20
"""Records that are looked at together, and bytes that are read together."""
_BLOCK = 64 << 10
"""Bytes of memory that arrays share: so many stay for as long as one of them is there."""
_ALIGNMENT = 16
"""Of each array, in bytes, as of other small memory."""


def read_rows(source: Source, directory: Directory, records: Sequence[Record]) -> Rows:
    """The content of each record; None where it is to be read by itself, and where its checksum is wrong.

    records: in the order of the file. Those have to be read by themselves that are large or empty, that stand alone or
    that were not written as PyTorch does.
    """
    rows: list[npt.NDArray[np.uint8] | None] = [None] * len(records)
    edges = np.array((*directory.header_offsets, directory.offset))
    for start in range(0, len(records), _MOST):
        some = records[start : start + _MOST]
        crcs = np.array([record.crc for record in some])
        sizes = np.array([record.size for record in some])
        heads = np.array([record.header_offset for record in some])
        ends = edges[np.searchsorted(edges, heads) + 1]
        for first, last in _spans(sizes, heads, ends):
            data = np.frombuffer(source.read(int(heads[first]), int(ends[last - 1] - heads[first])), np.uint8)
            here = slice(first, last)
            places: Any = np.array(payloads(data, heads[here] - heads[first], some[here], ends[here].tolist()))
            for chosen in _of_one_size(places, sizes[here]):
                numbers = first + chosen
                contents, found = _copied(data, places[chosen] - heads[first], int(sizes[numbers[0]]))
                right = (found == crcs[numbers]) | (crcs[numbers] == 0)  # 0: it was not computed
                if not right.all():
                    numbers, contents = numbers[right], contents[right]
                for number, content in zip((start + numbers).tolist(), contents, strict=True):
                    rows[number] = content
    return rows


def _spans(sizes: Any, heads: Any, ends: Any) -> Iterator[tuple[int, int]]:
    """Small records (the first, the one behind the last) that follow on one another, to be read at once."""
    is_small = sizes <= SMALL
    goes_on = (heads[1:] == ends[:-1]) & (is_small[1:] == is_small[:-1])
    cuts = (np.flatnonzero(~goes_on) + 1).tolist()
    for first, last in zip([0, *cuts], [*cuts, len(sizes)], strict=True):
        at = first if is_small[first] else last
        while last - at >= _FEW:
            stop = min(last, int(np.searchsorted(ends, heads[at] + _MOST_BYTES, "right")))
            yield at, stop
            at = stop


def _of_one_size(places: Any, sizes: Any) -> Iterator[Any]:
    """The numbers of records that have a place, those of one size together, as many as share memory."""
    order = np.argsort(sizes, kind="stable")
    order = order[places[order] >= 0]
    cuts = (np.flatnonzero(np.diff(sizes[order])) + 1).tolist()
    for first, last in zip([0, *cuts], [*cuts, len(order)], strict=True):
        if last - first >= _FEW:
            together = max(_BLOCK // int(sizes[order[first]]), 1)
            for start in range(first, last, together):
                yield order[start : min(start + together, last)]


def _copied(data: npt.NDArray[np.uint8], places: Any, size: int) -> tuple[Any, Any]:
    """So many bytes from each of these places, as arrays that share no byte, and their CRC-32."""
    contents = np.lib.stride_tricks.sliding_window_view(data, size)[places]
    crcs = np.fromiter(map(isal_zlib.crc32, contents.view(f"V{size}")[:, 0].tolist()), np.int64, len(contents))
    if size % _ALIGNMENT:
        aligned = np.empty((len(contents), size + -size % _ALIGNMENT), np.uint8)[:, :size]
        aligned[:] = contents
        contents = aligned
    return contents, crcs

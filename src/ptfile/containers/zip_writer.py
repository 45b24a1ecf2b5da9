"""Zip files as PyTorch writes them: every offset planned before a byte is written, then payloads in order.

Planning is pure, so offsets past 4 GiB are tested without a file of 4 GiB. Nothing is ever written twice or sought
back to (sizes and CRCs follow each payload), so any sink will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from isal import isal_zlib

from ptfile._types import Buffer
from ptfile.containers import zip_structs as zs
from ptfile.sinks.base import Sink, SizedSink

ALIGNMENT = 64
"""PyTorch's own default (`torch.utils.serialization.config.save.storage_alignment`)."""

_PIECE = 1 << 20
"""Bytes whose CRC is taken and that are then written, while they are in the processor's cache."""
_GATHER = 1 << 20
"""Headers and small payloads are joined up to this many bytes before they are written."""
_SMALL = 64 << 10
"""A payload below this many bytes is cheaper to copy than to write on its own."""
_WITH_DESCRIPTOR = zs.FLAG_UTF8 | zs.FLAG_DESCRIPTOR
_DESCRIPTOR_SIZES = (zs.DESCRIPTOR.size, zs.DESCRIPTOR64.size)
"""Bytes, without zip64 and with it."""


class PlannedRecord(NamedTuple):
    """Where one record will be. All numbers in bytes, offsets from the start of the file.

    A tuple, because there may be very many, and it is made in a third of the time of a frozen dataclass.
    """

    name: str
    """With the root folder."""
    size: int
    header_offset: int
    payload_offset: int
    """A multiple of the layout's alignment, also for a record without bytes."""
    padding: int
    """Bytes of `Z` in the local header."""
    zip64: bool
    """Whether the record has a zip64 extra field, and 8-byte sizes in its descriptor."""

    flags: int
    """APPNOTE 4.4.4."""
    descriptor_size: int
    """Bytes that follow the payload: none where there is none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole file, before it is written."""

    records: tuple[PlannedRecord, ...]
    directory_offset: int
    directory_size: int
    size: int
    """Bytes of the file."""


def plan(root: str, records: Sequence[tuple[str, int]], *, alignment: int = ALIGNMENT) -> Layout:
    """Lay out records, each a name without the root folder and a size in bytes, as PyTorch would.

    Raises ValueError for what no zip file can say: a doubled name, a name of more than 65,535 bytes of UTF-8, a
    negative size, or an alignment whose padding an extra field cannot hold (it can up to 65,472).
    """
    if alignment < 1:
        raise ValueError(f"alignment is {alignment}: it must be 1 or more")
    planned = []
    fixed = zs.LOCAL.size + zs.EXTRA.size
    most = zs.MAX16 - zs.EXTRA.size
    offset = directory_size = 0
    for short_name, size in records:
        name = f"{root}/{short_name}"
        length = len(name.encode())
        # The zip64 extra field stands in front of the padding and moves it (getPadding, inline_container.cc).
        needs_zip64 = size >= zs.MAX32 or offset >= zs.MAX32
        zip64 = len(zs.zip64_extra(size, size, offset)) if needs_zip64 else 0
        start = offset + fixed + length + zip64
        padding = -start % alignment
        if length > zs.MAX16 or zip64 + padding > most or size < 0:
            raise ValueError(
                f"record {name[:80]!r} of {size} bytes, aligned to {alignment}, does not fit in a zip file"
            )
        flags, descriptor = (_WITH_DESCRIPTOR, _DESCRIPTOR_SIZES[needs_zip64]) if size else (zs.FLAG_UTF8, 0)
        payload = start + padding
        planned.append(PlannedRecord(name, size, offset, payload, padding, needs_zip64, flags, descriptor))
        directory_size += length + zip64
        offset = payload + size + descriptor
    directory_size += len(planned) * zs.CENTRAL.size
    if len({name for name, _ in records}) != len(planned):
        raise ValueError("two records have the same name")
    size = offset + directory_size + zs.END64.size + zs.LOCATOR.size + zs.END.size
    return Layout(tuple(planned), offset, directory_size, size)


class ZipWriter:
    """Writes the payloads of a layout, in its order, and then the directory.

    The bytes are in the sink when `finish` has returned; the sink is the caller's to enter and leave.
    """

    def __init__(self, sink: Sink, layout: Layout, *, checksum: bool = True) -> None:
        """With `checksum` off every CRC in the file is 0, as PyTorch writes it then."""
        self._sink = sink
        self._layout = layout
        self._rest = iter(layout.records)
        self._checksum = checksum
        self._checksums: list[int] = []
        self._waiting = bytearray()
        if isinstance(sink, SizedSink):
            sink.expect(layout.size)

    @property
    def checksums(self) -> tuple[int, ...]:
        """The CRC-32 of each record written so far, as it stands in the file."""
        return tuple(self._checksums)

    def write(self, payload: Buffer) -> None:
        """Write the next record. Raises ValueError unless `payload` has as many bytes as planned."""
        record = self._next()
        size = payload.nbytes if type(payload) is memoryview else len(payload)
        if record.zip64 or not 0 < size < _SMALL or size != record.size:
            self._write_pieces(record, (payload,))
            return
        # The same as there, for the small records of which a file may have very many.
        crc = isal_zlib.crc32(payload) if self._checksum else 0
        waiting = self._waiting
        waiting += zs.local_header(record.name.encode(), record.flags, record.padding)
        waiting += payload
        waiting += zs.descriptor(crc, size, zip64=False)
        if len(waiting) >= _GATHER:
            self._flush()
        self._checksums.append(crc)

    def write_pieces(self, pieces: Iterable[Buffer]) -> None:
        """Write the next record from pieces of its payload, so that a large one need not be in memory whole.

        Raises ValueError unless they have as many bytes as planned together; the sink must be aborted then.
        """
        self._write_pieces(self._next(), pieces)

    def _next(self) -> PlannedRecord:
        try:
            return next(self._rest)
        except StopIteration:
            raise ValueError("every record of the layout has been written") from None

    def _write_pieces(self, record: PlannedRecord, pieces: Iterable[Buffer]) -> None:
        # The compressed size is not known to PyTorch at this point: 0.
        zip64 = zs.zip64_extra(record.size, 0, record.header_offset)
        self._gather(zs.local_header(record.name.encode(), record.flags, record.padding, zip64))
        crc = written = 0
        for piece in pieces:
            data = memoryview(piece).cast("B")
            written += data.nbytes
            if written > record.size:
                break
            crc = self._write_payload(data, crc)
        if written != record.size:
            raise ValueError(f"record {record.name!r} was planned with {record.size} bytes and has {written} or more")
        if record.size:
            self._gather(zs.descriptor(crc, record.size, zip64=record.zip64))
        self._checksums.append(crc)

    def reserve(self) -> None:
        """Leave room for the bytes of the next record. Its CRC is 0: not computed."""
        record = self._next()
        zip64 = zs.zip64_extra(record.size, 0, record.header_offset)
        self._gather(zs.local_header(record.name.encode(), record.flags, record.padding, zip64))
        if record.size:
            self._flush()
            self._sink.skip(record.size)
            self._gather(zs.descriptor(0, record.size, zip64=record.zip64))
        self._checksums.append(0)

    def finish(self) -> None:
        """Write the central directory and the end records. Raises ValueError if a record is still to come."""
        missing = next(self._rest, None)
        if missing is not None:
            raise ValueError(f"record {missing.name!r} has not been written")
        for record, crc in zip(self._layout.records, self._checksums, strict=True):
            name = record.name.encode()
            self._gather(zs.central_header(name, record.flags, crc, record.size, record.header_offset))
        layout = self._layout
        self._gather(zs.end_records(len(layout.records), layout.directory_size, layout.directory_offset))
        self._flush()

    def _write_payload(self, data: memoryview, crc: int) -> int:
        """The CRC so far, continued over `data`, which is written."""
        if data.nbytes < _SMALL:
            self._gather(data)
            return isal_zlib.crc32(data, crc) if self._checksum else 0
        self._flush()
        if not self._checksum:
            self._sink.write(data)
            return 0
        for start in range(0, data.nbytes, _PIECE):
            piece = data[start : start + _PIECE]
            crc = isal_zlib.crc32(piece, crc)
            self._sink.write(piece)
        return crc

    def _gather(self, data: Buffer) -> None:
        self._waiting += data
        if len(self._waiting) >= _GATHER:
            self._flush()

    def _flush(self) -> None:
        # A new buffer each time: a sink may hold on to what it was given.
        waiting, self._waiting = self._waiting, bytearray()
        if waiting:
            self._sink.write(waiting)

"""Zip files as PyTorch writes them: every offset planned before a byte is written, then payloads in order.

Planning is pure, so offsets past 4 GiB are tested without a file of 4 GiB. Nothing is ever written twice or sought
back to (sizes and CRCs follow each payload), so any sink will do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from isal import isal_zlib

from ptfile._collector import paused_collector
from ptfile._types import Buffer
from ptfile.containers import zip_structs as zs
from ptfile.sinks.base import CopyingSink, Sink

_PIECE = 512 << 10
"""Bytes whose CRC is taken and that are then written, while they are in the processor's cache."""
_GATHER = 1 << 20
"""Headers and small payloads are joined up to this many bytes before they are written."""
_SMALL = 64 << 10
"""A payload below this many bytes is cheaper to copy than to write on its own."""
_WITH_DESCRIPTOR = zs.FLAG_UTF8 | zs.FLAG_DESCRIPTOR
_FEW = 100
"""Records up to which a layout is worth remembering."""


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
    header: bytes
    """The local header, which fills the file from `header_offset` to `payload_offset`."""
    zip64: bool
    """Whether the record has a zip64 extra field, and 8-byte sizes in the descriptor that follows its payload."""
    entry_offset: int
    """Where the record's entry begins in the directory."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole file, before it is written: all but the payloads and their CRCs."""

    records: tuple[PlannedRecord, ...]
    directory: bytes
    """The central directory, with a CRC of 0 for each record."""
    directory_offset: int
    end: bytes
    """What follows the directory."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.directory_offset + len(self.directory) + len(self.end)


def plan(root: str, records: Sequence[tuple[str, int]], *, alignment: int = zs.ALIGNMENT) -> Layout:
    """Lay out records, each a name without the root folder and a size in bytes, as PyTorch would.

    root: the folder around all of them; empty for a file without.

    Raises ValueError for what no zip file can say: a doubled name, a name of more than 65,535 bytes of UTF-8, a
    negative size, or an alignment whose padding an extra field cannot hold (it can up to 65,472).
    """
    if alignment < 1:
        raise ValueError(f"alignment is {alignment}: it must be 1 or more")
    # Programs save checkpoints of the same few records again and again.
    if len(records) <= _FEW:
        return _plan_few(root, tuple(records), alignment)
    with paused_collector():
        return _plan(root, records, alignment)


def _plan(root: str, records: Sequence[tuple[str, int]], alignment: int) -> Layout:
    planned = []
    entries = []
    fixed = zs.LOCAL.size + zs.EXTRA.size
    most = zs.MAX16 - zs.EXTRA.size
    offset = entry_offset = 0
    for short_name, size in records:
        full_name = f"{root}/{short_name}" if root else short_name
        name = full_name.encode()
        # The zip64 extra field stands in front of the padding and moves it (getPadding, inline_container.cc).
        zip64 = size >= zs.MAX32 or offset >= zs.MAX32
        # The compressed size is not known to PyTorch when it writes the header: 0.
        zip64_extra = zs.zip64_extra(size, 0, offset) if zip64 else b""
        padding = -(offset + fixed + len(name) + len(zip64_extra)) % alignment
        if len(name) > zs.MAX16 or len(zip64_extra) + padding > most or size < 0:
            raise ValueError(
                f"record {full_name[:80]!r} of {size} bytes, aligned to {alignment}, does not fit in a zip file"
            )
        flags = _WITH_DESCRIPTOR if size else zs.FLAG_UTF8
        header = zs.local_header(name, flags, padding, zip64_extra)
        payload = offset + len(header)
        planned.append(PlannedRecord(full_name, size, offset, payload, header, zip64, entry_offset))
        entry = zs.central_header(name, flags, 0, size, offset)
        entries.append(entry)
        entry_offset += len(entry)
        offset = payload + size
        if size:
            offset += (zs.DESCRIPTOR64 if zip64 else zs.DESCRIPTOR).size
    if len({name for name, _ in records}) != len(planned):
        raise ValueError("two records have the same name")
    return Layout(tuple(planned), b"".join(entries), offset, zs.end_records(len(planned), entry_offset, offset))


_plan_few = functools.lru_cache(maxsize=16)(_plan)


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
        waiting += record.header
        waiting += payload
        waiting += zs.DESCRIPTOR.pack(zs.DESCRIPTOR_SIGNATURE, crc, size, size)
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
        self._gather(record.header)
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

    @property
    def can_copy(self) -> bool:
        """Whether there is `copy`."""
        return isinstance(self._sink, CopyingSink)

    def copy(self, file: int, offset: int, crc: int, advance: Callable[[int], None] = lambda _: None) -> None:
        """Write the next record from the bytes of an open file, whose CRC is taken on trust.

        advance: gets how many further bytes have been written.

        Raises OSError, and EOFError if the file has not as many bytes.
        """
        assert isinstance(self._sink, CopyingSink)
        record = self._next()
        self._gather(record.header)
        self._flush()
        self._sink.copy_from(file, offset, record.size, advance)
        if record.size:
            self._gather(zs.descriptor(crc, record.size, zip64=record.zip64))
        self._checksums.append(crc)

    def reserve(self) -> None:
        """Leave room for the bytes of the next record. Its CRC is 0: not computed."""
        record = self._next()
        self._gather(record.header)
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
        directory = bytearray(self._layout.directory)
        for record, crc in zip(self._layout.records, self._checksums, strict=True):
            zs.CRC.pack_into(directory, record.entry_offset + zs.CENTRAL_CRC, crc)
        self._gather(directory)
        self._gather(self._layout.end)
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

"""The end of a zip file: which records it says it has, and whether that can be true of a file of this size.

A zip can be read from its front or from its back, and the two may tell different stories; that is how a scanner is
shown one file and a loader another. Here every byte of the file has to belong to one record, the directory or the
end, so that there is one story.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from ptfile.containers import zip_structs as zs
from ptfile.errors import FormatError, LimitError, UnsupportedError
from ptfile.limits import Limits
from ptfile.sources.base import Source

READ_CENTRAL = struct.Struct("<4s4xHH4xIIIHHHH2xB3xI")
"""`zip_structs.CENTRAL` without what is of no use to a reader: versions, times, most attributes."""

_DESCRIPTOR_MAX = zs.DESCRIPTOR64.size
_MAX_GAP = zs.MAX16 + _DESCRIPTOR_MAX
"""Bytes between a payload and the next header that the directory cannot account for: a local extra field and a
descriptor. `ZipReader.locate` accounts for them exactly."""


class Record(NamedTuple):
    """One record, as the central directory has it. (A tuple is made in a third of the time of a frozen dataclass.)"""

    name: str
    """With the root folder."""
    flags: int
    """APPNOTE 4.4.4."""
    method: int
    """0 stored, 8 deflated; nothing else is let through."""
    crc: int
    """CRC-32 of the content; 0 may also mean that it was not computed."""
    compressed_size: int
    """Bytes in the file."""
    size: int
    """Bytes of content."""
    header_offset: int
    """Of the local header, from the start of the file."""

    @property
    def zip64(self) -> bool:
        """Whether PyTorch would give it a zip64 extra field, and 8-byte sizes in its descriptor."""
        return self.size >= zs.MAX32 or self.header_offset >= zs.MAX32


_HEADER_OFFSET = itemgetter(Record._fields.index("header_offset"))


@dataclass(frozen=True, slots=True)
class Directory:
    """The central directory of a file, checked."""

    records: Mapping[str, Record]
    """By name, in the order of their bytes in the file."""
    offset: int
    """Where it begins, and the last record ends."""
    header_offsets: tuple[int, ...]
    """Of everything in the file, folders too, in rising order."""
    places: Mapping[int, int] | None = None
    """Where payloads begin, by the offsets of their headers; None if the headers have not been looked at."""


def read_directory(source: Source, limits: Limits) -> Directory:
    """Read and check the end records and the directory.

    Raises FormatError for bytes that contradict each other or are missing, UnsupportedError for encryption, other
    methods and several disks, LimitError for more records than the limits allow.
    """
    end, end_offset = _read_end(source)
    if end.disk or end.directory_disk or end.records_here != end.records:
        raise UnsupportedError("it is one of several disks of a zip file", fix="Join them first", file=source.name)
    excess = end_offset - end.directory_offset - end.directory_size
    if excess < 0:
        raise _hole(source.name, -excess)
    if excess > 0:
        raise FormatError(
            f"{excess} bytes belong to no record: they stand before the first or behind the directory", file=source.name
        )
    if end.records * zs.CENTRAL.size > end.directory_size:
        raise FormatError(
            f"{end.records} records are said to be in a directory of {end.directory_size} bytes", file=source.name
        )
    if end.records > limits.records:
        raise LimitError(
            f"{end.records} records", limit="records", allowed=limits.records, actual=end.records, file=source.name
        )
    data = bytes(source.read(end.directory_offset, end.directory_size))
    try:
        records = _parse(data, end.records)
        records.sort(key=_HEADER_OFFSET)
        header_offsets = _check_extents(records, end.directory_offset)
        return Directory(_by_name(records), end.directory_offset, header_offsets)
    except (FormatError, UnsupportedError) as error:
        error.file = source.name
        raise


def _read_end(source: Source) -> tuple[zs.End, int]:
    """The numbers of the end record, and where the directory must end. They are not checked against the file yet."""
    tail_offset = max(0, source.size - zs.END.size - zs.MAX16)
    tail = bytes(source.read(tail_offset, source.size - tail_offset))
    found = [at for at in _positions(tail, zs.END_SIGNATURE) if _reaches_the_end(tail, at)]
    if not found:
        raise _no_end(source)
    at = found[-1]
    if len(found) > 1 or tail.find(zs.END_SIGNATURE, at + 1) >= 0:
        raise FormatError("it has two ends, one in the comment of the other", file=source.name)
    end, _ = zs.unpack_end(tail, at)
    locator_at = at - zs.LOCATOR.size
    if locator_at < 0 or not tail.startswith(zs.LOCATOR_SIGNATURE, locator_at):
        return end, tail_offset + at
    _, disk, end64_offset, disks = zs.LOCATOR.unpack_from(tail, locator_at)
    if disk or disks > 1:
        raise UnsupportedError("it is one of several disks of a zip file", fix="Join them first", file=source.name)
    end64_at = locator_at - zs.END64.size
    expected = tail_offset + end64_at
    found_end64 = end64_at >= 0 and tail.startswith(zs.END64_SIGNATURE, end64_at)
    if found_end64 and expected < end64_offset < 1 << 63:
        raise _hole(source.name, end64_offset - expected)
    if not found_end64:
        raise FormatError("the zip64 end is damaged or gone", file=source.name, offset=max(expected, 0))
    if end64_offset != expected:
        raise FormatError(f"the zip64 end is said to be at byte {end64_offset}, not at {expected}", file=source.name)
    end64, follow = zs.unpack_end64(tail, end64_at)
    if follow != zs.END64.size - 12 or not _agrees(end, end64):
        raise FormatError("the end and the zip64 end disagree", file=source.name, offset=end64_offset)
    return end64, end64_offset


def _positions(data: bytes, pattern: bytes) -> Iterator[int]:
    at = data.find(pattern)
    while at >= 0:
        yield at
        at = data.find(pattern, at + 1)


def _reaches_the_end(tail: bytes, at: int) -> bool:
    """Whether an end record at `at`, with its comment, ends where the file does."""
    if at + zs.END.size > len(tail):
        return False
    _, comment = zs.unpack_end(tail, at)
    return at + zs.END.size + comment == len(tail)


def _no_end(source: Source) -> FormatError:
    head = bytes(source.read(0, min(4, source.size)))
    if head in (zs.LOCAL_SIGNATURE, zs.END_SIGNATURE, zs.CENTRAL_SIGNATURE):
        return FormatError(
            f"cut off, or something was put behind it: {source.size} bytes are there, and they do not end with the "
            "directory that every zip file ends with. How much is missing stood in that directory",
            fix="Copy or download the file again, or save it again if saving was interrupted",
            file=source.name,
        )
    return FormatError("it is no zip file: it has neither the beginning nor the end of one", file=source.name)


def _hole(name: str, missing: int) -> FormatError:
    return FormatError(
        f"cut off: {missing} bytes are missing between its start and its end",
        fix="Copy or download the file again",
        file=name,
    )


def _agrees(end: zs.End, end64: zs.End) -> bool:
    """4.4.1.4: each field of the end record is full or says what the zip64 end says."""
    return end == end64 or all(
        small in (full, large)
        for small, large, full in (
            (end.disk, end64.disk, zs.MAX16),
            (end.directory_disk, end64.directory_disk, zs.MAX16),
            (end.records_here, end64.records_here, zs.MAX16),
            (end.records, end64.records, zs.MAX16),
            (end.directory_size, end64.directory_size, zs.MAX32),
            (end.directory_offset, end64.directory_offset, zs.MAX32),
        )
    )


def _parse(data: bytes, count: int) -> list[Record]:
    """The records of a directory that must hold `count` of them."""
    records: list[Record] = []
    unpack, fixed, end = READ_CENTRAL.unpack_from, READ_CENTRAL.size, len(data)
    new = tuple.__new__  # in half the time of the class itself
    at = 0
    try:
        for _ in range(count):
            signature, flags, method, crc, packed, size, name_length, extra_length, comment, disk, kind, offset = (
                unpack(data, at)
            )
            name_at = at + fixed
            at = name_at + name_length + extra_length + comment
            if signature != zs.CENTRAL_SIGNATURE or at > end:
                raise FormatError(f"record {len(records)} of the directory is damaged")
            raw = data[name_at : name_at + name_length]
            name = raw.decode("utf-8" if flags & zs.FLAG_UTF8 else "cp437")
            if extra_length or zs.MAX32 in (packed, size, offset):
                extra = data[name_at + name_length : name_at + name_length + extra_length]
                packed, size, offset, disk = _widen(extra, packed, size, offset, disk)
            if flags & ~zs.FLAGS_HARMLESS or disk or (method != zs.STORED and method != zs.DEFLATED):  # noqa: PLR1714 quicker
                raise _unsupported(name, flags, method)
            if kind & zs.FOLDER_ATTRIBUTE and size:  # of which PyTorch's reader gives no byte
                raise FormatError("it is marked as a folder but has content", record=name)
            if method == zs.STORED and packed != size:
                raise FormatError(f"{size} bytes are said to be stored in {packed}", record=name)
            records.append(new(Record, (name, flags, method, crc, packed, size, offset)))
    except struct.error as error:
        raise FormatError(
            f"record {len(records)} of {count} in the directory is damaged, or the directory ends before it"
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError(f"the name of record {len(records)} in the directory is no UTF-8") from error
    if at != end:
        raise FormatError(f"the directory goes on for {end - at} bytes after its {count} records")
    return records


def _widen(extra: bytes, packed: int, size: int, offset: int, disk: int) -> tuple[int, int, int, int]:
    """The numbers (compressed size, size, header offset, disk) with those whose field is full taken from zip64.

    Raises struct.error if an extra field overruns or the zip64 block does not hold just what it should (4.5.3).
    """
    blocks = zs.extra_blocks(extra, zs.ZIP64_EXTRA)
    wanted = [size == zs.MAX32, packed == zs.MAX32, offset == zs.MAX32]
    if not blocks:
        # Written by a tool that knows no zip64, or without need: then the field is the number.
        return packed, size, offset, disk
    wide_disk = disk == zs.MAX16
    numbers = iter(struct.unpack(f"<{sum(wanted)}Q{'I' * wide_disk}", b"".join(blocks)))
    size = next(numbers) if wanted[0] else size
    packed = next(numbers) if wanted[1] else packed
    offset = next(numbers) if wanted[2] else offset
    return packed, size, offset, next(numbers) if wide_disk else disk


def _unsupported(name: str, flags: int, method: int) -> UnsupportedError:
    if flags & (zs.FLAG_ENCRYPTED | zs.FLAG_STRONG_ENCRYPTION | zs.FLAG_MASKED):
        return UnsupportedError("it is encrypted", fix="Decrypt the file with the tool that made it", record=name)
    if method not in (zs.STORED, zs.DEFLATED):
        return UnsupportedError(
            f"it is compressed by method {method}", fix="Zip the file again, stored or deflated", record=name
        )
    return UnsupportedError(f"its flags {flags:#06x} ask for more than reading", fix="Zip the file again", record=name)


def _check_extents(records: list[Record], directory_offset: int) -> tuple[int, ...]:
    """The header offsets of records in the order of these. Raises FormatError unless the records can fill the file up
    to the directory, one behind the other, with room for nothing else.
    """
    # A name in cp437 has as many bytes as characters; no need to be exact for the others: `locate` is.
    fixed = zs.LOCAL.size
    offsets = [*map(_HEADER_OFFSET, records), directory_offset]
    if offsets[0] != 0:
        raise FormatError("bytes stand before the first record", offset=0)
    for number, (name, _, _, _, packed, _, offset) in enumerate(records, 1):
        gap = offsets[number] - offset - fixed - len(name) - packed
        if gap < 0:
            behind = f"record {records[number].name!r}" if number < len(records) else "the directory"
            raise FormatError(f"it reaches {-gap} bytes into {behind}", record=name)
        if gap > _MAX_GAP and gap > _MAX_GAP + 3 * len(name):
            raise FormatError("bytes that belong to no record stand behind it", record=name)
    return tuple(offsets[:-1])


def _by_name(records: list[Record]) -> dict[str, Record]:
    """Records by name, without folders. Raises FormatError for names that different readers would take for different
    records.
    """
    names = [record.name for record in records]
    together = "\n".join(names)
    if "\0" in together or "\\" in together or "" in names:
        bad = next(name for name in names if not name or "\0" in name or "\\" in name)
        raise FormatError(f"a record's name {bad[:80]!r} is empty or has a NUL or a backslash in it")
    if len(set(map(str.lower, names))) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name.lower() in seen or seen.add(name.lower()))  # type: ignore[func-returns-value]
        raise FormatError(
            "two records have this name, or one that differs in case only: PyTorch takes one, other tools another",
            record=twice,
        )
    by_name = dict(zip(names, records, strict=True))
    if "/\n" in f"{together}\n":
        for name in [name for name in names if name.endswith("/")]:
            if by_name.pop(name).size:
                raise FormatError("it is named as a folder but has content", record=name)
    return by_name

"""Every record of a zip file checked, whether anyone reads it or not: in pieces, so that memory stays small."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

from isal import igzip_lib, isal_zlib

from ptfile.containers import zip_structs as zs
from ptfile.containers.serialization_id import LENGTH, serialization_id
from ptfile.containers.zip_directory import Record
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_salvage import zero_run
from ptfile.errors import FormatError, located
from ptfile.sources.base import Source

PIECE = 1 << 20
"""Bytes read at a time."""
_SMALL = 4 << 10
_RAW_DEFLATE = -15
_ID = ".data/serialization_id"

Advance = Callable[[int], object]
"""Is told of bytes that were read."""


def check_record(reader: ZipReader, source: Source, record: Record, advance: Advance) -> None:
    """Read one record to its end. Raises FormatError unless its header, its descriptor and its checksum are right.

    source: that of the reader, with a window for small reads, best. A checksum of 0 passes: it was not computed.
    """
    payload = reader.locate(record)
    size, crc = (_stored if record.method == zs.STORED else _inflated)(source, record, payload, advance)
    if size != record.size:
        raise FormatError(f"it inflates to {size} bytes, not to {record.size}")
    if record.crc and crc != record.crc:
        run = zero_run(source, payload, record.compressed_size)
        zeros = f"bytes {run[0]} to {run[1]} of the file are zeros" if run else "some of its bytes have changed"
        raise FormatError(f"its checksum is {crc:#010x} and should be {record.crc:#010x}: {zeros}")
    _check_descriptor(source, record, payload)


def _stored(source: Source, record: Record, payload: int, advance: Advance) -> tuple[int, int]:
    """(size, CRC) of the content."""
    crc = 0
    if record.size <= _SMALL:
        advance(record.size)
        return record.size, isal_zlib.crc32(source.read(payload, record.size))
    piece = memoryview(bytearray(min(PIECE, record.size)))
    for start in range(0, record.size, PIECE):
        part = piece[: min(PIECE, record.size - start)]
        source.read_into(payload + start, part)
        crc = isal_zlib.crc32(part, crc)
        advance(len(part))
    return record.size, crc


def _inflated(source: Source, record: Record, payload: int, advance: Advance) -> tuple[int, int]:
    inflater = isal_zlib.decompressobj(wbits=_RAW_DEFLATE)
    size = crc = read = 0
    try:
        while not inflater.eof and size <= record.size:
            waiting = inflater.unconsumed_tail
            if not waiting:
                length = min(PIECE, record.compressed_size - read)
                if not length:
                    break
                waiting = bytes(source.read(payload + read, length))
                read += length
                advance(length)
            content = inflater.decompress(waiting, max_length=PIECE)
            size += len(content)
            crc = isal_zlib.crc32(content, crc)
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub says it is an instance
        raise FormatError(f"its compressed bytes are damaged ({error})") from error
    if not inflater.eof or inflater.unused_data or read != record.compressed_size:
        raise FormatError("its compressed bytes do not end where they should")
    return size, crc


def _check_descriptor(source: Source, record: Record, payload: int) -> None:
    """Raise FormatError unless the descriptor, if there is one, says what the directory says."""
    at = payload + record.compressed_size
    if not record.flags & zs.FLAG_DESCRIPTOR or not record.size:
        return
    behind = bytes(source.read(at, min(zs.DESCRIPTOR64.size, source.size - at)))
    if not behind.startswith(zs.descriptor_forms(record.crc, record.compressed_size, record.size)):
        raise FormatError(f"the descriptor behind it, at byte {at}, and the directory disagree", offset=None)


def check_serialization_id(reader: ZipReader, root: str) -> bool:
    """Whether the file has a serialization id, which was computed again from names and checksums and is right.

    root: the folder of all records, with its slash. Raises FormatError if it is wrong.
    """
    record = reader.records.get(f"{root}{_ID}")
    if record is None:
        return False
    before = list(takewhile(lambda one: one.name != record.name, reader.records.values()))
    expected = serialization_id(
        [one.name.removeprefix(root) for one in before], [(one.size, one.crc) for one in before]
    )
    with located(record=_ID):
        found = bytes(reader.read(record)) if record.size == LENGTH else b""
        if found != expected:
            which = "the names" if found[:20] != expected[:20] else "the checksums"
            raise FormatError(
                f"it does not fit {which} of the records before it: the file was changed after it was saved, or it is "
                "damaged"
            )
    return True

"""The structures of a zip file: layouts, signatures and flags, and functions between their bytes and their numbers.

The specification is PKWARE's APPNOTE.TXT 6.3.10; "4.3.7" and the like below are its sections. What APPNOTE leaves
open is done as in miniz, the writer inside PyTorch, and was read off files that PyTorch 2.13 wrote.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ptfile._types import Buffer

ALIGNMENT = 64
"""Bytes to whose multiples PyTorch aligns records (`torch.utils.serialization.config.save.storage_alignment`)."""

LOCAL_SIGNATURE = b"PK\3\4"
"""4.3.7"""
DESCRIPTOR_SIGNATURE = b"PK\7\x08"
"""4.3.9.3"""
CENTRAL_SIGNATURE = b"PK\1\2"
"""4.3.12"""
END64_SIGNATURE = b"PK\6\6"
"""4.3.14"""
LOCATOR_SIGNATURE = b"PK\6\7"
"""4.3.15"""
END_SIGNATURE = b"PK\5\6"
"""4.3.16"""

LOCAL = struct.Struct("<4sHHHHHIIIHH")
"""4.3.7: signature, version needed, flags, method, time, date, CRC, compressed size, size, name length, extra length"""
CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
"""4.3.12: signature, version made by, version needed, flags, method, time, date, CRC, compressed size, size, name
length, extra length, comment length, disk, internal attributes, external attributes, header offset"""
DESCRIPTOR = struct.Struct("<4sIII")
"""4.3.9: signature, CRC, compressed size, size"""
DESCRIPTOR64 = struct.Struct("<4sIQQ")
"""4.3.9.2: the same behind a record with a zip64 extra field"""
END64 = struct.Struct("<4sQHHIIQQQQ")
"""4.3.14: signature, bytes that follow, version made by, version needed, disk, disk of the directory, records on this
disk, records, directory size, directory offset"""
LOCATOR = struct.Struct("<4sIQI")
"""4.3.15: signature, disk of the zip64 end, its offset, disks"""
END = struct.Struct("<4sHHHHIIH")
"""4.3.16: signature, disk, disk of the directory, records on this disk, records, directory size, directory offset,
comment length"""
CRC = struct.Struct("<I")
CENTRAL_CRC = 16
"""Where it stands in an entry of the central directory."""
EXTRA = struct.Struct("<HH")
"""4.5.1: id and length of one block of an extra field"""

_WRITE_LOCAL = struct.Struct("<4s2xH18xHH")
_WRITE_CENTRAL = struct.Struct("<4s4xH6xIIIHH10xI")
"""The same without what PyTorch leaves at 0: versions, the method, which is STORED, times, attributes."""

MAX16 = 0xFFFF
MAX32 = 0xFFFFFFFF
"""In a 16-bit or 32-bit field: the number is in the zip64 structure (4.4.1.4). So this is no number of its own."""

ZIP64_EXTRA = 0x0001
"""4.5.3: the 8-byte size, compressed size and header offset, each only where its 32-bit field is full"""
PADDING_EXTRA = 0x4246
"""`FB`, PyTorch's own (caffe2/serialize/inline_container.cc, getPadding): that many `Z` align the payload"""
PADDING_BYTE = b"Z"

STORED = 0
DEFLATED = 8
"""4.4.5: the methods that PyTorch writes"""

FLAG_ENCRYPTED = 1 << 0
FLAG_DESCRIPTOR = 1 << 3
"""4.4.4: CRC and sizes are zero in the local header, and follow the payload"""
FLAG_STRONG_ENCRYPTION = 1 << 6
FLAG_UTF8 = 1 << 11
FLAG_MASKED = 1 << 13
FLAGS_HARMLESS = 0b110 | FLAG_DESCRIPTOR | FLAG_UTF8
"""4.4.4: what a file may have set; bits 1 and 2 only say how hard the deflater tried"""
FOLDER_ATTRIBUTE = 0x10
"""4.4.15: MS-DOS's attribute of folders, in the lowest byte of the external attributes"""

END64_MADE_BY = 0x031E
END64_NEEDED = 45
"""The only versions miniz fills in: Unix, 3.0; and 4.5 for zip64 (4.4.3.2)"""


def local_header(name: bytes, flags: int, padding: int, zip64: bytes = b"") -> bytes:
    """A stored record's local header as PyTorch writes it: no version, no time, no CRC, no sizes.

    `padding`: by how many bytes more than the block's own 4 the payload is moved on; `zip64`: the block before it.
    """
    extra_length = len(zip64) + EXTRA.size + padding
    fixed = _WRITE_LOCAL.pack(LOCAL_SIGNATURE, flags, len(name), extra_length)
    return fixed + name + zip64 + EXTRA.pack(PADDING_EXTRA, padding) + PADDING_BYTE * padding


def descriptor(crc: int, size: int, *, zip64: bool) -> bytes:
    """What follows a stored payload of `size` bytes."""
    return (DESCRIPTOR64 if zip64 else DESCRIPTOR).pack(DESCRIPTOR_SIGNATURE, crc, size, size)


def descriptor_forms(crc: int, compressed_size: int, size: int) -> tuple[bytes, ...]:
    """Every descriptor that 4.3.9 allows: sizes of 4 bytes, if they fit, or of 8; with a signature or without."""
    forms = [DESCRIPTOR64.pack(DESCRIPTOR_SIGNATURE, crc, compressed_size, size)]
    if size <= MAX32 and compressed_size <= MAX32:
        forms.append(DESCRIPTOR.pack(DESCRIPTOR_SIGNATURE, crc, compressed_size, size))
    return (*forms, *(form[len(DESCRIPTOR_SIGNATURE) :] for form in forms))


def central_header(name: bytes, flags: int, crc: int, size: int, offset: int) -> bytes:
    """A stored record's entry in the central directory, with a zip64 extra field for the numbers that need one."""
    if size < MAX32 and offset < MAX32:
        return _WRITE_CENTRAL.pack(CENTRAL_SIGNATURE, flags, crc, size, size, len(name), 0, offset) + name
    extra = zip64_extra(size, size, offset)
    size, offset = min(size, MAX32), min(offset, MAX32)
    fixed = _WRITE_CENTRAL.pack(CENTRAL_SIGNATURE, flags, crc, size, size, len(name), len(extra), offset)
    return fixed + name + extra


def zip64_extra(size: int, compressed_size: int, offset: int) -> bytes:
    """The zip64 block for these numbers, empty if all fit in 32 bits. Whether the sizes are in it depends on `size`
    alone: PyTorch's local headers hold 0 for the compressed size, of which it knows nothing yet.
    """
    numbers = [size, compressed_size] if size >= MAX32 else []
    if offset >= MAX32:
        numbers.append(offset)
    if not numbers:
        return b""
    return EXTRA.pack(ZIP64_EXTRA, 8 * len(numbers)) + struct.pack(f"<{len(numbers)}Q", *numbers)


def end_records(records: int, directory_size: int, directory_offset: int) -> bytes:
    """What follows the central directory: zip64 end record, its locator and the end record, all three always."""
    end64 = END64.pack(
        END64_SIGNATURE, END64.size - 12, END64_MADE_BY, END64_NEEDED, 0, 0, records, records, directory_size,
        directory_offset,
    )  # fmt: skip
    locator = LOCATOR.pack(LOCATOR_SIGNATURE, 0, directory_offset + directory_size, 1)
    count = min(records, MAX16)
    end = END.pack(END_SIGNATURE, 0, 0, count, count, min(directory_size, MAX32), min(directory_offset, MAX32), 0)
    return end64 + locator + end


class End(NamedTuple):
    """What the end record or the zip64 end record says; zip64 decides where the other's field is full."""

    disk: int
    directory_disk: int
    records_here: int
    records: int
    directory_size: int
    directory_offset: int


def unpack_end(data: Buffer, at: int = 0) -> tuple[End, int]:
    """The end record at `at`, whose bytes must be there and begin with its signature; and its comment's length."""
    _, disk, directory_disk, here, records, size, offset, comment = END.unpack_from(data, at)
    return End(disk, directory_disk, here, records, size, offset), comment


def unpack_end64(data: Buffer, at: int = 0) -> tuple[End, int]:
    """The zip64 end record at `at`, likewise; and how many bytes it says follow its first 12."""
    _, follow, _, _, disk, directory_disk, here, records, size, offset = END64.unpack_from(data, at)
    return End(disk, directory_disk, here, records, size, offset), follow


def extra_blocks(extra: Buffer, kind: int) -> list[bytes]:
    """The contents of an extra field's blocks of one kind. Raises struct.error where any block overruns the field."""
    found = []
    at, end = 0, len(extra)
    while at < end:
        this, length = EXTRA.unpack_from(extra, at)
        start = at + EXTRA.size
        at = start + length
        if at > end:
            raise struct.error("an extra field overruns its header")
        if this == kind:
            found.append(bytes(extra[start:at]))
    return found

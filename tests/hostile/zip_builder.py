"""A zip writer with a knob for every field, to build files that lie in one place and are right everywhere else."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from ptfile.containers import zip_structs as zs


@dataclass
class Entry:
    """One record. A field that is None is worked out; the others are written as they are."""

    name: bytes = b"archive/data.pkl"
    content: bytes = b"content"
    method: int = zs.STORED
    flags: int = zs.FLAG_UTF8 | zs.FLAG_DESCRIPTOR
    payload: bytes | None = None
    """The bytes in the file; `content` stored or deflated if None."""
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    offset: int | None = None

    before: bytes = b""
    """Junk in front of the local header."""
    after: bytes = b""
    """Junk behind the descriptor."""
    descriptor: bytes | None = None

    local_signature: bytes = zs.LOCAL_SIGNATURE
    local_name: bytes | None = None
    local_flags: int | None = None
    local_method: int | None = None
    local_crc: int | None = None
    local_size: int | None = None
    local_packed: int | None = None
    local_extra: bytes = b""
    local_extra_length: int | None = None
    local_name_length: int | None = None

    signature: bytes = zs.CENTRAL_SIGNATURE
    extra: bytes = b""
    extra_length: int | None = None
    name_length: int | None = None
    comment: bytes = b""
    disk: int = 0
    attributes: int = 0
    """External ones."""
    in_directory: bool = True
    in_file: bool = True
    """False: only the directory knows it; give `offset` then."""

    def packed_payload(self) -> bytes:
        if self.payload is not None:
            return self.payload
        return deflate(self.content) if self.method == zs.DEFLATED else self.content


@dataclass
class Zip:
    """A whole file. `build` gives its bytes."""

    entries: list[Entry] = field(default_factory=list)
    before: bytes = b""
    """Junk in front of everything, not counted in any offset."""
    before_directory: bytes = b""
    directory_tail: bytes = b""
    """Junk inside the directory, counted in its size."""
    before_end: bytes = b""
    """Junk between the directory and the end."""
    after: bytes = b""
    records: int | None = None
    records_here: int | None = None
    directory_size: int | None = None
    directory_offset: int | None = None
    disk: int = 0
    directory_disk: int = 0
    comment: bytes = b""
    comment_length: int | None = None

    zip64: bool = True
    records64: int | None = None
    directory_size64: int | None = None
    directory_offset64: int | None = None
    follow64: int = zs.END64.size - 12
    end64_offset: int | None = None
    disks: int = 1
    end64_signature: bytes = zs.END64_SIGNATURE

    def build(self) -> bytes:
        data = bytearray()
        offsets = []
        for entry in self.entries:
            if entry.in_file:
                data += entry.before
                offsets.append(len(data))
                data += local(entry) + entry.packed_payload() + descriptor(entry) + entry.after
            else:
                offsets.append(0)
        data += self.before_directory
        start = len(data)
        listed = [(entry, offset) for entry, offset in zip(self.entries, offsets, strict=True) if entry.in_directory]
        for entry, offset in listed:
            data += central(entry, offset)
        data += self.directory_tail
        size = len(data) - start
        data += self.before_end
        data += self._end(len(listed), size, start, len(data)) + self.after
        return self.before + bytes(data)

    def _end(self, count: int, size: int, start: int, at: int) -> bytes:
        here = pick(self.records_here, count)
        records = pick(self.records, count)
        size_field, offset_field = pick(self.directory_size, size), pick(self.directory_offset, start)
        end = b""
        if self.zip64:
            records64 = pick(self.records64, count)
            end = zs.END64.pack(
                self.end64_signature, self.follow64, 30, 45, self.disk, self.directory_disk, records64, records64,
                pick(self.directory_size64, size), pick(self.directory_offset64, start),
            )  # fmt: skip
            end += zs.LOCATOR.pack(zs.LOCATOR_SIGNATURE, 0, pick(self.end64_offset, at), self.disks)
        length = pick(self.comment_length, len(self.comment))
        end += zs.END.pack(
            zs.END_SIGNATURE, self.disk, self.directory_disk, here, records, size_field, offset_field, length
        )
        return end + self.comment


def pick(chosen: int | None, right: int) -> int:
    return right if chosen is None else chosen


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def numbers(entry: Entry) -> tuple[int, int, int]:
    """CRC, compressed size and size as the directory has them."""
    crc = pick(entry.crc, zlib.crc32(entry.content))
    return crc, pick(entry.packed, len(entry.packed_payload())), pick(entry.size, len(entry.content))


def local(entry: Entry) -> bytes:
    flags = pick(entry.local_flags, entry.flags)
    right = (0, 0, 0) if flags & zs.FLAG_DESCRIPTOR else numbers(entry)
    name = entry.name if entry.local_name is None else entry.local_name
    fixed = zs.LOCAL.pack(
        entry.local_signature, 0, flags, pick(entry.local_method, entry.method), 0, 0, pick(entry.local_crc, right[0]),
        pick(entry.local_packed, right[1]), pick(entry.local_size, right[2]), pick(entry.local_name_length, len(name)),
        pick(entry.local_extra_length, len(entry.local_extra)),
    )  # fmt: skip
    return fixed + name + entry.local_extra


def descriptor(entry: Entry) -> bytes:
    if entry.descriptor is not None:
        return entry.descriptor
    if not entry.flags & zs.FLAG_DESCRIPTOR:
        return b""
    crc, packed, size = numbers(entry)
    return zs.DESCRIPTOR.pack(zs.DESCRIPTOR_SIGNATURE, crc, packed & zs.MAX32, size & zs.MAX32)


def central(entry: Entry, offset: int) -> bytes:
    crc, packed, size = numbers(entry)
    fixed = zs.CENTRAL.pack(
        entry.signature, 0, 0, entry.flags, entry.method, 0, 0, crc, packed, size,
        pick(entry.name_length, len(entry.name)), pick(entry.extra_length, len(entry.extra)), len(entry.comment),
        entry.disk, 0, entry.attributes, pick(entry.offset, offset),
    )  # fmt: skip
    return fixed + entry.name + entry.extra + entry.comment

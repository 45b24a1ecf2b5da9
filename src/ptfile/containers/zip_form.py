"""A small zip file as a form to fill in: in one of a few tensors, nearly all bytes are the same each time.

What `ZipWriter` writes record by record is here laid out once for all files whose records have the same names and
sizes, whatever their root folder is called, as long as its name has as many bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from isal import isal_zlib

from ptfile._types import Buffer
from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_writer import plan

_DESCRIPTOR_CRC = len(zs.DESCRIPTOR_SIGNATURE)
"""Where it stands behind a payload."""


class Slot(NamedTuple):
    """Where the payload of one record goes, and what is known when it is."""

    number: int
    """Of the record in the file."""
    start: int
    end: int
    crc_places: tuple[int, ...]
    """In the descriptor and in the directory; none for a record without bytes, or in a file without checksums."""


class Form(NamedTuple):
    """A file without what is not known yet."""

    blank: bytes
    """All of it, with zeros in place of payloads that are to come, of their checksums and of the root folder's name."""
    roots: tuple[slice, ...]
    """Where that name stands."""
    slots: tuple[Slot, ...]
    """Of the payloads to come, in file order."""
    sizes: tuple[int, ...]
    """Of all records, in bytes."""
    checksums: tuple[int, ...]
    """Of all records; 0 for those to come."""


def plan_form(root_length: int, records: Sequence[tuple[str, int | bytes]], *, alignment: int, checksum: bool) -> Form:
    """Lay out records, each a name without the root folder and its payload, or the size of one that is to come.

    root_length: bytes of the name of the folder around all of them, in ASCII. checksum: without, each CRC is 0. Raises
    ValueError as `plan` does. For files without zip64 records.
    """
    sizes = [len(payload) if isinstance(payload, bytes) else payload for _, payload in records]
    layout = plan(
        "\0" * root_length, [(name, size) for (name, _), size in zip(records, sizes, strict=True)], alignment=alignment
    )
    blank = bytearray(layout.size)
    blank[layout.directory_offset :] = layout.directory + layout.end
    roots: list[slice] = []
    slots: list[Slot] = []
    checksums: list[int] = []
    for number, ((_, payload), record) in enumerate(zip(records, layout.records, strict=True)):
        start, end = record.payload_offset, record.payload_offset + record.size
        entry = layout.directory_offset + record.entry_offset
        blank[record.header_offset : start] = record.header
        names = (record.header_offset + zs.LOCAL.size, entry + zs.CENTRAL.size)
        roots += [slice(at, at + root_length) for at in names]
        places = (end + _DESCRIPTOR_CRC, entry + zs.CENTRAL_CRC) if checksum and record.size else ()
        if record.size:
            blank[end : end + zs.DESCRIPTOR.size] = zs.descriptor(0, record.size, zip64=False)
        crc = 0
        if isinstance(payload, bytes):
            blank[start:end] = payload
            crc = isal_zlib.crc32(payload) if checksum else 0
            for place in places:
                zs.CRC.pack_into(blank, place, crc)
        else:
            slots.append(Slot(number, start, end, places))
        checksums.append(crc)
    return Form(bytes(blank), tuple(roots), tuple(slots), tuple(sizes), tuple(checksums))


def fill(form: Form, root: str, payloads: Iterable[Buffer], checksums: list[int]) -> bytearray:
    """The file.

    payloads: those to come, in file order. checksums: becomes the CRC-32 of each record, with those of payloads as they
    are put in, since the next may depend on them. Raises ValueError unless each payload has as many bytes as planned.
    """
    file = bytearray(form.blank)
    folder = root.encode()
    for name in form.roots:
        file[name] = folder
    checksums[:] = form.checksums
    for slot, payload in zip(form.slots, payloads, strict=True):
        number, start, end, crc_places = slot
        if len(payload) != end - start:
            raise ValueError(f"record {number} was planned with {end - start} bytes and has {len(payload)}")
        file[start:end] = payload
        if crc_places:
            checksums[number] = crc = isal_zlib.crc32(payload)
            for place in crc_places:
                zs.CRC.pack_into(file, place, crc)
    if len(file) != len(form.blank):
        raise ValueError(f"the root folder {root!r} has another length than the one that was planned with")
    return file

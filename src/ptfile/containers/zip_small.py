"""The directory of a small zip file as PyTorch writes it: everything compared with everything in one pass.

Of a file of a few tensors, `zip_directory` and the headers, looked at one by one, take most of the time. Here the whole
file is at hand. It is either just what PyTorch would write for these names, sizes and checksums, or it is left to
those who know all that a zip file may be, and who say what is wrong with it.
"""

from __future__ import annotations

import struct

from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_directory import READ_CENTRAL, Directory, Record
from ptfile.limits import Limits
from ptfile.sources.base import Source
from ptfile.sources.small_file import SMALL

_HEADER = struct.Struct("<26sHH")
"""`zip_structs.LOCAL`: what PyTorch always writes, and the lengths of the name and of the extra field."""
_EMPTY, _FULL = zs.FLAG_UTF8, zs.FLAG_UTF8 | zs.FLAG_DESCRIPTOR
"""The flags of records without and with bytes."""
_STARTS = {flags: zs.local_header(b"", flags, 0)[: _HEADER.size - 4] for flags in (_EMPTY, _FULL)}
"""What local headers begin with, up to these lengths."""


def read_small(source: Source, limits: Limits) -> Directory | None:
    """The directory of a source, with the places of all payloads; None for one that has to be looked at more closely.

    Raises what the source raises.
    """
    if source.size > SMALL:
        return None
    data = bytes(source.read(0, source.size))
    try:
        return _read(data, limits.records)
    except (struct.error, UnicodeDecodeError):
        return None


def _read(data: bytes, most: int) -> Directory | None:
    end = len(data) - zs.END.size
    if data.find(zs.END_SIGNATURE) != end:
        return None
    _, _, _, _, count, length, directory, _ = zs.END.unpack_from(data, end)
    if not 0 < count <= most or data[directory + length :] != zs.end_records(count, length, directory):
        return None
    raw_names, numbers = [], []
    places: dict[int, int] = {}
    at, header = directory, 0
    for _ in range(count):
        entry = READ_CENTRAL.unpack_from(data, at)
        size, name_length = entry[5], entry[6]
        crc, flags = (entry[3], _FULL) if size else (0, _EMPTY)
        if entry != (zs.CENTRAL_SIGNATURE, flags, zs.STORED, crc, size, size, name_length, 0, 0, 0, 0, header):
            return None
        name_at = at + READ_CENTRAL.size
        at = name_at + name_length
        name = data[name_at:at]
        start, local_name_length, extra_length = _HEADER.unpack_from(data, header)
        extra_at = header + _HEADER.size + name_length
        kind, padding = zs.EXTRA.unpack_from(data, extra_at)
        if (
            start != _STARTS[flags]
            or local_name_length != name_length
            or not data.startswith(name, header + _HEADER.size)
            or (kind, padding + zs.EXTRA.size) != (zs.PADDING_EXTRA, extra_length)
        ):
            return None
        raw_names.append(name)
        numbers.append((flags, zs.STORED, crc, size, size, header))
        places[header] = payload = extra_at + extra_length
        header = payload + size + (zs.DESCRIPTOR.size if size else 0)
    names = _checked(raw_names)
    if names is None or (at, header) != (directory + length, directory):
        return None
    records = {name: Record(name, *row) for name, row in zip(names, numbers, strict=True)}
    return Directory(records, directory, tuple(places), places)


def _checked(raw: list[bytes]) -> list[str] | None:
    """The names, if each tool would take them for the same records, and none for a folder."""
    together = b"\n".join(raw).decode("ascii")
    names = together.lower().split("\n")
    odd = "\0" in together or "\\" in together or "" in names or "/\n" in f"{together}\n"
    return together.split("\n") if not odd and len(raw) == len(names) == len(set(names)) else None

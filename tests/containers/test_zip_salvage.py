"""What a broken zip file still says."""

from __future__ import annotations

import struct
import zlib

import pytest

from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_salvage import (
    crc_of,
    described,
    find_header,
    header_at,
    walk,
    zero_run,
    zeros_at_end,
    zeros_at_start,
)
from ptfile.errors import FormatError
from ptfile.sources import MemorySource
from tests.hostile.zip_builder import Entry, Zip

ENTRIES = [Entry(name=b"archive/data.pkl", content=b"pickle"), Entry(name=b"archive/data/0", content=b"12345678" * 10)]


def source(data: bytes) -> MemorySource:
    return MemorySource(data)


def test_a_header_tells_name_and_place() -> None:
    """Sizes are left to the descriptor."""
    data = Zip(ENTRIES).build()
    piece = header_at(source(data), 0)
    assert piece is not None
    assert (piece.name, piece.size, piece.crc) == ("archive/data.pkl", None, None)
    assert data[piece.payloads[0] :].startswith(b"pickle")


def test_a_header_with_sizes_tells_them() -> None:
    """As other tools write them, without descriptors."""
    data = Zip([Entry(content=b"content", flags=0)]).build()
    piece = header_at(source(data), 0)
    assert piece is not None
    assert (piece.size, piece.crc) == (7, zlib.crc32(b"content"))


def test_a_header_with_zip64_sizes_tells_them() -> None:
    """Where the fields are full, the block has the numbers."""
    block = zs.EXTRA.pack(zs.ZIP64_EXTRA, 16) + struct.pack("<2Q", 5 << 32, 5 << 32)
    data = Zip([Entry(flags=0, local_size=zs.MAX32, local_packed=zs.MAX32, local_extra=block)]).build()
    piece = header_at(source(data), 0)
    assert piece is not None
    assert piece.size == 5 << 32


@pytest.mark.parametrize(
    "entry",
    [
        Entry(local_signature=b"PK\3\5"),
        Entry(local_flags=1),
        Entry(local_method=12),
        Entry(local_name=b""),
        Entry(local_name=b"\xff\xfe"),
        Entry(local_name_length=60_000),
        Entry(local_extra_length=60_000),
        Entry(local_extra=b"FB\xff\xff"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_no_header(entry: Entry) -> None:
    """A signature alone turns up by chance."""
    assert header_at(source(Zip([entry]).build()), 0) is None


def test_a_header_at_the_very_end_is_none() -> None:
    """There is no room for it."""
    assert header_at(source(b"PK\3\4" + bytes(20)), 0) is None


def test_the_next_header_is_found_across_the_pieces_of_a_file() -> None:
    """The file is read by the megabyte, and a signature may lie on the edge."""
    header = Zip([ENTRIES[1]]).build()
    for edge in range(6):
        data = bytes((1 << 20) - edge) + header
        piece = find_header(source(data), 0, "archive/")
        assert piece is not None
        assert piece.header == (1 << 20) - edge
    assert find_header(source(data), 0, "other/") is None


def test_records_are_walked_without_a_directory() -> None:
    """From the front, to wherever the file ends."""
    data = Zip(ENTRIES).build()
    end = data.index(b"PK\1\2")
    assert list(walk(source(data[:end]), "archive/", {})) == ["archive/data.pkl", "archive/data/0"]


def test_a_zip_file_inside_a_record_of_known_size_is_passed_over() -> None:
    """Its records have the same names."""
    inner = Zip(ENTRIES).build()
    data = Zip([Entry(name=b"archive/file", content=inner), Entry(name=b"archive/data/0", content=b"outer")]).build()
    found = walk(source(data), "archive/", {"archive/file": len(inner)})
    assert data[found["archive/data/0"].payloads[0] :].startswith(b"outer")


def test_a_descriptor_is_one_if_it_says_the_size() -> None:
    """In 4 bytes or in 8; an empty record has none."""
    content = b"content"
    for zip64 in (False, True):
        data = content + zs.descriptor(zlib.crc32(content), 7, zip64=zip64)
        assert described(source(data), 0, 7) == zlib.crc32(content)
        assert described(source(data), 0, 6) is None
        assert described(source(data[:-1]), 0, 7) is None
    assert described(source(b""), 0, 0) == 0


def test_checksums_are_taken_in_pieces() -> None:
    """Of any run of bytes; beyond the end is an error."""
    data = bytes(range(256)) * 10_000
    assert crc_of(source(data), 100, 2_000_000) == zlib.crc32(data[100:2_000_100])
    with pytest.raises(FormatError):
        crc_of(source(data), 100, len(data))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1024, 2048, (1024, 2048)),
        (1000, 2100, (1024, 2048)),
        (1, 500, None),
        ((1 << 20) - 1024, (1 << 20) + 1024, ((1 << 20) - 1024, (1 << 20) + 1024)),
        ((2 << 20) - 5000, 2 << 20, ((2 << 20) - 4608, 2 << 20)),
    ],
)
def test_the_longest_run_of_zeros_is_found(start: int, end: int, expected: tuple[int, int] | None) -> None:
    """To whole sectors of the file, also across the pieces in which it is read, and at the end."""
    data = bytearray(b"\1" * (2 << 20))
    data[start:end] = bytes(end - start)
    data[700 << 10 : 701 << 10] = bytes(1 << 10) if expected and expected[1] - expected[0] > 1024 else b"\1" * 1024
    assert zero_run(source(bytes(data)), 0, len(data)) == expected


def test_zeros_at_the_ends_are_counted() -> None:
    """Over any number of pieces."""
    assert zeros_at_end(source(b"\1" + bytes(3 << 20))) == 3 << 20
    assert zeros_at_start(source(bytes(3 << 20) + b"\1")) == 3 << 20
    assert zeros_at_end(source(bytes(10))) == zeros_at_start(source(bytes(10))) == 10
    assert zeros_at_end(source(b"")) == 0

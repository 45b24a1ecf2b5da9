"""Every record checked: content, descriptor, serialization id."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

import ptfile
from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_check import check_record, check_serialization_id
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import FormatError
from ptfile.sources import MemorySource
from tests.hostile.zip_builder import Entry, Zip, deflate

CONTENT = b"some content " * 1000
ENTRY = Entry(content=CONTENT)


def check(entry: Entry) -> int:
    """Check the one record of a file. Returns the bytes that were read."""
    reader = ZipReader(MemorySource(Zip([entry]).build()))
    read: list[int] = []
    for record in reader.records.values():
        check_record(reader, reader.source, record, read.append)
    return sum(read)


@pytest.mark.parametrize("entry", [ENTRY, replace(ENTRY, flags=0), replace(ENTRY, content=b"")])
def test_a_right_record_is_read_to_its_end(entry: Entry) -> None:
    """With a descriptor or without, and one that is empty."""
    assert check(entry) == len(entry.content)


def test_a_deflated_record_is_inflated() -> None:
    """What is read of the file is counted, not what comes of it."""
    assert check(replace(ENTRY, method=zs.DEFLATED)) == len(deflate(CONTENT))


@pytest.mark.parametrize("method", [zs.STORED, zs.DEFLATED])
def test_a_wrong_checksum_is_told(method: int) -> None:
    """In a stored record and in one that inflates well."""
    with pytest.raises(FormatError, match="its checksum is"):
        check(replace(ENTRY, method=method, crc=12345))


def test_a_checksum_of_zero_passes() -> None:
    """It was not computed."""
    assert check(replace(ENTRY, crc=0)) == len(CONTENT)


@pytest.mark.parametrize(
    "payload",
    [deflate(CONTENT[:-1]), deflate(CONTENT + b"x"), deflate(CONTENT)[:-3], deflate(CONTENT) + b"x", b"\xff" * 9],
)
def test_a_deflated_record_has_to_inflate_to_its_size(payload: bytes) -> None:
    """Not to less, not to more, and to the end of what is there."""
    with pytest.raises(FormatError):
        check(replace(ENTRY, method=zs.DEFLATED, payload=payload))


@pytest.mark.parametrize("place", range(16))
def test_a_descriptor_that_differs_is_told(place: int) -> None:
    """Loading does not read it; signature, checksum and sizes are held against the directory here."""
    data = bytearray(Zip([ENTRY]).build())
    data[data.index(zs.DESCRIPTOR_SIGNATURE) + place] ^= 1
    reader = ZipReader(MemorySource(bytes(data)))
    (record,) = reader.records.values()
    with pytest.raises(FormatError, match="descriptor"):
        check_record(reader, reader.source, record, lambda _: None)


def saved(*, checksum: bool) -> bytes:
    buffer = io.BytesIO()
    ptfile.save([ptfile.arange(3), ptfile.arange(30)], buffer, checksum=checksum)
    return buffer.getvalue()


@pytest.mark.parametrize("checksum", [True, False])
def test_the_serialization_id_of_a_saved_file_is_right(checksum: bool) -> None:
    """With checksums and without."""
    assert check_serialization_id(ZipReader(MemorySource(saved(checksum=checksum))), "archive/")


def test_a_file_without_an_id_has_none() -> None:
    """As all before PyTorch 2.1."""
    assert not check_serialization_id(ZipReader(MemorySource(Zip([ENTRY]).build())), "archive/")


@pytest.mark.parametrize(("digit", "which"), [(3, "names"), (30, "checksums")])
def test_a_wrong_serialization_id_says_which_half(digit: int, which: str) -> None:
    """The first twenty digits are of the names, the others of the checksums."""
    entries = [Entry(name=b"archive/a"), Entry(name=b"archive/.data/serialization_id", content=b"0" * 40)]
    right = _id_of(entries)
    wrong = right[:digit] + (b"1" if right[digit : digit + 1] == b"0" else b"0") + right[digit + 1 :]
    entries[1] = replace(entries[1], content=wrong)
    with pytest.raises(FormatError, match=f"does not fit the {which}"):
        check_serialization_id(ZipReader(MemorySource(Zip(entries).build())), "archive/")
    entries[1] = replace(entries[1], content=right)
    assert check_serialization_id(ZipReader(MemorySource(Zip(entries).build())), "archive/")


def _id_of(entries: list[Entry]) -> bytes:
    from ptfile.containers.serialization_id import serialization_id

    reader = ZipReader(MemorySource(Zip(entries).build()))
    return serialization_id(["a"], [(reader.records["archive/a"].size, reader.records["archive/a"].crc)])

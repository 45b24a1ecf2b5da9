"""The one pass over a small zip file finds what the plain way finds, or nothing."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ptfile.containers.zip_reader
from ptfile.containers.zip_directory import Directory, read_directory
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_small import read_small
from ptfile.limits import Limits
from ptfile.sources import MemorySource
from ptfile.sources.small_file import SMALL
from tests.containers.test_zip_reader import FILES, written

CONTENTS = {
    "data.pkl": b"pickle",
    ".format_version": b"1",
    "data/0": bytes(range(40)),
    "data/1": b"",
    "version": b"3\n",
}


def small(content: bytes, limits: Limits | None = None) -> Directory | None:
    return read_small(MemorySource(content), limits or Limits())


def plain(content: bytes) -> tuple[Any, ...]:
    """What the plain way says of the same file: records, the directory's offset, headers, and places one by one."""
    source = MemorySource(content)
    found = read_directory(source, Limits())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ptfile.containers.zip_reader, "read_small", lambda *_: None)
        reader = ZipReader(source)
    assert not reader.is_compared
    places = {record.header_offset: reader.locate(record) for record in reader.records.values()}
    return dict(found.records), found.offset, found.header_offsets, places


def check(content: bytes) -> bool:
    """Whether there is an answer; it has to be the plain one, down to the order of the records."""
    found = small(content)
    if found is not None:
        expected = plain(content)
        assert (found.records, found.offset, found.header_offsets, found.places) == expected
        assert list(found.records) == list(expected[0])
    return found is not None


def test_what_torch_writes_is_read_in_one_pass() -> None:
    """Files of all its versions; not what other programs zip, or where it deflates."""
    left = {path.name for path in FILES if path.stat().st_size <= SMALL and not check(path.read_bytes())}

    assert left == {"export.pt2", "jit_lite.ptl"}


def test_what_ptfile_writes_is_read_in_one_pass() -> None:
    """Records with bytes and without."""
    assert check(written(CONTENTS))
    assert check(written(CONTENTS, checksum=False))


def test_other_programs_files_are_left_to_the_plain_way(tmp_path: Path) -> None:
    """Python's zipfile writes versions, times and sizes."""
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"pickle")

    assert not check(path.read_bytes())


@pytest.mark.parametrize("names", [["a", "A"], ["a", "a"], ["a\\b"], ["a\0"], ["a/"], ["ä"]])
def test_odd_names_are_left_to_the_plain_way(names: list[str]) -> None:
    """It knows which of them are errors."""
    stand_ins = [f"{name[:-1]}{chr(ord('0') + number)}" for number, name in enumerate(names)]
    content = written(dict.fromkeys(stand_ins, b"some"))
    for name, stand_in in zip(names, stand_ins, strict=True):
        if name.isascii():
            content = content.replace(f"archive/{stand_in}".encode(), f"archive/{name}".encode())
        else:
            content = written({name: b"some"})

    assert small(content) is None


def test_a_name_of_two_lines_is_left_to_the_plain_way() -> None:
    """Also where one of the lines is the name of another record: there are as many different lines as records."""
    content = written({"a": b"some", "b_archive/a": b"some"}).replace(b"b_archive/a", b"b\narchive/a")

    assert small(content) is None
    assert ZipReader(MemorySource(content)).records.keys() == {"archive/a", "archive/b\narchive/a"}


def test_bytes_in_front_between_and_behind_are_left_to_the_plain_way() -> None:
    """There is no room for a byte that nobody accounts for."""
    content = written(CONTENTS)
    at = content.index(b"PK\x03\x04", 1)

    assert small(b"x" + content) is None
    assert small(content[:at] + b"x" + content[at:]) is None
    assert small(content + b"x") is None


def test_a_file_of_more_records_than_the_limits_allow_is_left_to_the_plain_way() -> None:
    """It raises the error."""
    content = written(CONTENTS)

    assert small(content, Limits(records=len(CONTENTS))) is not None
    assert small(content, Limits(records=len(CONTENTS) - 1)) is None


def test_a_large_file_is_not_read() -> None:
    """Not even to see whether it could be."""
    content = written({"data.pkl": b"pickle", "data/0": bytes(SMALL)})

    assert small(content) is None


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_makes_a_different_story(bit: int) -> None:
    """Every bit of a file: the one pass has no answer, or the plain one."""
    content = written(CONTENTS)
    answers = 0
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << bit
        answers += check(bytes(damaged))
    assert answers  # damage to a payload is found by its checksum


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_makes_a_different_story(data: st.DataObject) -> None:
    """Bytes overwritten, cut out and put in."""
    content = bytearray(written(CONTENTS))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 20))
        content[at : at + length] = data.draw(st.binary(max_size=20))
    check(bytes(content))

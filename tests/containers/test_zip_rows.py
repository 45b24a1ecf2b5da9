"""Contents of many records at once: those of records read one by one, or none."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptfile.containers.zip_directory import Record
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_writer import ZipWriter, plan
from ptfile.errors import FormatError
from ptfile.sinks import open_sink
from ptfile.sources.local import LocalSource


def contents(sizes: list[int]) -> list[bytes]:
    chance = random.Random(0)
    return [chance.randbytes(size) for size in sizes]


def written(path: Path, payloads: list[bytes], *, checksum: bool = True) -> None:
    sink = open_sink(path)
    layout = plan("archive", [(f"data/{number}", len(payload)) for number, payload in enumerate(payloads)])
    with sink:
        writer = ZipWriter(sink, layout, checksum=checksum)
        for payload in payloads:
            writer.write(payload)
        writer.finish()


def rows_of(path: Path, chosen: slice | list[int] = slice(None)) -> list[Any]:
    """What is read together, which is compared with what is read one by one."""
    with LocalSource(path) as source:
        reader = ZipReader(source)
        records = list(reader.records.values())
        wanted = records[chosen] if isinstance(chosen, slice) else [records[number] for number in chosen]
        rows = list(reader.read_rows(wanted))
        for record, row in zip(wanted, rows, strict=True):
            if row is not None:
                assert row.tobytes() == bytes(reader.read(record))
        return rows


SIZES = {
    "of one size": [64] * 500,
    "of odd sizes": [number % 7 + 1 for number in range(500)],
    "weights and biases": [64, 12] * 300,
    "in more than one read": [4_096] * 2_500,
    "more than are looked at together": [4] * 9_000,
}


@pytest.mark.parametrize("case", SIZES)
def test_many_small_records_are_read_together(case: str, tmp_path: Path) -> None:
    """All of them."""
    payloads = contents(SIZES[case])
    written(tmp_path / "a.pt", payloads)
    assert [row is not None and row.tobytes() for row in rows_of(tmp_path / "a.pt")] == payloads


def test_what_is_large_or_empty_or_alone_is_left(tmp_path: Path) -> None:
    """To be read one by one."""
    sizes = [64] * 20 + [5_000] + [64] * 3 + [5_000] + [64, 0] * 10 + [64] * 400
    written(tmp_path / "a.pt", contents(sizes))
    rows = rows_of(tmp_path / "a.pt")
    assert all(row is not None for row in rows[:20])
    assert all(row is None for row in rows[20:25])
    assert [row is not None for row in rows[25:]] == [size > 0 for size in sizes[25:]]


def test_records_that_are_left_out_are_not_in_the_way(tmp_path: Path) -> None:
    """Only some storages may have been asked for."""
    written(tmp_path / "a.pt", contents([64] * 400))
    chosen = [*range(5, 100), *range(120, 130), 140, 142, 144, *range(200, 399)]
    rows = rows_of(tmp_path / "a.pt", chosen)
    assert [row is not None for row in rows] == [number not in (140, 142, 144) for number in chosen]


def test_arrays_can_be_written_to_and_share_no_byte(tmp_path: Path) -> None:
    """Each begins at a multiple of 16, as small memory does."""
    written(tmp_path / "a.pt", contents([12] * 1_000))
    rows = rows_of(tmp_path / "a.pt")
    before = [row.tobytes() for row in rows]
    rows[50][:] = 0
    assert [row.tobytes() for row in rows] == [*before[:50], bytes(12), *before[51:]]
    assert {row.ctypes.data % 16 for row in rows} == {0}


def test_an_array_keeps_no_more_than_a_few_others_in_memory(tmp_path: Path) -> None:
    """Who keeps one tensor of very many has not got the bytes of all."""
    written(tmp_path / "a.pt", contents([1_024] * 1_000))
    row = rows_of(tmp_path / "a.pt")[500]
    while row.base is not None:
        row = row.base
    assert row.nbytes <= 64 << 10


def place_of(path: Path, number: int) -> tuple[Record, int]:
    with LocalSource(path) as source:
        reader = ZipReader(source)
        record = reader.records[f"archive/data/{number}"]
        return record, reader.locate(record)


def changed(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_each_changed_byte_is_seen(tmp_path: Path) -> None:
    """Of the header or of the content: the record is left to those who say what is wrong. The others are read."""
    path = tmp_path / "a.pt"
    written(path, contents([12] * 560))
    record, place = place_of(path, 50)
    original = path.read_bytes()
    for at in range(record.header_offset, place + record.size):
        path.write_bytes(original)
        changed(path, at)
        with LocalSource(path) as source:
            reader = ZipReader(source)
            rows = reader.read_rows(list(reader.records.values()))
            assert sum(row is None for row in rows) == (rows[50] is None)
            try:
                right = bytes(reader.read(record))
            except FormatError:
                assert rows[50] is None, at - record.header_offset
            else:
                assert rows[50] is None or rows[50].tobytes() == right


def test_a_checksum_of_0_was_not_computed(tmp_path: Path) -> None:
    """Such a record is read, changed or not."""
    path = tmp_path / "a.pt"
    written(path, contents([64] * 1_000), checksum=False)
    changed(path, place_of(path, 50)[1])
    assert all(row is not None for row in rows_of(path))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_of_other_programs_are_read_one_by_one(compression: int, tmp_path: Path) -> None:
    """Also where there are folders among the records."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for number in range(200):
            if number % 20 == 0:
                file.writestr(zipfile.ZipInfo(f"archive/folder{number}/"), b"")
            file.writestr(f"archive/{number}", np.full(64, number, np.uint8).tobytes())
    (tmp_path / "a.pt").write_bytes(buffer.getvalue())
    assert rows_of(tmp_path / "a.pt") == [None] * 200


def test_no_records_are_no_rows(tmp_path: Path) -> None:
    """Nothing is read."""
    written(tmp_path / "a.pt", contents([64] * 400))
    assert rows_of(tmp_path / "a.pt", []) == []

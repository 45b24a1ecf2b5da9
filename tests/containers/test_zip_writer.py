"""The writer against bytes that PyTorch 2.13 wrote, past 4 GiB too, and its plan on its own."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile._types import Buffer
from ptfile.containers import zip_structs as zs
from ptfile.containers.serialization_id import LENGTH, serialization_id
from ptfile.containers.zip_writer import Layout, ZipWriter, plan
from ptfile.sinks import StreamSink

if TYPE_CHECKING:
    from typing_extensions import Self

GOLDEN = Path(__file__).parent.parent / "golden" / "zip"
ZIP64 = json.loads((GOLDEN / "zip64.json").read_text())
ZEROS = memoryview(bytes(64 << 20))


class SmallWrites:
    """A sink that keeps headers and small payloads and counts the bytes of large ones: it holds no file of 4 GiB."""

    name = "SmallWrites"

    def __init__(self) -> None:
        self.size = 0
        self.pieces: list[tuple[int, bytearray]] = []

    def expect(self, size: int) -> None:
        pass

    def write(self, data: Buffer) -> None:
        length = memoryview(data).nbytes
        if length < 64 << 10 or not isinstance(data, memoryview):
            if self.pieces and self.pieces[-1][0] + len(self.pieces[-1][1]) == self.size:
                self.pieces[-1][1].extend(data)
            else:
                self.pieces.append((self.size, bytearray(data)))
        self.size += length

    def skip(self, length: int) -> None:
        self.size += length

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...


def zeros(size: int) -> Iterator[memoryview]:
    for start in range(0, size, len(ZEROS)):
        yield ZEROS[: size - start]


def lay_out(case: dict[str, Any]) -> Layout:
    closing = [("version", 2), ("byteorder", 6), (".data/serialization_id", LENGTH)]
    return plan("archive", [*map(tuple, case["records"]), *closing], alignment=case["alignment"])


def case_name(case: dict[str, Any]) -> str:
    return f"{case['records'][0][1]}+{case['records'][1][1]}-aligned-{case['alignment']}"


@pytest.mark.parametrize("case", ZIP64, ids=case_name)
def test_files_past_4_gib_are_pytorchs(case: dict[str, Any]) -> None:
    """Sizes and header offsets at 2**32 - 1 and on both sides: every header, descriptor and end, byte for byte."""
    layout = lay_out(case)
    sink = SmallWrites()
    writer = ZipWriter(sink, layout, checksum=case["checksum"])
    for _, size in case["records"]:
        writer.write_pieces(zeros(size))
    writer.write(b"3\n")
    writer.write(b"little")
    names = [record.name.removeprefix("archive/") for record in layout.records[:-1]]
    writer.write(
        serialization_id(names, zip([record.size for record in layout.records], writer.checksums, strict=False))
    )
    writer.finish()

    assert [[at, piece.hex()] for at, piece in sink.pieces] == case["pieces"]
    assert case["size"] == sink.size == layout.size


@pytest.mark.parametrize(
    "path", ["alignment_1.pt", "alignment_16.pt", "alignment_256.pt", "alignment_4096.pt", "crc32_off.pt"]
)
def test_files_of_every_option_are_pytorchs(path: str) -> None:
    """Written again from their records, files of each alignment and of no checksum come out the same."""
    content = (GOLDEN / path).read_bytes()
    checksum = path != "crc32_off.pt"
    with zipfile.ZipFile(GOLDEN / path) as reference:
        infos = reference.infolist()
    root = infos[0].filename.partition("/")[0]
    names = [info.filename.partition("/")[2] for info in infos]
    sizes = [info.file_size for info in infos]
    alignment = int(path.removesuffix(".pt").removeprefix("alignment_")) if checksum else 64
    layout = plan(root, list(zip(names, sizes, strict=True)), alignment=alignment)
    file = io.BytesIO()
    writer = ZipWriter(StreamSink(file), layout, checksum=checksum)
    for record in layout.records[:-1]:
        writer.write(content[record.payload_offset :][: record.size])
    writer.write(serialization_id(names[:-1], zip(sizes, writer.checksums, strict=False)))
    writer.finish()

    assert file.getvalue() == content


def test_more_than_65535_records_are_pytorchs() -> None:
    """The end record's count is full, and the zip64 end has the number."""
    layout = plan("archive", [(f"d/{index}", 0) for index in range(70_000)])
    sink = SmallWrites()
    writer = ZipWriter(sink, layout)
    for _ in layout.records:
        writer.write(b"")
    writer.finish()
    end, _ = zs.unpack_end(sink.pieces[-1][1], -zs.END.size)
    end64, _ = zs.unpack_end64(sink.pieces[-1][1], -zs.END.size - zs.LOCATOR.size - zs.END64.size)

    assert (end.records_here, end.records, end64.records_here, end64.records) == (0xFFFF, 0xFFFF, 70_000, 70_000)


names = st.lists(st.text("abc/é模.", min_size=1, max_size=30), max_size=20, unique=True)


@given(names, st.data(), st.sampled_from([1, 2, 16, 64, 256, 4096]))
def test_a_plan_is_what_is_written(names: list[str], data: st.DataObject, alignment: int) -> None:
    """Every offset, and the size of the whole; Python's zipfile reads the records back."""
    contents = [data.draw(st.binary(max_size=200)) for _ in names]
    layout = plan(
        "root", [(name, len(content)) for name, content in zip(names, contents, strict=True)], alignment=alignment
    )
    file = io.BytesIO()
    writer = ZipWriter(StreamSink(file), layout)
    for content in contents:
        writer.write(content)
    writer.finish()
    written = file.getvalue()

    assert len(written) == layout.size
    for record, content in zip(layout.records, contents, strict=True):
        assert record.payload_offset % alignment == 0
        assert written[record.header_offset :].startswith(zs.LOCAL_SIGNATURE)
        assert written[record.payload_offset :].startswith(content)
    with zipfile.ZipFile(file) as reference:
        assert {f"root/{name}": content for name, content in zip(names, contents, strict=True)} == {
            info.filename: reference.read(info) for info in reference.infolist()
        }
    assert writer.checksums == tuple(map(zlib.crc32, contents))


@given(st.lists(st.integers(0, 1 << 40), max_size=30), st.sampled_from([1, 64, 4096]))
def test_planned_records_follow_each_other(sizes: list[int], alignment: int) -> None:
    """No overlap and no gap, at any size: what PyTorch's numbers would be, in a file too large to write."""
    layout = plan("archive", [(f"data/{key}", size) for key, size in enumerate(sizes)], alignment=alignment)
    offset = 0
    for record in layout.records:
        assert record.header_offset == offset
        assert record.payload_offset % alignment == 0
        assert record.payload_offset == offset + len(record.header)
        descriptor = len(zs.descriptor(0, record.size, zip64=record.zip64)) if record.size else 0
        offset = record.payload_offset + record.size + descriptor
    assert layout.directory_offset == offset


@pytest.mark.parametrize("payload", [b"12", b"1234"])
def test_a_payload_of_another_size_is_refused(payload: bytes) -> None:
    """The headers behind it would be wrong."""
    writer = ZipWriter(SmallWrites(), plan("archive", [("a", 3)]))
    with pytest.raises(ValueError, match="planned with 3 bytes"):
        writer.write(payload)


def test_one_payload_too_many_is_refused() -> None:
    """The layout is full."""
    writer = ZipWriter(SmallWrites(), plan("archive", []))
    with pytest.raises(ValueError, match="every record"):
        writer.write(b"")


def test_finishing_early_is_refused() -> None:
    """The error names the record that is still to come."""
    with pytest.raises(ValueError, match="archive/a"):
        ZipWriter(SmallWrites(), plan("archive", [("a", 3)])).finish()


@pytest.mark.parametrize(
    ("records", "alignment"),
    [([("a", 1), ("a", 2)], 64), ([("a" * 65_529, 1)], 64), ([("a", -1)], 64), ([("a", 1)], 0), ([("a", 1)] , 1 << 17)],
    ids=["doubled name", "long name", "negative size", "no alignment", "huge alignment"],
)  # fmt: skip
def test_what_no_zip_file_can_say_is_refused(records: list[tuple[str, int]], alignment: int) -> None:
    """Before a byte is written."""
    with pytest.raises(ValueError):
        plan("archive", records, alignment=alignment)


def test_small_payloads_are_gathered() -> None:
    """Ten thousand small records take a handful of writes."""
    writes: list[int] = []

    class Counting(SmallWrites):
        def write(self, data: Buffer) -> None:
            writes.append(len(data))

    layout = plan("archive", [(f"data/{key}", 4) for key in range(10_000)])
    writer = ZipWriter(Counting(), layout)
    for _ in layout.records:
        writer.write(b"abcd")
    writer.finish()

    assert len(writes) <= 4
    assert sum(writes) == layout.size


def test_a_large_payload_is_not_copied() -> None:
    """The sink gets views of it."""
    payload = bytes(3 << 20)
    seen: list[object] = []

    class Looking(SmallWrites):
        def write(self, data: Buffer) -> None:
            seen.append(getattr(data, "obj", None))

    writer = ZipWriter(Looking(), plan("archive", [("data/0", len(payload))]))
    writer.write(payload)

    assert any(owner is payload for owner in seen)

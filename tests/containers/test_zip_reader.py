"""Every honest zip file opens; every file that tells two stories does not."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_directory import Record
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_writer import ZipWriter, plan
from ptfile.errors import FormatError, LimitError, PtfileError
from ptfile.limits import Limits
from ptfile.sinks import StreamSink
from ptfile.sources import FileObjectSource, LocalSource, MappedSource, MemorySource
from tests.hostile.zip_builder import Entry, Zip

if TYPE_CHECKING:
    from typing_extensions import Self

GOLDEN = Path(__file__).parent.parent / "golden" / "zip"
FILES = sorted(GOLDEN.glob("*.p*"))


def reader(content: bytes, limits: Limits | None = None) -> ZipReader:
    return ZipReader(MemorySource(content, "some.pt"), limits)


def through_a_file(content: bytes) -> ZipReader:
    return ZipReader(FileObjectSource(io.BytesIO(content)))


def read_all(content: bytes, limits: Limits | None = None) -> dict[str, bytes]:
    """All records through memory, after checking that a file and `read_into` give the same."""
    opened = reader(content, limits)
    records = {name: bytes(opened.read(record)) for name, record in opened.records.items()}
    other = through_a_file(content)
    for name, record in other.records.items():
        target = bytearray(record.size)
        other.read_into(record, memoryview(target))
        assert records[name] == bytes(other.read(record)) == bytes(target)
    return records


def _put(file: BinaryIO, at: int, byte: int) -> None:
    file.seek(at)
    file.write(bytes([byte]))
    file.flush()


def written(contents: dict[str, bytes], *, checksum: bool = True) -> bytes:
    """A file of ptfile's own writer."""
    file = io.BytesIO()
    layout = plan("archive", [(name, len(content)) for name, content in contents.items()])
    writer = ZipWriter(StreamSink(file), layout, checksum=checksum)
    for content in contents.values():
        writer.write(content)
    writer.finish()
    return file.getvalue()


class Holes(StreamSink):
    """A sink that leaves room as a hole in a file."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._holes = file

    def skip(self, length: int) -> None:
        self._holes.seek(length, io.SEEK_CUR)


def write_with_a_hole(path: Path, hole: int) -> None:
    """A file of ptfile's own writer with as many bytes that are left out, and two small records behind them."""
    layout = plan("archive", [("hole", hole), ("one", 100), ("two", 100)])
    with path.open("wb") as file:
        writer = ZipWriter(Holes(file), layout)
        writer.reserve()
        writer.write(b"1" * 100)
        writer.write(b"2" * 100)
        writer.finish()


class TestHonestFiles:
    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_what_torch_wrote_is_read(self, path: Path) -> None:
        """From 1.4 to 2.13, TorchScript, packages, with and without checksums and deflate."""
        content = path.read_bytes()
        with zipfile.ZipFile(path) as reference:
            for info in reference.infolist():
                info.CRC = info.CRC or zlib.crc32(read_all(content)[info.filename])
            expected = {info.filename: reference.read(info) for info in reference.infolist()}

        assert read_all(content) == expected
        assert list(reader(content).records) == list(expected)

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_a_mapped_file_has_its_records_where_they_are(self, path: Path) -> None:
        """Its headers are looked at side by side, with the same answers as one by one."""
        with LocalSource(path) as file, MappedSource(path) as mapped:
            one_by_one, together = ZipReader(file), ZipReader(mapped)
            places = [one_by_one.locate(record) for record in one_by_one.records.values()]

            assert [together.locate(record) for record in together.records.values()] == places

    @pytest.mark.parametrize("hole", [70_000, 5 << 30])
    def test_of_a_mapped_file_the_same_headers_are_refused(self, tmp_path: Path, hole: int) -> None:
        """Whichever byte of one is changed, behind 4 GiB too; the record before it is found all the same."""
        path = tmp_path / "changed.pt"
        write_with_a_hole(path, hole)
        with LocalSource(path) as unchanged:
            honest = ZipReader(unchanged)
            _, one, two = honest.records.values()
            places = honest.locate(one), honest.locate(two)
        refused: dict[bool, list[int]] = {True: [], False: []}
        with path.open("r+b") as file:
            for at in range(two.header_offset, places[1]):
                file.seek(at)
                byte = file.read(1)[0]
                _put(file, at, byte ^ 0x55)
                for source in (MappedSource(path), LocalSource(path)):
                    with source:
                        opened = ZipReader(source)
                        assert opened.locate(one) == places[0]
                        try:
                            opened.locate(two)
                        except FormatError:
                            refused[isinstance(source, MappedSource)].append(at - two.header_offset)
                _put(file, at, byte)

        assert refused[True] == refused[False]
        assert len(refused[True]) > 30

    @pytest.mark.parametrize("hole", [70_000, 5 << 30])
    def test_headers_of_a_mapped_file_are_looked_at_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hole: int
    ) -> None:
        """None by itself: of many tensors that would take longer than all the rest."""
        path = tmp_path / "large.pt"
        write_with_a_hole(path, hole)
        with MappedSource(path) as source:
            opened = ZipReader(source)
            _, *records = opened.records.values()
            opened.locate(records[0])
            monkeypatch.setattr(LocalSource, "read", None)  # nothing more is read

            assert [opened.locate(record) > record.header_offset for record in records] == [True, True]

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    @pytest.mark.parametrize("wide", [False, True])
    @pytest.mark.parametrize("seekable", [False, True])
    def test_what_pythons_zipfile_wrote_is_read(self, method: int, wide: bool, seekable: bool) -> None:
        """Stored and deflated, with zip64 and without, with descriptors and without."""
        file = io.BytesIO()
        if not seekable:
            file.seekable = lambda: False  # type: ignore[method-assign]
            file.tell = raise_unsupported  # type: ignore[method-assign]
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, content in (("a/data.pkl", b"x" * 3_000_000), ("a/é", b""), ("a/data/0", os.urandom(5000))):
                with archive.open(name, "w", force_zip64=wide) as member:
                    member.write(content)
        content = file.getvalue()

        assert read_all(content)["a/data.pkl"] == b"x" * 3_000_000
        assert list(reader(content).records) == ["a/data.pkl", "a/é", "a/data/0"]

    def test_folders_and_comments_of_other_tools_are_passed_over(self) -> None:
        """`zip -r` lists folders; some tools leave a comment, and times in extra fields."""
        times = struct.pack("<HHBI", 0x5455, 5, 1, 0)
        entries = [
            Entry(b"archive/", b"", flags=0),
            Entry(b"archive/data.pkl", extra=times, local_extra=times, comment=b"hello"),
        ]
        opened = reader(Zip(entries, comment=b"made by a tool", zip64=False).build())

        assert list(opened.records) == ["archive/data.pkl"]
        assert opened.root == "archive"

    @pytest.mark.parametrize("form", range(4))
    def test_descriptors_of_any_form_are_read(self, form: int) -> None:
        """With a signature or without, with 4-byte sizes or 8-byte ones."""
        descriptor = zs.descriptor_forms(zlib.crc32(b"content"), 7, 7)[form]
        content = Zip([Entry(descriptor=descriptor), Entry(b"archive/b")]).build()

        assert read_all(content)["archive/data.pkl"] == b"content"

    def test_names_without_the_utf8_flag_are_cp437(self) -> None:
        """APPNOTE appendix D."""
        assert list(read_all(Zip([Entry(b"archive/\x82", flags=0)]).build())) == ["archive/é"]

    def test_the_directory_may_be_in_another_order(self) -> None:
        """Records come in the order of their bytes, which is the order to read them in."""
        first, second = Entry(b"archive/a"), Entry(b"archive/b")
        content = Zip([first, second]).build()
        size = zs.CENTRAL.size + len(b"archive/a")
        at = content.index(zs.CENTRAL_SIGNATURE)
        swapped = content[:at] + content[at + size : at + 2 * size] + content[at : at + size] + content[at + 2 * size :]

        assert list(reader(swapped).records) == ["archive/a", "archive/b"]

    def test_a_checksum_of_0_passes(self) -> None:
        """The file was written with the checksum off, or with skip_data."""
        assert read_all(written({"data/0": b"content"}, checksum=False)) == {"archive/data/0": b"content"}

    def test_an_empty_zip_has_no_records_and_no_root(self) -> None:
        """It is a zip file, and no checkpoint."""
        for content in (Zip().build(), Zip(zip64=False).build()):
            assert len(reader(content).records) == 0
            with pytest.raises(FormatError, match="folder"):
                _ = reader(content).root

    def test_a_record_is_found_by_its_name_inside_the_root(self) -> None:
        """And what is not there is None."""
        opened = reader(written({"data.pkl": b"abc"}))

        assert opened.record("data.pkl") == Record("archive/data.pkl", 0x808, 0, zlib.crc32(b"abc"), 3, 3, 0)
        assert opened.record("data/0") is None

    def test_memory_is_viewed_not_copied(self) -> None:
        """A stored record of a mapping costs no memory."""
        content = written({"data/0": b"content"})
        view = reader(content).read(reader(content).records["archive/data/0"])

        assert isinstance(view, memoryview)
        assert view.obj is content

    @pytest.mark.parametrize(
        "case", json.loads((GOLDEN / "zip64.json").read_text()), ids=lambda case: str(case["records"])
    )
    def test_files_past_4_gib_are_read(self, case: dict[str, Any]) -> None:
        """Every record is located where PyTorch put it, by its size and offset of 8 bytes."""
        opened = ZipReader(Sparse(case["size"], [(at, bytes.fromhex(piece)) for at, piece in case["pieces"]]))
        sizes = {name.removeprefix("archive/"): record.size for name, record in opened.records.items()}
        offsets = [opened.locate(record) for record in opened.records.values()]

        assert [sizes[name] for name, _ in case["records"]] == [size for _, size in case["records"]]
        assert all(offset % case["alignment"] == 0 for offset in offsets)
        assert bytes(opened.read(opened.records["archive/version"])) == b"3\n"


def raise_unsupported() -> int:
    raise io.UnsupportedOperation


class Sparse:
    """A source of zeros with pieces in it."""

    name = "sparse"

    def __init__(self, size: int, pieces: list[tuple[int, bytes]]) -> None:
        self.size = size
        self.pieces = pieces

    def read(self, offset: int, length: int) -> bytes:
        target = bytearray(length)
        self.read_into(offset, memoryview(target))
        return bytes(target)

    def read_into(self, offset: int, target: memoryview) -> None:
        for at, piece in self.pieces:
            start, end = max(at, offset), min(at + len(piece), offset + target.nbytes)
            if start < end:
                target[start - offset : end - offset] = piece[start - at : end - at]

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...


A, B = b"archive/a", b"archive/b"


def two(**knobs: Any) -> Zip:
    """Two records, the first of which lies."""
    return Zip([Entry(**{"name": A, **knobs}), Entry(B)])


def cut_out(content: bytes, start: int, length: int) -> bytes:
    return content[:start] + content[start + length :]


class TestLies:
    """What a file that lies in one place comes to is in `tests/hostile/cases_zip.py`."""

    def test_the_builders_files_are_honest_without_a_knob(self) -> None:
        """So it is the knob that makes each of the lies fail."""
        for zip64 in (False, True):
            content = Zip([Entry(A), Entry(B, method=8), Entry(b"archive/c", b"", flags=0)], zip64=zip64).build()

            assert read_all(content) == {"archive/a": b"content", "archive/b": b"content", "archive/c": b""}

    def test_zip64_blocks_that_tell_the_truth_are_read(self) -> None:
        """Sizes and offset of a small record in 8 bytes each, as some writers do it."""
        extra = struct.pack("<HHQQQ", zs.ZIP64_EXTRA, 24, 7, 7, 0)
        wide = two(size=zs.MAX32, packed=zs.MAX32, offset=zs.MAX32, extra=extra).build()

        assert read_all(wide)["archive/a"] == b"content"

    @pytest.mark.parametrize("names", [[b"a"], [b"x/a", b"y/a"], [b"archive/a", b"b"]])
    def test_two_roots_and_no_root_are_refused_where_a_root_is_needed(self, names: list[bytes]) -> None:
        """The records can be read by their full names all the same: an exported program has no root."""
        content = Zip([Entry(name) for name in names]).build()
        assert len(read_all(content)) == len(names)
        with pytest.raises(FormatError, match="folder"):
            reader(content).record("a")

    def test_an_error_names_the_record_without_its_root(self) -> None:
        """As people know it."""
        opened = reader(two(crc=1).build())
        with pytest.raises(FormatError, match="checksum") as caught:
            opened.read(opened.records["archive/a"])

        assert (caught.value.file, caught.value.record) == ("some.pt", "a")

    def test_a_bomb_is_refused_before_it_is_inflated(self) -> None:
        """More than 64 MiB and more than 200 times as large: it would take the memory of the machine."""
        bomb = two(method=8, content=bytes(65 << 20)).build()
        opened = reader(bomb)
        with pytest.raises(LimitError) as caught:
            opened.read(opened.records["archive/a"])

        assert (caught.value.limit, caught.value.allowed, caught.value.actual) == ("inflated", 64 << 20, 65 << 20)
        with pytest.raises(LimitError):
            opened.read_into(opened.records["archive/a"], memoryview(bytearray(65 << 20)))

    def test_a_bomb_that_states_a_small_size_is_stopped(self) -> None:
        """Inflating ends one byte behind the size stated."""
        started = time.perf_counter()
        opened = reader(two(method=8, content=bytes(50 << 20), size=10).build())
        with pytest.raises(FormatError, match="more than its 10 bytes"):
            opened.read(opened.records["archive/a"])

        assert time.perf_counter() - started < 5

    def test_what_the_limits_allow_is_inflated(self) -> None:
        """Both limits have to be passed for an error."""
        content = two(method=8, content=bytes(1 << 20)).build()

        assert len(read_all(content, Limits(inflated=1 << 20, inflate_ratio=1))["archive/a"]) == 1 << 20
        assert len(read_all(content, Limits(inflated=1, inflate_ratio=2000))["archive/a"]) == 1 << 20

    def test_more_records_than_allowed_are_a_limit(self) -> None:
        """Counted before the directory is read."""
        with pytest.raises(LimitError) as caught:
            reader(Zip([Entry(A), Entry(B)]).build(), Limits(records=1))

        assert (caught.value.limit, caught.value.actual) == ("records", 2)

    def test_a_target_of_another_size_is_the_callers_mistake(self) -> None:
        """Not the file's."""
        opened = reader(two().build())
        with pytest.raises(ValueError, match="has 7 bytes, the target 6") as caught:
            opened.read_into(opened.records["archive/a"], memoryview(bytearray(6)))

        assert not isinstance(caught.value, PtfileError)

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_a_truncated_file_is_cut_off(self, path: Path) -> None:
        """At every tenth of it: an error that says how many bytes there are."""
        content = path.read_bytes()
        for tenth in range(1, 10):
            cut = content[: len(content) * tenth // 10]
            with pytest.raises(FormatError, match=f"cut off.*{len(cut)} bytes are there"):
                reader(cut)

    def test_a_hole_in_a_file_says_how_much_is_missing(self) -> None:
        """The end is there, and says how long the file was."""
        with pytest.raises(FormatError, match="cut off: 1000 bytes are missing"):
            reader(cut_out(written({"data/0": bytes(5000)}), 2000, 1000))

    def test_sixty_thousand_empty_records_take_under_a_second(self) -> None:
        """To open, list and read, in time of the processor: others may be using it."""
        content = written({f"data/{key}": b"" for key in range(60_000)})
        started = time.process_time()
        opened = through_a_file(content)
        assert sum(len(opened.read(record)) for record in opened.records.values()) == 0
        assert time.process_time() - started < 1


GOLDEN_FILE = (GOLDEN / "alignment_16.pt").read_bytes()
WHOLE = read_all(GOLDEN_FILE)


def outcome(content: bytes) -> dict[str, bytes] | None:
    """What a file holds, or None for an error of ptfile's own; any other escapes."""
    try:
        return read_all(content)
    except PtfileError:
        return None


@pytest.mark.parametrize("bit", range(8))
def test_any_flipped_bit_is_an_error_or_changes_nothing(bit: int) -> None:
    """Every bit of a file that PyTorch wrote."""
    for at in range(len(GOLDEN_FILE)):
        damaged = bytearray(GOLDEN_FILE)
        damaged[at] ^= 1 << bit
        assert outcome(bytes(damaged)) in (None, WHOLE), f"byte {at}"


@settings(max_examples=300)
@given(st.data())
def test_no_damage_makes_it_fail_otherwise(data: st.DataObject) -> None:
    """Bytes overwritten, cut out and put in, in files of several kinds."""
    content = bytearray(data.draw(st.sampled_from(FILES)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # The end, where the numbers are, is hit as often as all the rest.
        at = data.draw(st.integers(0, len(content)) | st.integers(max(0, len(content) - 400), len(content)))
        length = data.draw(st.integers(0, 20))
        content[at : at + length] = data.draw(st.binary(max_size=20))
    outcome(bytes(content))


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail_otherwise(content: bytes) -> None:
    """Also behind the beginning of a zip, and before its end."""
    outcome(content)
    outcome(b"PK\3\4" + content + zs.end_records(1, len(content), 4))
    outcome(content + zs.end_records(1, len(content), 0))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_record_is_checked_without_being_kept(method: int) -> None:
    """Damage anywhere in it is an error that says where."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        file.writestr("a/x", os.urandom(3_000_000))
    sound = through_a_file(stream.getvalue())
    record = sound.record("x")
    assert record is not None
    sound.check(record)
    damaged = bytearray(stream.getvalue())
    damaged[2_500_000] ^= 1
    with pytest.raises(FormatError, match=r"x: its (checksum is|compressed bytes are|header)"):
        through_a_file(bytes(damaged)).check(record)


def test_a_record_without_a_checksum_passes_the_check() -> None:
    """There is nothing to check it by."""
    made = reader(written({"x": b"content"}, checksum=False))
    made.check(next(iter(made.records.values())))

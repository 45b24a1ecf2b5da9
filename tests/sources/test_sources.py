"""Each source under the common contract, and what is its own."""

from __future__ import annotations

import errno
import io
import mmap
import os
from pathlib import Path
from typing import cast
from unittest import mock

import pytest

import ptfile.sources.local as local_module
from ptfile._types import Buffer
from ptfile.errors import FormatError, UnsupportedError
from ptfile.sources import (
    FileObjectSource,
    LocalSource,
    MappedSource,
    MemorySource,
    ReadAhead,
    SmallFileSource,
    Source,
    ViewSource,
    open_source,
)
from ptfile.sources.small_file import SMALL, read_small_file
from tests.sources.contract import CONTENT, SourceContract


def write(content: bytes, folder: Path) -> Path:
    path = folder / "some.pt"
    path.write_bytes(content)
    return path


class TestMemorySource(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return MemorySource(content)

    def test_a_view_is_no_copy(self) -> None:
        """Writing to the buffer shows in a view, and the other way round."""
        buffer = bytearray(b"abcdef")
        view = MemorySource(buffer).view(2, 3)
        buffer[2] = ord("X")
        view[1] = ord("Y")

        assert (bytes(view), bytes(buffer)) == (b"XYe", b"abXYef")

    def test_a_view_outlives_its_source(self) -> None:
        """Storages keep views after the file was closed."""
        with MemorySource(bytearray(b"abcdef")) as source:
            view = source.view(0, 3)

        assert bytes(view) == b"abc"

    def test_a_shaped_memoryview_counts_as_bytes(self) -> None:
        """The size is in bytes whatever the items are."""
        source = MemorySource(cast("Buffer", memoryview(bytes(24)).cast("d")))

        assert (source.size, source.view(8, 16).nbytes) == (24, 16)


class TestLocalSource(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return LocalSource(write(content, folder))

    def test_a_read_larger_than_the_system_allows_is_split(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Linux moves 2 GiB at most in one call: larger reads take several."""
        monkeypatch.setattr(local_module, "READ_MAX", 1000)
        with self.make(CONTENT, tmp_path) as source:
            assert bytes(source.read(3, 100_000)) == CONTENT[3:100_003]

    @pytest.mark.skipif(not hasattr(os, "preadv"), reason="no positioned reads here")
    def test_short_reads_are_continued(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A signal or a network file system may give fewer bytes than asked for."""
        real = os.preadv
        monkeypatch.setattr(os, "preadv", lambda file, targets, offset: real(file, [targets[0][:7]], offset))
        with self.make(CONTENT, tmp_path) as source:
            assert bytes(source.read(5, 100)) == CONTENT[5:105]

    def test_a_file_that_shrinks_while_open_is_cut_off(self, tmp_path: Path) -> None:
        """Never bytes that are not there: what is gone is an error."""
        with self.make(CONTENT, tmp_path) as source:
            os.truncate(tmp_path / "some.pt", 1000)
            with pytest.raises(FormatError, match="cut off at byte 1000 of 2000"):
                source.read(500, 1500)

    def test_a_directory_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        """A distributed checkpoint is a folder; the error says that a file is wanted."""
        with pytest.raises(UnsupportedError, match="directory") as caught:
            LocalSource(tmp_path)

        assert str(tmp_path) == caught.value.file

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        """Opening a FIFO nobody writes to would wait for ever."""
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(UnsupportedError, match="no regular file"):
            LocalSource(tmp_path / "fifo")

    def test_a_missing_file_is_the_plain_error(self, tmp_path: Path) -> None:
        """As `open` raises it, with the path."""
        with pytest.raises(FileNotFoundError) as caught:
            LocalSource(tmp_path / "missing.pt")

        assert str(tmp_path / "missing.pt") == str(caught.value.filename)


class TestLocalSourceWithoutPositionedReads(SourceContract):
    """Windows has no preadv: one thread at a time seeks and reads."""

    @pytest.fixture(autouse=True)
    def _without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_module, "_HAS_POSITIONED_READS", False)

    def make(self, content: bytes, folder: Path) -> Source:
        return LocalSource(write(content, folder))


class TestSmallFileSource(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return SmallFileSource("some.pt", content)

    def test_a_small_file_is_read_and_closed(self, tmp_path: Path) -> None:
        """Its bytes are those of that moment, whatever becomes of the file."""
        path = write(b"abcdef", tmp_path)
        source = read_small_file(path)
        path.write_bytes(b"other bytes")

        assert source is not None
        assert (bytes(source.read(1, 3)), source.size, source.name) == (b"bcd", 6, str(path))

    def test_a_large_file_is_left_to_the_source_that_reads_parts(self, tmp_path: Path) -> None:
        """As is one that gives fewer bytes than it has."""
        at_most = b"x" * SMALL
        assert read_small_file(write(at_most, tmp_path)) is not None
        path = write(at_most + b"x", tmp_path)
        assert read_small_file(path) is None
        with open_source(path, mmap=False) as source:
            assert isinstance(source, LocalSource)

    def test_a_short_read_is_continued_by_the_source_that_reads_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A signal or a network file system may give fewer bytes than asked for."""
        path, real = write(b"abcdef", tmp_path), os.read
        monkeypatch.setattr(os, "read", lambda file, _: real(file, 3))

        with open_source(path, mmap=False) as source:
            assert bytes(source.read(0, 6)) == b"abcdef"

    def test_a_file_that_is_written_to_meanwhile_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was read may be a mixture of two files."""
        path, real = write(b"abcdef", tmp_path), os.read

        def written_behind(file: int, length: int) -> bytes:
            content = real(file, length)
            os.utime(path, (1, 1))
            return content

        monkeypatch.setattr(os, "read", written_behind)
        with pytest.raises(FormatError, match="changed while it was open"):
            read_small_file(path)

    def test_what_is_no_file_is_refused_as_ever(self, tmp_path: Path) -> None:
        """A directory, and nothing at all."""
        with pytest.raises(UnsupportedError, match="directory"):
            read_small_file(tmp_path)
        with pytest.raises(FileNotFoundError) as caught:
            read_small_file(tmp_path / "missing.pt")
        assert str(tmp_path / "missing.pt") == str(caught.value.filename)


class TestMappedSource(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return MappedSource(write(content, folder))

    def test_writing_to_a_view_leaves_the_file_alone(self, tmp_path: Path) -> None:
        """The mapping is private: a tensor may be changed in place."""
        with MappedSource(write(b"abcdef", tmp_path)) as source:
            view = source.view(1, 2)
            view[0] = ord("X")

        assert (bytes(view), (tmp_path / "some.pt").read_bytes()) == (b"Xc", b"abcdef")

    def test_replacing_the_file_leaves_the_mapped_bytes(self, tmp_path: Path) -> None:
        """A save by rename, as ptfile does, doesn't pull the ground from under a reader."""
        with MappedSource(write(b"old", tmp_path)) as source:
            (tmp_path / "new").write_bytes(b"new!")
            (tmp_path / "new").replace(tmp_path / "some.pt")

            assert bytes(source.view(0, 3)) == b"old"

    def test_it_is_a_mapping(self, tmp_path: Path) -> None:
        """Views look at mapped pages, not at a copy in memory."""
        assert isinstance(MappedSource(write(b"abc", tmp_path)).view(0, 3).obj, mmap.mmap)

    @pytest.mark.parametrize("can_be_told", [True, False])
    def test_many_pages_at_once_are_the_same_bytes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_be_told: bool
    ) -> None:
        """Whether or not the system can be told what comes, and from inside a page on."""
        for name in ("MADV_RANDOM", "MADV_WILLNEED", "MADV_NORMAL"):
            if not can_be_told:
                monkeypatch.delattr(mmap, name, raising=False)
        content = os.urandom(400_000)
        with MappedSource(write(content, tmp_path)) as source:
            assert source.read(12_345, 387_655) == content[12_345:]

    @pytest.mark.parametrize("answer", [None, BlockingIOError(), OSError(errno.EOPNOTSUPP, "not here")])
    def test_many_places_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: OSError | None) -> None:
        """Whether they are in memory, have to come from the disk, or nobody can tell."""
        if answer is not None:
            monkeypatch.setattr(os, "preadv", mock.Mock(side_effect=answer), raising=False)
        content = os.urandom(40_000)
        with MappedSource(write(content, tmp_path)) as source:
            assert (
                source.read_many([5, 39_000, 20_000], 3)
                == content[5:8] + content[39_000:39_003] + content[20_000:20_003]
            )
            with pytest.raises(FormatError, match="cut off at byte 40000 of 40001"):
                source.read_many([5, 39_998], 3)

    def test_a_directory_is_refused(self, tmp_path: Path) -> None:
        """With the same words as LocalSource."""
        with pytest.raises(UnsupportedError, match="directory"):
            MappedSource(tmp_path)


class OnlyRead:
    """A file-like with what PyTorch asks for and no more, that reads at most seven bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 7777))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class TestFileObjectSource(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return FileObjectSource(io.BytesIO(content))

    def test_byte_0_is_where_the_file_stands(self) -> None:
        """A checkpoint may follow other bytes in a stream."""
        file = io.BytesIO(b"headabcdef")
        file.seek(4)
        source = FileObjectSource(file)

        assert (source.size, bytes(source.read(0, 3)), file.closed) == (6, b"abc", False)

    def test_measuring_leaves_the_position(self) -> None:
        """Whoever gave the file finds it where it was."""
        file = io.BytesIO(b"headabcdef")
        file.seek(4)
        FileObjectSource(file)

        assert file.tell() == 4

    def test_closing_leaves_the_file_open(self) -> None:
        """It is the caller's."""
        file = io.BytesIO(b"abc")
        FileObjectSource(file).close()

        assert not file.closed

    def test_a_text_file_is_the_callers_mistake(self, tmp_path: Path) -> None:
        """The error says how to open it."""
        with write(b"abc", tmp_path).open(encoding="utf-8") as file, pytest.raises(TypeError, match="'rb'"):
            FileObjectSource(file)  # type: ignore[arg-type]

    def test_a_stream_that_cannot_seek_is_refused_with_what_to_do(self) -> None:
        """A zip file is read from its end."""
        reading, writing = os.pipe()
        os.close(writing)
        with os.fdopen(reading, "rb") as file, pytest.raises(UnsupportedError, match="BytesIO"):
            FileObjectSource(file)

    def test_a_raw_file_with_read_alone_works(self) -> None:
        """`io.RawIOBase` promises readinto to every subclass, and some have none."""

        class Raw(io.RawIOBase):
            def __init__(self) -> None:
                self.inner = io.BytesIO(b"abcdef")

            def read(self, size: int = -1) -> bytes:
                return self.inner.read(size)

            def seek(self, offset: int, whence: int = 0) -> int:
                return self.inner.seek(offset, whence)

            def tell(self) -> int:
                return self.inner.tell()

        assert bytes(FileObjectSource(Raw()).read(1, 4)) == b"bcde"

    def test_a_file_that_gives_more_than_asked_is_an_error(self) -> None:
        """And not a buffer overrun or a shifted checkpoint."""

        class TooMuch(OnlyRead):
            def read(self, size: int = -1) -> bytes:
                return b"x" * (size + 1)

        with pytest.raises(OSError, match="asked for 2 bytes, the file object gave 3"):
            FileObjectSource(TooMuch(b"abcdef")).read(0, 2)

    def test_a_file_without_bytes_for_now_is_an_error(self) -> None:
        """None from a non-blocking file is no end of file."""

        class Later(OnlyRead):
            def readinto(self, target: Buffer) -> None:
                return None

        with pytest.raises(BlockingIOError):
            FileObjectSource(Later(b"abcdef")).read(0, 2)


class TestFileObjectSourceOfReadAlone(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return FileObjectSource(OnlyRead(content))


class Counting(MemorySource):
    """Memory that counts its reads, and hides that it is memory."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> memoryview:
        self.reads.append((offset, length))
        return super().read(offset, length)


class TestReadAhead(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return ReadAhead(MemorySource(content))

    def test_many_small_reads_are_few_reads(self) -> None:
        """Two thousand reads in a row, and a handful of calls that fetch each byte once."""
        counting = Counting(CONTENT)
        ahead = ReadAhead(counting, window=128 << 10)
        for offset in range(0, len(CONTENT), 128):
            ahead.read(offset, 64)

        assert len(counting.reads) < 10
        assert sum(length for _, length in counting.reads) == len(CONTENT)

    def test_reads_far_apart_fetch_little(self) -> None:
        """A header here and a header there must not cost a whole window each."""
        counting = Counting(bytes(64 << 20))
        ahead = ReadAhead(counting)
        for offset in range(0, 64 << 20, 4 << 20):
            ahead.read(offset, 64)

        assert sum(length for _, length in counting.reads) <= 16 * (4 << 10)

    def test_big_reads_pass_through(self) -> None:
        """A payload is not copied through the window."""
        counting = Counting(CONTENT)
        ReadAhead(counting).read(10, 100_000)

        assert counting.reads == [(10, 100_000)]


def test_memory_and_mappings_are_views_and_files_are_not(tmp_path: Path) -> None:
    """Callers tell by the protocol whether reading makes a copy."""
    path = write(b"abc", tmp_path)

    assert isinstance(MemorySource(b"abc"), ViewSource)
    assert isinstance(MappedSource(path), ViewSource)
    with LocalSource(path) as local:
        assert not isinstance(local, ViewSource)
    assert not isinstance(FileObjectSource(io.BytesIO()), ViewSource)

"""Saving to and loading from file objects: what is asked of them, and where they stand afterwards."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import mmap
import pickle
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, LEGACY, PYTORCH, described, loaded, saved, torch

TREE = {"a": torch.arange(6.0), "b": [1, "two"], "c": torch.ones(1000)}


class Only:
    """A file-like object with these methods and no others."""

    def __init__(self, data: bytes, *methods: str) -> None:
        self._buffer = io.BytesIO(data)
        self._methods = methods
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._methods:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.used.add(name)
        return getattr(self._buffer, name)


class Breaking(io.BytesIO):
    """A stream whose device fails behind the first bytes."""

    def _fail(self, *_: Any) -> Any:
        raise OSError(5, "Input/output error")

    def read(self, *arguments: Any) -> Any:
        return super().read(*arguments) if self.tell() == 0 else self._fail()

    readinto = _fail


def test_what_load_asks_for(pair: Pair) -> None:
    """read, seek and tell for a zip; readline too for a legacy file. readinto is used where it is there."""
    data = saved(pair.writer, TREE)
    for methods in (["read", "seek", "tell"], ["read", "seek", "tell", "readinto"]):
        assert described(pair.reader.load(Only(data, *methods))) == described(TREE)
    data = saved(pair.writer, TREE, **LEGACY)
    for methods in (["read", "seek", "tell", "readline"], ["read", "seek", "tell", "readline", "readinto"]):
        for weights_only in (True, False):
            stream = Only(data, *methods)
            assert described(pair.reader.load(stream, weights_only=weights_only)) == described(TREE)


@pytest.mark.parametrize("missing", ["seek", "tell"])
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_load_needs_a_seekable_file(lib: Any, missing: str, options: Any) -> None:
    """An AttributeError that says what to do."""
    methods = {"read", "readline", "readinto", "seek", "tell"} - {missing}
    message = (
        f"'Only' object has no attribute '{missing}'. You can only torch.load from a file that is seekable. "
        "Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
    )
    with pytest.raises(AttributeError) as caught:
        lib.load(Only(saved(lib, TREE, **options), *methods))
    assert str(caught.value) == message


def test_load_says_that_read_is_missing(lib: Any) -> None:
    """And readline, for a legacy file."""
    with pytest.raises(AttributeError, match="has no attribute 'read'"):
        lib.load(Only(saved(lib, TREE), "seek", "tell"))
    with pytest.raises(AttributeError, match="has no attribute 'readline'"):
        lib.load(Only(saved(lib, TREE, **LEGACY), "seek", "tell", "read"))


def test_a_stream_that_cannot_seek_is_refused(lib: Any) -> None:
    """io.UnsupportedOperation, with the same advice."""

    class OneWay(io.BufferedReader):
        def seek(self, *_: Any) -> int:
            raise io.UnsupportedOperation("seek")

    with pytest.raises(io.UnsupportedOperation, match=r"seek. You can only torch.load from a file that is seekable"):
        lib.load(OneWay(io.BytesIO(saved(lib, TREE))))


def test_a_text_file_is_refused(lib: Any, tmp_path: Path) -> None:
    """Whatever it does first, it does not load."""
    lib.save(TREE, tmp_path / "t.pt")
    with (tmp_path / "t.pt").open(encoding="latin1") as file, pytest.raises(Exception, match=r"."):
        lib.load(file)


def test_a_closed_file_is_refused(lib: Any) -> None:
    """ValueError, on both ways."""
    buffer = io.BytesIO(saved(lib, TREE))
    buffer.close()
    with pytest.raises(ValueError, match="closed file"):
        lib.load(buffer)
    with pytest.raises(ValueError, match="closed file"):
        lib.save(TREE, buffer)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_what_save_asks_for(lib: Any, options: Any) -> None:
    """write and flush, and nothing else."""
    stream = Only(b"", "write", "flush")
    lib.save(TREE, stream, **options)
    assert stream.used == {"write", "flush"}
    assert stream._buffer.getvalue() == saved(PYTORCH, TREE, **options)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_save_needs_write_and_flush(lib: Any, options: Any) -> None:
    """An AttributeError for either."""
    with pytest.raises(AttributeError, match="expected 'f' to be string, path, or a file-like object with a 'write'"):
        lib.save(TREE, Only(b"", "flush"), **options)
    with pytest.raises(AttributeError, match="has no attribute 'flush'"):
        lib.save(TREE, Only(b"", "write"), **options)


def test_write_must_be_callable(lib: Any) -> None:
    """A TypeError that names the class."""

    class Odd:
        write = 5

        def flush(self) -> None:
            pass

    with pytest.raises(TypeError, match="has no callable attribute 'write'"):
        lib.save(TREE, Odd())


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_an_error_of_the_stream_is_the_caller_s(lib: Any, options: Any) -> None:
    """A full disk is an OSError with its number."""

    class Full:
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            pass

    with pytest.raises(OSError, match="No space left on device") as caught:
        lib.save(TREE, Full(), **options)
    assert caught.value.errno == 28


def test_an_error_while_reading_stops_the_load(lib: Any) -> None:
    """It is the caller's error, or one that has it as its cause (PyTorch's C++ code makes a SystemError of it)."""
    with pytest.raises((OSError, SystemError)) as caught:
        lib.load(Breaking(saved(lib, TREE)))
    assert "Input/output error" in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_save_appends_where_the_stream_stands(lib: Any, options: Any) -> None:
    """And leaves it at the end of what it wrote."""
    buffer = io.BytesIO()
    buffer.write(b"before")
    lib.save(TREE, buffer, **options)
    assert buffer.getvalue() == b"before" + saved(PYTORCH, TREE, **options)
    assert buffer.tell() == len(buffer.getvalue())
    assert not buffer.closed


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_checkpoint_may_follow_other_bytes(pair: Pair, options: Any, weights_only: bool, tmp_path: Path) -> None:
    """In a buffer and in a file, up to the end of it."""
    data = b"other bytes" + saved(pair.writer, TREE, **options)
    buffer = io.BytesIO(data)
    buffer.seek(11)
    assert described(pair.reader.load(buffer, weights_only=weights_only)) == described(TREE)
    (tmp_path / "t.bin").write_bytes(data)
    with (tmp_path / "t.bin").open("rb") as file:
        file.seek(11)
        assert described(pair.reader.load(file, weights_only=weights_only)) == described(TREE)


@pytest.mark.parametrize("weights_only", [True, False])
def test_legacy_checkpoints_follow_each_other(pair: Pair, weights_only: bool, tmp_path: Path) -> None:
    """Each load leaves the stream at the next one: in a buffer, a file and a file that is not buffered."""
    trees = [TREE, [1], torch.ones(2), {}]
    data = b"".join(saved(pair.writer, tree, **LEGACY) for tree in trees)
    (tmp_path / "t.bin").write_bytes(data)
    with (tmp_path / "t.bin").open("rb") as file, (tmp_path / "t.bin").open("rb", buffering=0) as raw:
        for stream in (io.BytesIO(data), file, raw):
            for tree in trees:
                assert described(pair.reader.load(stream, weights_only=weights_only)) == described(tree)
            assert stream.tell() == len(data)


def test_checkpoints_and_pickles_mix(lib: Any) -> None:
    """In a temporary file, written and read back by turns."""
    with tempfile.TemporaryFile() as file:
        pickle.dump(41, file)
        lib.save(TREE, file, **LEGACY)
        pickle.dump("between", file)
        lib.save(torch.ones(2), file, **LEGACY)
        file.seek(0)
        assert pickle.load(file) == 41
        assert described(lib.load(file)) == described(TREE)
        assert pickle.load(file) == "between"
        assert lib.load(file).tolist() == [1, 1]


@pytest.mark.parametrize("tree", [TREE, torch.ones(3), [torch.ones(1), torch.arange(1000)]])
def test_a_zip_load_leaves_the_stream_where_pytorch_does(lib: Any, tree: Any) -> None:
    """Behind the bytes of the last storage."""
    data = b"before" + saved(lib, tree)
    positions = []
    for reader in (lib, PYTORCH):
        buffer = io.BytesIO(data)
        buffer.seek(6)
        reader.load(buffer)
        positions.append(buffer.tell())
    assert positions[0] == positions[1]


def test_a_load_does_not_close_the_stream(lib: Any) -> None:
    """It may be read again from the start."""
    buffer = io.BytesIO(saved(lib, TREE))
    for _ in range(2):
        buffer.seek(0)
        assert described(lib.load(buffer)) == described(TREE)
    assert not buffer.closed


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_gzip_files_are_read_and_written_through(pair: Pair, options: Any, tmp_path: Path) -> None:
    """Opened by the caller."""
    path = tmp_path / "t.pt.gz"
    with gzip.open(path, "wb") as file:
        pair.writer.save(TREE, file, **options)
    assert gzip.decompress(path.read_bytes()) == saved(PYTORCH, TREE, **options)
    with gzip.open(path, "rb") as file:
        assert described(pair.reader.load(file)) == described(TREE)


@pytest.mark.parametrize("module", [bz2, lzma], ids=["bz2", "lzma"])
def test_other_compressed_files_hold_zip_checkpoints(pair: Pair, module: Any, tmp_path: Path) -> None:
    """They have a fileno, but the bytes behind it are not the checkpoint's."""
    path = tmp_path / "t.pt.x"
    with module.open(path, "wb") as file:
        pair.writer.save(TREE, file)
    assert module.decompress(path.read_bytes()) == saved(PYTORCH, TREE)
    with module.open(path, "rb") as file:
        assert described(pair.reader.load(file)) == described(TREE)


@pytest.mark.parametrize("buffering", [-1, 0, 1 << 16])
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_an_open_file_is_read_and_written(pair: Pair, options: Any, buffering: int, tmp_path: Path) -> None:
    """With any buffer, also one opened for both."""
    with (tmp_path / "t.bin").open("w+b", buffering=buffering) as file:
        file.write(b"before")
        pair.writer.save(TREE, file, **options)
        file.seek(6)
        assert described(pair.reader.load(file)) == described(TREE)
        file.seek(0)
        assert file.read(6) == b"before"


def test_a_spooled_file_works(lib: Any) -> None:
    """In memory until it is large."""
    with tempfile.SpooledTemporaryFile(max_size=1 << 20) as file:
        lib.save(TREE, file)
        file.seek(0)
        assert described(lib.load(file)) == described(TREE)


def test_short_reads_are_read_on(lib: Any) -> None:
    """A stream that gives a few bytes at a time, as sockets do."""

    class Slow(io.BytesIO):
        def readinto(self, target: Any) -> int:
            view = memoryview(target).cast("B")
            return super().readinto(view[:100])

        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size if size is None or size < 0 else min(size, 100))

    try:
        expected = described(PYTORCH.load(Slow(saved(PYTORCH, TREE))))
    except RuntimeError:
        expected = None
    try:
        assert described(lib.load(Slow(saved(lib, TREE)))) == described(TREE)
    except RuntimeError:
        assert expected is None


def test_a_subclass_of_bytesio_may_watch(lib: Any) -> None:
    """Its own write sees all the bytes."""

    class Watching(io.BytesIO):
        count = 0

        def write(self, data: Any, /) -> int:
            self.count += len(memoryview(data).cast("B"))
            return super().write(data)

    stream = Watching()
    lib.save(TREE, stream)
    assert stream.count == len(stream.getvalue()) == len(saved(PYTORCH, TREE))


def test_a_mapped_file_object_works(pair: Pair, tmp_path: Path) -> None:
    """Python's mmap has the methods of a file."""
    for options in FORMATS.values():
        pair.writer.save(TREE, tmp_path / "t.pt", **options)
        with (tmp_path / "t.pt").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert described(pair.reader.load(mapped)) == described(TREE)


def test_a_member_of_an_archive_works(lib: Any, tmp_path: Path) -> None:
    """A checkpoint inside a zip or tar file, read where it lies."""
    for options in FORMATS.values():
        data = saved(lib, TREE, **options)
        with zipfile.ZipFile(tmp_path / "t.zip", "w") as outer:
            outer.writestr("inner.pt", data)
        with zipfile.ZipFile(tmp_path / "t.zip") as outer, outer.open("inner.pt") as inner:
            assert described(lib.load(inner)) == described(TREE)
        with tarfile.open(tmp_path / "t.tar", "w") as tar:
            member = tarfile.TarInfo("inner.pt")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        with tarfile.open(tmp_path / "t.tar") as tar:
            assert described(lib.load(tar.extractfile("inner.pt"))) == described(TREE)


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_files_of_fsspec_work(pair: Pair, protocol: str, tmp_path: Path) -> None:
    """Lightning and others open everything through it."""
    fsspec: Any = importlib.import_module("fsspec")
    for number, options in enumerate(FORMATS.values()):
        url = f"{protocol}://{tmp_path}/{number}.pt"
        with fsspec.open(url, "wb") as file:
            pair.writer.save(TREE, file, **options)
        with fsspec.open(url, "rb") as file:
            assert described(pair.reader.load(file)) == described(TREE)


def test_threads_load_and_save_at_once(lib: Any) -> None:
    """Each its own stream."""
    trees = [{"t": torch.full((1000,), float(i)), "n": i} for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda tree: loaded(lib, saved(lib, tree)), trees * 4))
    assert [described(result) for result in results] == [described(tree) for tree in trees * 4]

"""`ptfile.save` with a path or a stream: what it promises of the disk."""

from __future__ import annotations

import gc
import io
import os
import stat
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ptfile
from ptfile import _save
from ptfile._types import Buffer
from ptfile.formats.zip_saving import ZipOptions, ZipSave
from ptfile.sinks import local_file

if TYPE_CHECKING:
    from typing_extensions import Self

VALUE = {"weight": ptfile.arange(40_000), "epoch": 3}
FORMATS: dict[str, dict[str, Any]] = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the system, in order; writes that follow each other once."""
    made: list[str] = []

    def note(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            label = f"{name} folder" if folder else name
            if made[-1:] != [label]:
                made.append(label)
            return real(*args, **kwargs)

        return call

    for name in ("write", "fsync", "replace"):
        monkeypatch.setattr(os, name, note(name, getattr(os, name)))
    return made


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_durable_save_syncs_the_file_the_rename_and_the_folder(
    tmp_path: Path, calls: list[str], options: dict[str, Any]
) -> None:
    """In this order: a power cut leaves the old file or the new one, whole."""
    ptfile.save(VALUE, tmp_path / "model.pt", fsync=True, **options)

    folder = ["fsync folder"] if os.name != "nt" else []
    assert calls == ["write", "fsync", "replace", *folder]
    assert ptfile.load(tmp_path / "model.pt")["epoch"] == 3


def test_an_ordinary_save_syncs_nothing(tmp_path: Path, calls: list[str]) -> None:
    """That is for who asks for it."""
    ptfile.save(VALUE, tmp_path / "model.pt")

    assert calls == ["write", "replace"]


def test_an_open_file_is_synced_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file object holds back is flushed first."""
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: sizes.append(os.fstat(file).st_size))
    with (tmp_path / "model.pt").open("wb") as file:
        ptfile.save(VALUE, file, fsync=True)

    assert sizes == [(tmp_path / "model.pt").stat().st_size]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_is_written_and_not_synced(calls: list[str]) -> None:
    """There is nothing that could outlast anything."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        ptfile.save(7, file, fsync=True)
    with os.fdopen(reading, "rb") as file:
        assert ptfile.load(io.BytesIO(file.read())) == 7
    assert "fsync" not in calls


def test_what_has_no_descriptor_cannot_be_durable() -> None:
    """And nothing is written: a promise that cannot be kept is not given."""
    buffer = io.BytesIO()
    with pytest.raises(ValueError, match="a BytesIO has no file descriptor"):
        ptfile.save(VALUE, buffer, fsync=True)

    assert buffer.getvalue() == b""


class Told:
    """A sink that only counts."""

    name = "Told"

    def __init__(self) -> None:
        self.told: list[int] = []
        self.written = 0

    def expect(self, size: int) -> None:
        assert self.written == 0
        self.told.append(size)

    def write(self, data: Buffer) -> None:
        self.written += memoryview(data).nbytes

    def skip(self, length: int) -> None:
        """What is skipped does not count."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("storages", ["whole", "reachable"])
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_sink_is_told_what_it_will_get(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], storages: Any
) -> None:
    """To the byte, before the first one."""
    sink = Told()
    monkeypatch.setattr(_save, "open_sink", lambda *_, **__: sink)
    ptfile.save({"rows": ptfile.arange(40_000)[100:20_000], **VALUE}, "model.pt", storages=storages, **options)

    assert sink.told == [sink.written]


def test_room_that_is_left_is_not_announced() -> None:
    """It takes no space on the disk."""
    sink = Told()
    ZipSave(VALUE, "model", options=ZipOptions(contents=False)).write(sink)

    assert sink.told == [sink.written]
    assert sink.written < 20_000


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_what_was_saved_is_let_go(options: dict[str, Any]) -> None:
    """At once, not when the collector of circles comes by: it may be most of the memory that there is."""
    tensor = ptfile.ones(1000)
    storage = weakref.ref(tensor.untyped_storage())
    gc.disable()
    try:
        ptfile.save({"weight": tensor, "layers": [1, {"a": 2}]}, io.BytesIO(), **options)
        del tensor
        assert storage() is None
    finally:
        gc.enable()


READERS: dict[str, Any] = {
    "mapped": lambda path: ptfile.load(path, mmap=True),
    "lazy": ptfile.open,
    "loaded": ptfile.load,
}


@pytest.mark.skipif(os.name == "nt", reason="a file that is open cannot be replaced there")
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
class TestSavingOverAFileThatIsInUse:
    """Whoever has the old file goes on with it, as it was."""

    def test_its_tensors_keep_their_values(self, tmp_path: Path, read: Any, options: dict[str, Any]) -> None:
        """Also those that are first looked at afterwards, and of a file that is cut short by the save."""
        path = tmp_path / "model.pt"
        ptfile.save({"a": ptfile.arange(100_000), "b": ptfile.arange(50_000)}, path, **options)
        old = read(path)
        seen = old["a"][:3].tolist()
        ptfile.save({"a": ptfile.zeros(3)}, path, **options)

        assert seen == [0, 1, 2]
        assert old["a"].numpy().sum() == 100_000 * 99_999 // 2
        assert old["b"][-1].item() == 49_999
        assert ptfile.load(path)["a"].tolist() == [0.0, 0.0, 0.0]

    def test_it_may_be_the_source_of_what_is_saved(self, tmp_path: Path, read: Any, options: dict[str, Any]) -> None:
        """Its tensors are written to the file that takes its place, in another order, and again from there."""
        path = tmp_path / "model.pt"
        ptfile.save({"a": ptfile.arange(100_000), "b": ptfile.arange(50_000) * 2}, path, **options)
        for _ in range(3):
            old = read(path)
            ptfile.save({"b": old["b"], "a": old["a"][50_000:]}, path, fsync=True, **options)
            ptfile.save({"a": old["a"], "b": old["b"]}, path, **options)
            assert old["a"][99_999].item() == 99_999

        new = ptfile.load(path)
        assert new["a"].numpy().sum() == 100_000 * 99_999 // 2
        assert new["b"][49_999].item() == 99_998
        assert os.listdir(tmp_path) == ["model.pt"]


@pytest.mark.skipif(os.name == "nt", reason="a file that is open cannot be replaced there")
@pytest.mark.parametrize("size", ["small", "large"])
def test_readers_and_writers_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    """Two writers replace a file again and again while others read it: each of them sees one that is whole."""
    if size == "large":
        monkeypatch.setattr(local_file, "LARGE", 1)
    path = tmp_path / "model.pt"
    values = [{"weight": ptfile.full((20_000 + number,), number)} for number in range(2)]
    whole = set()
    for value in values:
        ptfile.save(value, path)
        whole.add(path.read_bytes())
    seen: set[bytes] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())

    def write(value: Any) -> None:
        for _ in range(50):
            ptfile.save(value, path)

    with ThreadPoolExecutor(10) as pool:
        reading = [pool.submit(read) for _ in range(8)]
        writing = [pool.submit(write, value) for value in values]
        for future in writing:
            future.result()
        over.set()
        for future in reading:
            future.result()

    assert seen <= whole
    assert path.read_bytes() in whole
    assert os.listdir(tmp_path) == ["model.pt"]

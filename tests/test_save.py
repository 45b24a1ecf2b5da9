"""`ptfile.save` with a path or a stream: what it promises of the disk."""

from __future__ import annotations

import gc
import io
import os
import stat
import weakref
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import Self

import ptfile
from ptfile import _save
from ptfile._types import Buffer
from ptfile.formats.zip_format import ZipOptions, ZipSave

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

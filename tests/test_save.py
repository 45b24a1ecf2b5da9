"""`ptfile.save` with a path or a stream: what it promises of the disk."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

import ptfile

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

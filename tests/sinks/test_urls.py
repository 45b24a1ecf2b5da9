"""Sinks behind URLs: whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.errors import UnsupportedError
from ptfile.sinks import open_sink

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("obstore")


@pytest.fixture(params=["memory", "local"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty folder, with a slash."""
    fsspec.filesystem("memory").store.clear()
    yield "memory://folder/" if request.param == "memory" else f"local://{tmp_path}/"
    fsspec.filesystem("memory").store.clear()


def files(folder: str) -> list[str]:
    filesystem, path = fsspec.core.url_to_fs(folder)
    return filesystem.find(path)  # type: ignore[no-any-return]


def content(url: str) -> bytes:
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem.cat_file(path)  # type: ignore[no-any-return]


@pytest.mark.parametrize("new_format", [True, False])
def test_what_is_saved_is_what_is_saved_to_a_path(folder: str, tmp_path: Path, new_format: bool) -> None:
    """Byte for byte."""
    value = {"weight": ptfile.arange(100_000), "epoch": 3}
    options: dict[str, Any] = {"_use_new_zipfile_serialization": new_format}
    ptfile.save(value, f"{folder}some.pt", **options)
    path = tmp_path / "elsewhere" / "some.pt"
    path.parent.mkdir()
    ptfile.save(value, path, **options)

    assert content(f"{folder}some.pt") == path.read_bytes()


@pytest.mark.parametrize("there_before", [False, True])
def test_a_save_that_fails_leaves_what_was_there(folder: str, there_before: bool) -> None:
    """Nothing, or the old file, and nothing beside it."""
    url = f"{folder}some.pt"
    if there_before:
        ptfile.save("old", url)
    before = files(folder)
    with pytest.raises(KeyError), open_sink(url) as sink:
        sink.write(bytes(100_000))
        raise KeyError

    assert files(folder) == before
    if there_before:
        assert ptfile.load(url) == "old"


def test_bytes_that_are_left_out_are_zeros(folder: str) -> None:
    """A URL has no holes."""
    with open_sink(f"{folder}some.pt") as sink:
        sink.write(b"a")
        sink.skip(3_000_000)
        sink.write(b"b")

    assert content(f"{folder}some.pt") == b"a" + bytes(3_000_000) + b"b"


def test_a_file_system_that_cannot_write_says_so() -> None:
    """Some of fsspec's only read."""
    with pytest.raises((UnsupportedError, OSError)), open_sink("data://text/plain,x") as sink:
        sink.write(b"a")


def test_a_bucket_is_nothing_to_save_to() -> None:
    """It is a folder, as a path with a slash at its end."""
    with pytest.raises(IsADirectoryError):
        open_sink("s3://bucket/", storage_options={"skip_signature": True, "region": "us-east-1"})

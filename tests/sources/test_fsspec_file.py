"""Files of fsspec's file systems: its memory, its local files, and one that fails on demand."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import ptfile
from ptfile.cli import main
from ptfile.errors import UnsupportedError
from ptfile.sources import Source, open_source
from tests.servers.clouds import Cloud
from tests.servers.hub import BUCKET, Hub
from tests.sources.contract import CONTENT, SourceContract

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system in memory, which all of a process share, empty."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


class TestMemory(SourceContract):
    @pytest.fixture(autouse=True)
    def _filesystem(self, memory: Any) -> None:
        self.filesystem = memory

    def make(self, content: bytes, folder: Path) -> Source:
        self.filesystem.pipe_file("/some.pt", content)
        return open_source("memory://some.pt", mmap=False)


class TestLocal(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        (folder / "some.pt").write_bytes(content)
        return open_source(f"local://{folder}/some.pt", mmap=False)


def test_one_file_system_in_another(memory: Any, tmp_path: Path) -> None:
    """fsspec's chains are URLs too: here, a file that is downloaded once and kept."""
    ptfile.save([1, 2], "memory://some.pt")
    options = {"filecache": {"cache_storage": str(tmp_path)}}

    assert ptfile.load("filecache::memory://some.pt", storage_options=options) == [1, 2]
    assert any(tmp_path.iterdir())


@pytest.mark.usefixtures("memory")
def test_the_command_line_gives_it_options() -> None:
    """As what they are: `true` is no text, and a number is one."""
    given: dict[str, Any] = {}

    class Anonymous(fsspec.get_filesystem_class("memory")):  # type: ignore[misc]
        protocol = "anonymous"

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            given.update(options)

        @classmethod
        def _strip_protocol(cls, path: str) -> Any:
            return super()._strip_protocol(path.replace("anonymous:", "memory:"))

    fsspec.register_implementation("anonymous", Anonymous, clobber=True)
    ptfile.save([1, 2], "memory://some.pt")
    options = ["anon=true", "timeout=5", "client_kwargs.region=somewhere"]
    assert main(["ls", "anonymous://some.pt", *(f"--storage-option={option}" for option in options)]) == 0
    assert given == {"anon": True, "timeout": 5, "client_kwargs": {"region": "somewhere"}}


def test_a_file_that_changes_is_an_error(memory: Any) -> None:
    """As far as the file system's own record of it tells."""
    memory.pipe_file("/some.pt", CONTENT)
    with open_source("memory://some.pt", mmap=False) as source:
        memory.pipe_file("/some.pt", CONTENT + b"more")
        with pytest.raises(OSError, match="changed since it was opened") as caught:
            source.read(100_000, 10)

    assert (caught.value.errno, caught.value.filename) == (errno.ESTALE, "memory://some.pt")


def test_what_is_not_there_is_a_file_not_found(memory: Any, tmp_path: Path) -> None:
    """With the URL; and a folder is none."""
    with pytest.raises(FileNotFoundError) as caught:
        ptfile.load("memory://none.pt")
    assert caught.value.filename == "memory://none.pt"
    with pytest.raises(IsADirectoryError):
        ptfile.load(f"local://{tmp_path}")


def test_a_scheme_that_nobody_knows_says_so() -> None:
    """And nothing is asked for."""
    with pytest.raises(UnsupportedError, match="a URL that nothing here reads"):
        ptfile.load("nonsense://some.pt")


def test_a_scheme_whose_package_is_missing_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec knows what to install."""

    def fail(*_: object, **__: object) -> None:
        raise ImportError("Install huggingface_hub to access HfFileSystem")

    monkeypatch.setattr("ptfile.stores.filesystems.url_to_fs", fail)
    with pytest.raises(UnsupportedError, match="Install huggingface_hub"):
        ptfile.load("hf://org/model/some.pt")


def test_a_request_that_fails_is_tried_again(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few times, with pauses; then its error is raised, without what may be secret in it."""
    monkeypatch.setattr("ptfile.stores.filesystems._FIRST_PAUSE", 0.001)
    memory.pipe_file("/some.pt", CONTENT)
    fails = 3

    def cat_file(*arguments: Any) -> bytes:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise RuntimeError("GET https://host/some.pt?sig=SECRET: bad gateway")
        return bytes(whole(*arguments))

    with open_source("memory://some.pt", mmap=False) as source:
        filesystem = cast("Any", source)._file._filesystem
        whole = filesystem.cat_file
        monkeypatch.setattr(filesystem, "cat_file", cat_file)
        assert bytes(source.read(100_000, 10)) == CONTENT[100_000:100_010]
        fails = 100
        with pytest.raises(OSError, match=r"GET https://host/some.pt\?…") as caught:
            source.read(200_000, 10)

    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_is_not_there_is_an_error_with_the_url() -> None:
    """Some file systems connect when they are made, with the password of the URL."""
    with pytest.raises(ConnectionRefusedError) as caught:
        ptfile.load("ftp://me:SECRET@127.0.0.1:1/a.pt")

    assert caught.value.filename == "ftp://…@127.0.0.1:1/a.pt"


@pytest.mark.parametrize("cloud", ["hf"], indirect=True)
def test_a_file_in_a_bucket_of_the_hub_has_no_commit_and_may_change(cloud: Cloud) -> None:
    """An `@` in its name is none. It is looked at again with each range."""
    assert isinstance(cloud.server, Hub)
    name = "a@b.pt"
    cloud.server.bucket[name] = cloud.server.store(CONTENT)
    with open_source(f"hf://buckets/{BUCKET}/{name}", mmap=False, storage_options=cloud.options) as source:
        assert bytes(source.read(100_000, 10)) == CONTENT[100_000:100_010]
        cloud.server.bucket[name] = cloud.server.store(CONTENT[::-1])
        with pytest.raises(OSError, match="changed since it was opened"):
            source.read(200_000, 10)

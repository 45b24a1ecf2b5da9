"""Files of fsspec's file systems: its memory, its local files, and one that fails on demand."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.errors import UnsupportedError
from ptfile.sources import Source, fsspec_file, open_source
from tests.servers.ranges import RangeServer
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
    monkeypatch.setattr(fsspec_file, "_FIRST_PAUSE", 0.001)
    memory.pipe_file("/some.pt", CONTENT)
    fails = 3

    def cat_file(*arguments: Any) -> bytes:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise RuntimeError("GET https://host/some.pt?sig=SECRET: bad gateway")
        return whole(*arguments)

    with open_source("memory://some.pt", mmap=False) as source:
        whole = source._file._filesystem.cat_file
        monkeypatch.setattr(source._file._filesystem, "cat_file", cat_file)
        assert bytes(source.read(100_000, 10)) == CONTENT[100_000:100_010]
        fails = 100
        with pytest.raises(OSError, match=r"GET https://host/some.pt\?…") as caught:
            source.read(200_000, 10)

    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


class TestHub:
    """Hugging Face's hub, by its own library, at a server that answers as it does."""

    COMMITS = ("a" * 40, "b" * 40)

    @pytest.fixture
    def options(self, web: RangeServer) -> dict[str, Any]:
        """The `storage_options` of a hub whose `org/net` has a model of 8 MiB."""
        pytest.importorskip("huggingface_hub")
        buffer = io.BytesIO()
        ptfile.save({f"layer.{i}": ptfile.full((1 << 18,), float(i)) for i in range(8)}, buffer)
        for commit in self.COMMITS:
            web.files[f"/org/net/resolve/{commit}/net.pt"] = buffer.getvalue()
            listed = {"type": "file", "oid": commit, "size": len(buffer.getvalue()), "path": "net.pt"}
            web.files[f"/api/models/org/net/tree/{commit}"] = json.dumps([listed]).encode()
            web.files[f"/api/models/org/net/revision/{commit}"] = self.about(commit)
        self.commit(web, self.COMMITS[0])
        return {"endpoint": web.url(""), "token": False}

    def about(self, commit: str) -> bytes:
        repository = {"_id": "1", "id": "org/net", "sha": commit, "private": False, "tags": [], "siblings": []}
        return json.dumps({**repository, "downloads": 0, "likes": 0}).encode()

    def commit(self, web: RangeServer, commit: str) -> None:
        """Have the branch at a commit."""
        web.files["/api/models/org/net"] = web.files["/api/models/org/net/revision/main"] = self.about(commit)

    @pytest.mark.parametrize("url", ["hf://org/net/net.pt", "hf://org/net@main/net.pt"])
    def test_a_tensor_costs_its_bytes(self, web: RangeServer, options: dict[str, Any], url: str) -> None:
        """And not the blocks that fsspec reads ahead."""
        with ptfile.open(url, storage_options=options) as checkpoint:
            web.forget()
            assert checkpoint["layer.5"].numpy().max() == 5

        assert (1 << 20) <= web.sent <= (1 << 20) + (64 << 10)
        assert len(web.requests) == 1

    def test_a_branch_that_moves_on_changes_nothing(self, web: RangeServer, options: dict[str, Any]) -> None:
        """A file is read by the commit that it was of when it was opened."""
        with ptfile.open("hf://org/net/net.pt", storage_options=options) as checkpoint:
            self.commit(web, self.COMMITS[1])
            web.forget()
            assert checkpoint["layer.5"].numpy().max() == 5

        assert all(self.COMMITS[0] in request.path for request in web.requests)

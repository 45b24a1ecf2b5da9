"""Saving to Hugging Face's hub: one commit, made of a file that is on this machine for a while."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import ptfile
from tests.servers.clouds import Cloud
from tests.servers.hub import Hub, hub_server
from tests.servers.ranges import Fault

pytestmark = [
    pytest.mark.parametrize("cloud", ["hf"], indirect=True),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # huggingface_hub, of httpx
]
URL = "hf://org/net/model.pt"


@pytest.fixture
def hub(cloud: Cloud) -> Hub:
    assert isinstance(cloud.server, Hub)
    return cloud.server


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_save_is_one_commit_and_leaves_no_file_behind(hub: Hub, cloud: Cloud, temporary: Path) -> None:
    """The file that was made here is gone."""
    ptfile.save([1, 2], URL, storage_options=cloud.options)

    assert len(hub.commits) == 2
    assert list(hub.commits[-1]) == ["model.pt"]
    assert not any(temporary.iterdir())


def test_a_save_that_fails_leaves_no_file_behind(hub: Hub, cloud: Cloud, temporary: Path) -> None:
    """Whatever it was that failed: the upload, or what is saved."""

    def fail() -> Any:
        assert any(temporary.iterdir())
        raise KeyError

    hub.faults = [Fault(on="/commit/", status=500)]
    with pytest.raises(OSError, match="500"):
        ptfile.save([1, 2], URL, storage_options=cloud.options)
    last = ptfile.Tensor(ptfile.UntypedStorage.deferred(400_000, fail), ptfile.float32, 0, (100_000,), (1,))
    with pytest.raises(KeyError):
        ptfile.save(last, URL, storage_options=cloud.options)

    assert hub.commits == [{}]
    assert not any(temporary.iterdir())


def test_nothing_is_made_for_a_repository_that_is_not_there(cloud: Cloud, temporary: Path) -> None:
    """Before any tensor is looked at."""

    def read() -> Any:
        raise AssertionError

    last = ptfile.Tensor(ptfile.UntypedStorage.deferred(400_000, read), ptfile.float32, 0, (100_000,), (1,))
    with pytest.raises(FileNotFoundError, match="repository not found"):
        ptfile.save(last, "hf://org/none/model.pt", storage_options=cloud.options)

    assert not any(temporary.iterdir())


@pytest.mark.parametrize("url", ["hf://org/net", "hf://org/net@main", "hf://org/net/", "hf://org/net/folder/"])
def test_a_repository_and_a_folder_are_nothing_to_save_to(hub: Hub, cloud: Cloud, url: str) -> None:
    """The hub's library would make a file without a name, or one with the name of the folder."""
    with pytest.raises(IsADirectoryError) as caught:
        ptfile.save([1, 2], url, storage_options=cloud.options, _use_new_zipfile_serialization=False)

    assert caught.value.filename == url
    assert hub.commits == [{}]


@pytest.mark.parametrize(
    ("url", "commit"),
    [
        ("hf://org/net@dev/a/model.pt", "/api/models/org/net/commit/dev"),
        ("hf://org/net@refs/pr/1/a/model.pt", "/api/models/org/net/commit/refs%2Fpr%2F1"),
        ("hf://datasets/org/net/a/model.pt", "/api/datasets/org/net/commit/main"),
    ],
)
def test_branches_and_kinds_of_repository(hub: Hub, cloud: Cloud, url: str, commit: str) -> None:
    """The commit is made where the URL says, and read from there."""
    ptfile.save([1, 2], url, storage_options=cloud.options)

    assert commit in [request.path for request in hub.requests]
    assert hub.content("a/model.pt") is not None
    assert ptfile.load(url, storage_options=cloud.options) == [1, 2]


def test_what_a_gitignore_names_is_an_error(hub: Hub, cloud: Cloud) -> None:
    """The hub's library leaves it out of the commit, and says that all went well."""
    hub.ignored = frozenset({"model.pt"})
    with pytest.raises(OSError, match=r"did not take the file.*\.gitignore") as caught:
        ptfile.save([1, 2], URL, storage_options=cloud.options)

    assert caught.value.filename == URL


def test_a_commit_that_cannot_be_looked_at_is_told(hub: Hub, cloud: Cloud) -> None:
    """It was made, which is not to be learnt from the hub by chance."""
    hub.faults = [Fault(on="paths-info", status=500)] * 20
    with pytest.raises(OSError, match=f"there is a commit {hub.sha(1)}, but the hub does not say"):
        ptfile.save([1, 2], URL, storage_options=cloud.options)


def test_who_may_not_write_is_told_how_to_log_in(cloud: Cloud) -> None:
    """With what the hub says."""
    options = {**cloud.options, "token": False}
    with pytest.raises(PermissionError, match=r"You do not have the right to write\. Log in with `hf auth login`"):
        ptfile.save([1, 2], URL, storage_options=options)


@pytest.mark.skipif(sys.platform == "win32", reason="its folders are named by paths with slashes")
@pytest.mark.parametrize("url", [URL, "hf://buckets/org/box/model.pt"])
def test_hf_xet_uploads_it_as_well(tmp_path: Path, cloud: Cloud, url: str) -> None:
    """The hub's own way to store what is large, and the only one for its buckets; here, it goes into a folder."""
    pytest.importorskip("hf_xet")
    ptfile.save(ptfile.arange(100_000), tmp_path / "model.pt")
    program = (
        "import json, sys, ptfile\n"
        "options = json.loads(sys.argv[2])\n"
        "ptfile.save(ptfile.arange(100_000), sys.argv[1], storage_options=options)\n"
    )
    with hub_server() as hub:
        hub.xet = f"local://{tmp_path}/xet"
        environment: dict[str, Any] = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment.pop("HF_HUB_DISABLE_XET", None)
        options = json.dumps({**cloud.options, "endpoint": hub.url("")})
        subprocess.run([sys.executable, "-c", program, url, options], env=environment, check=True)

    assert not [request for request in hub.requests if request.path.startswith("/stored")]
    if url == URL:
        assert hub.commits[-1] == {"model.pt": hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()}
    else:
        assert list(hub.bucket) == ["model.pt"]

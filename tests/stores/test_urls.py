"""What is a URL, whose it is, and what of it may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import ptfile
from ptfile.stores.urls import is_url, local_path, reason, redacted, split


@pytest.mark.parametrize(
    "text", ["s3://b/k", "https://h/m.pt", "hf://org/model/m.pt", "memory://x", "git+ssh://h/x", "filecache::s3://b/k"]
)
def test_a_scheme_and_two_slashes_are_a_url(text: str) -> None:
    """Of two letters and more."""
    assert is_url(text)


@pytest.mark.parametrize(
    "path", ["model.pt", "C:/model.pt", "c://model.pt", "./s3://x", "/s3://x", "s3:/x", Path("s3://x"), 7]
)
def test_everything_else_is_none(path: object) -> None:
    """Drives, paths that only hold a URL, and whatever is no text."""
    assert not is_url(path)


@pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3://bucket/", "s3://bucket/folder/"])
def test_a_url_without_a_key_is_a_folder(url: str) -> None:
    """A bucket is no checkpoint."""
    with pytest.raises(IsADirectoryError):
        split(url)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/m.pt?X-Amz-Signature=SECRET&x=1", "https://host/m.pt?…"),
        ("ftp://me:SECRET@host/m.pt", "ftp://…@host/m.pt"),
        ("https://me:SEC?RET@host/m.pt", "https://me:SEC?…"),
        ("abfss://container@account.dfs.core.windows.net/m.pt", "abfss://container@account.dfs.core.windows.net/m.pt"),
        ("filecache::https://host/m.pt?sig=SECRET", "filecache::https://host/m.pt?…"),
        ('GET "https://host/m.pt?sig=SECRET" failed', 'GET "https://host/m.pt?…" failed'),
        ("it failed: why?", "it failed: why?"),
    ],
)
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    """Signatures are in queries, passwords before the host."""
    assert shown == redacted(text)


def test_a_reason_is_one_short_line() -> None:
    """Libraries append their innards."""
    assert reason(ValueError("no\n\nDebug source: x")) == "no"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(ValueError("x" * 1000))) == 200


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    """Saved to, loaded from, with a space in it; what `torch.save` puts into the file is as for the path."""
    path = tmp_path / "a b.pt"
    ptfile.save(ptfile.arange(3), path.as_uri())
    saved = path.read_bytes()
    ptfile.save(ptfile.arange(3), path)

    assert saved == path.read_bytes()
    assert ptfile.load(path.as_uri(), mmap=True).tolist() == [0, 1, 2]


def test_a_file_url_of_another_machine_is_refused() -> None:
    """Two slashes where three were meant."""
    with pytest.raises(OSError, match="three slashes"):
        local_path("file://models/m.pt")


def test_mmap_is_for_files_of_this_machine() -> None:
    """It is refused before anything is asked for."""
    with pytest.raises(ValueError, match="mmap=True"):
        ptfile.load("s3://bucket/model.pt", mmap=True)

"""What is a URL, whose it is, and what of it may be shown."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.errors import UnsupportedError
from ptfile.stores.urls import is_url, local_path, reason, redacted, secrets_in, split


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


@pytest.mark.parametrize("key", ["a//b.pt", "/a.pt", "./a.pt", "a/../b.pt", "a\nb.pt", "a\x00.pt"])
def test_a_key_that_would_be_asked_for_by_another_name_is_refused(key: str) -> None:
    """obstore drops the first slash of a key, for one, and then reads and writes another object."""
    with pytest.raises(OSError, match="no part of a key may be empty") as caught:
        split(f"s3://bucket/{key}")

    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("bucket", ["b?x", "b#x", "my bucket", "me:SECRET@bucket", "bucket:9000"])
def test_what_is_no_bucket_is_refused(bucket: str) -> None:
    """A URL library would take a part of it for the bucket, and leave the rest out without a word."""
    with pytest.raises(OSError, match="no name of a bucket") as caught:
        split(f"s3://{bucket}/a.pt")

    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "bucket", ["b", "my.bucket-1_x", "$web", "container@account.dfs.core.windows.net", "example.com"]
)
def test_buckets_have_what_characters_they_have(bucket: str) -> None:
    """By the rules of each store."""
    assert split(f"s3://{bucket}/é ?#%.pt") == (f"s3://{bucket}", "é ?#%.pt")


@pytest.mark.parametrize(
    ("url", "options", "names"),
    [
        ("s3://b/k", {"access_key_id": "x", "secret_access_key": "x", "session_token": "x"}, 2),
        ("s3://b/k", {"access_key_id": "x", "region": "x", "skip_signature": True, "endpoint": "http://h:1"}, 0),
        ("gs://b/k", {"service_account": "/a.json", "application_credentials": "/b.json"}, 0),
        ("gs://b/k", {"service_account_key": "{}"}, 1),
        ("az://b/k", {"account_name": "x", "account_key": "x", "federated_token_file": "/x"}, 1),
        ("hf://org/net@main/k", {"token": False, "endpoint": "http://h"}, 0),
        ("hf://org/net/k", {"token": "hf_x"}, 1),
        ("https://h/k", {"client_options": {"default_headers": {"Authorization": "x"}}}, 1),
        ("https://h/k", {"client_options": {"proxy_url": "http://me:pass@proxy", "timeout": "5s"}}, 1),
        ("https://h/k?download=true&x=1", None, 0),
        ("https://h/k?X-Amz-Credential=me&X-Amz-Signature=x", None, 1),
        ("https://token@h/k", None, 1),
        ("abfss://c@account.dfs.core.windows.net/k", None, 0),
    ],
)
def test_credentials_are_known_by_their_names(url: str, options: dict[str, Any] | None, names: int) -> None:
    """Those of obstore's options, of headers, and of signed URLs."""
    assert len(secrets_in(url, options)) == names


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/m.pt?X-Amz-Signature=SECRET&x=1", "https://host/m.pt?…"),
        ("ftp://me:SECRET@host/m.pt", "ftp://…@host/m.pt"),
        ("https://SECRET@host/m.pt", "https://…@host/m.pt"),
        ("hf://org/net@main/m.pt", "hf://org/net@main/m.pt"),
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


@pytest.mark.parametrize("character", ["?", "#"])
def test_what_would_end_the_path_of_a_file_url_is_refused(tmp_path: Path, character: str) -> None:
    """It would be another file."""
    path = tmp_path / f"a{character}b.pt"
    ptfile.save([1], tmp_path / "a")
    if sys.platform != "win32":
        ptfile.save([2], path.as_uri())
        assert ptfile.load(path) == ptfile.load(path.as_uri()) == [2]
    with pytest.raises(OSError, match="is written as %3F"):
        ptfile.load(f"file://{tmp_path}/a{character}b.pt")


def test_a_file_url_of_another_machine_is_refused() -> None:
    """Two slashes where three were meant."""
    with pytest.raises(OSError, match="three slashes"):
        local_path("file://models/m.pt")


def test_mmap_is_for_files_of_this_machine() -> None:
    """It is refused before anything is asked for."""
    with pytest.raises(ValueError, match="mmap=True"):
        ptfile.load("s3://bucket/model.pt", mmap=True)


@pytest.mark.parametrize(
    ("url", "package", "extra"), [("s3://bucket/a.pt", "obstore", "remote"), ("hf://org/net/a.pt", "fsspec", "fsspec")]
)
def test_without_its_package_a_url_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    """Both to load and to save; everything else works without."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    for module in ("stores.objects", "stores.filesystems"):
        monkeypatch.delitem(sys.modules, f"ptfile.{module}", raising=False)
    for side in ("sources", "sinks"):
        for module in ("object_store", "fsspec_file"):
            monkeypatch.delitem(sys.modules, f"ptfile.{side}.{module}", raising=False)

    with pytest.raises(UnsupportedError, match=rf"by {package}, which is not installed.*ptfile\[{extra}\]"):
        ptfile.load(url)
    with pytest.raises(UnsupportedError, match=rf"by {package}, which is not installed.*ptfile\[{extra}\]"):
        ptfile.save(1, url)

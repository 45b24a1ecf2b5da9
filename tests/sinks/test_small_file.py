"""A small file is put in place in one go, or not at all: then `FileSink` has it to do, and to say what is wrong."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.sinks import FileSink
from ptfile.sinks.small_file import replace_small_file

pytestmark = pytest.mark.skipif(not hasattr(os, "listxattr"), reason="elsewhere FileSink does all")

NEW = b"new bytes"


def there(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_new_file_has_the_usual_mode(tmp_path: Path, umask: None) -> None:
    """What the umask says."""
    assert replace_small_file(str(tmp_path / "model.pt"), NEW)

    assert there(tmp_path) == {"model.pt": NEW}
    assert stat.S_IMODE((tmp_path / "model.pt").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_is_replaced_and_keeps_its_mode(target: Path, mode: int) -> None:
    """It is another file: who has the old one open still has it."""
    target.chmod(mode)
    with target.open("rb") as old:
        assert replace_small_file(str(target), NEW)
        assert old.read() == b"old"

    assert there(target.parent) == {"model.pt": NEW}
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_path_may_be_relative(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is in the working directory."""
    monkeypatch.chdir(target.parent)

    assert replace_small_file("model.pt", NEW)
    assert there(target.parent) == {"model.pt": NEW}


def as_link(target: Path) -> None:
    target.rename(target.parent / "real.pt")
    target.symlink_to("real.pt")


def with_attribute(target: Path) -> None:
    try:
        os.setxattr(target, "user.comment", b"kept")
    except OSError:
        pytest.skip("no such attributes on this file system")


def as_folder(target: Path) -> None:
    target.unlink()
    target.mkdir()


def as_fifo(target: Path) -> None:
    target.unlink()
    os.mkfifo(target)


@pytest.mark.parametrize(
    "change",
    [
        as_link,
        with_attribute,
        as_folder,
        as_fifo,
        lambda target: target.chmod(0o444),
        lambda target: target.chmod(0o666),  # which the umask does not give to a new file
    ],
)
def test_what_is_not_a_plain_file_is_left_alone(target: Path, change: Callable[[Path], Any], umask: None) -> None:
    """Nothing is written, and nothing left behind."""
    change(target)
    before = there(target.parent) if not target.is_fifo() else {}

    assert not replace_small_file(str(target), NEW)
    assert (there(target.parent) if not target.is_fifo() else {}) == before


def test_a_file_of_somebody_elses_is_left_alone(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one would be ours."""
    monkeypatch.setattr(os, "geteuid", lambda: target.stat().st_uid + 1)

    assert not replace_small_file(str(target), NEW)
    assert there(target.parent) == {"model.pt": b"old"}


@pytest.mark.parametrize(
    "path", ["", "{folder}/", "{folder}/none/model.pt", "{folder}/model.pt/model.pt", "{folder}/."]
)
def test_a_path_that_leads_nowhere_is_left_alone(target: Path, path: str) -> None:
    """FileSink knows the words for it."""
    assert not replace_small_file(path.format(folder=target.parent), NEW)
    assert there(target.parent) == {"model.pt": b"old"}


@pytest.mark.parametrize("call", ["lstat", "listxattr", "open", "fstat", "write", "close", "replace"])
def test_whatever_the_system_refuses_nothing_has_changed(
    target: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """At each call: the old file is there, and nothing else."""
    real = getattr(os, call)

    def refused(*arguments: Any, **keywords: Any) -> Any:
        if call == "close":
            real(*arguments, **keywords)
        raise OSError(errno.EIO, "it will not")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refused)
        done = replace_small_file(str(target), NEW)

    assert not done
    assert there(target.parent) == {"model.pt": b"old"}


def test_a_short_write_is_no_save(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk may take a part."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:3]))

    assert not replace_small_file(str(target), NEW)
    assert there(target.parent) == {"model.pt": b"old"}


@pytest.mark.parametrize("call", ["open", "write", "replace"])
def test_an_interrupt_leaves_nothing_behind(target: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """It passes through."""
    real, count = getattr(os, call), len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    def interrupted(*arguments: Any) -> Any:
        file = real(*arguments)
        if call == "open":
            os.close(file)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            replace_small_file(str(target), NEW)

    assert there(target.parent) == {"model.pt": NEW if call == "replace" else b"old"}
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == count


def test_a_name_that_is_taken_is_no_harm(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else is writing under it."""
    monkeypatch.setattr("time.time_ns", lambda: 0x123456789)
    taken = target.parent / ".model.pt.23456789.tmp"
    taken.write_bytes(b"theirs")

    assert not replace_small_file(str(target), NEW)
    assert there(target.parent) == {"model.pt": b"old", taken.name: b"theirs"}


def test_the_sink_does_what_is_left_to_it(target: Path) -> None:
    """The link stays, and what it leads to is replaced."""
    as_link(target)
    FileSink(target).put(NEW)

    assert target.is_symlink()
    assert (target.parent / "real.pt").read_bytes() == NEW


def test_the_sink_says_what_is_wrong(tmp_path: Path) -> None:
    """With the user's path."""
    with pytest.raises(FileNotFoundError) as caught:
        FileSink(tmp_path / "none" / "model.pt").put(NEW)

    assert caught.value.filename == str(tmp_path / "none" / "model.pt")


@pytest.mark.parametrize("checksum", [True, False])
def test_a_small_save_is_the_same_file_as_one_written_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checksum: bool
) -> None:
    """To a path and to a stream."""
    value = {"weight": ptfile.arange(5), "none": ptfile.zeros(0), "text": "x"}
    at_once, in_pieces = io.BytesIO(), io.BytesIO()
    ptfile.save(value, tmp_path / "archive.at_once", checksum=checksum)
    ptfile.save(value, at_once, checksum=checksum)
    monkeypatch.setattr("ptfile.formats.zip_saving.SMALL", 0)
    ptfile.save(value, tmp_path / "archive.in_pieces", checksum=checksum)
    ptfile.save(value, in_pieces, checksum=checksum)

    files = there(tmp_path)
    assert files["archive.at_once"] == files["archive.in_pieces"] == at_once.getvalue() == in_pieces.getvalue()


@pytest.mark.parametrize("alignment", [0, -64])
def test_what_cannot_be_laid_out_is_said_before_anything_is_written(tmp_path: Path, alignment: int) -> None:
    """Also where it is written later, by another thread."""
    for save in (ptfile.save, ptfile.save_async):
        with pytest.raises(ValueError, match="alignment"):
            save(ptfile.arange(5), tmp_path / "model.pt", storage_alignment=alignment)
    assert there(tmp_path) == {}

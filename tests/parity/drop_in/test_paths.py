"""Saving to and loading from paths."""

from __future__ import annotations

import gzip
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, LEGACY, PYTORCH, described, torch

TREE = {"a": torch.arange(6.0), "b": [1, "two"]}
NAMES = [
    *("tensor.pt", "model.v1.2-epoch=3.ckpt", "no_ending", "with space.pt", "schön.pt", "日本.pt", "a\\b.pt", "x..pt"),
    *("-dash.pt", "new\nline.pt", "UPPER.PT", ".hidden.pt", "100%.bin", "a'b\"c.pt", "x" * 200 + ".pt"),
]


class Fspath:
    """A path of a class of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_will_do(pair: Pair, name: str, tmp_path: Path) -> None:
    """Spaces, several dots, characters of any script; both formats."""
    for options in FORMATS.values():
        pair.writer.save(TREE, tmp_path / name, **options)
        assert described(pair.reader.load(tmp_path / name)) == described(TREE)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_gets_the_same_bytes(lib: Any, name: str, tmp_path: Path) -> None:
    """The folder inside is named after the file, or `archive` where its name is not ASCII."""
    for folder in ("by_lib", "by_pytorch"):
        (tmp_path / folder).mkdir()
    lib.save(TREE, tmp_path / "by_lib" / name)
    PYTORCH.save(TREE, tmp_path / "by_pytorch" / name)
    assert (tmp_path / "by_lib" / name).read_bytes() == (tmp_path / "by_pytorch" / name).read_bytes()


@pytest.mark.parametrize("kind", [str, Path, Fspath])
def test_a_path_may_be_text_or_path_like(pair: Pair, kind: Any, tmp_path: Path) -> None:
    """Anything with `__fspath__`."""
    for options in FORMATS.values():
        pair.writer.save(TREE, kind(tmp_path / "t.pt"), **options)
        assert described(pair.reader.load(kind(tmp_path / "t.pt"))) == described(TREE)


def test_a_relative_path_is_relative(lib: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the working directory; also with dots in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("plain.pt", "./dot.pt", "sub/in.pt", "sub/../up.pt"):
        lib.save(TREE, name)
        assert described(lib.load(name)) == described(TREE)
    assert sorted(path.name for path in tmp_path.rglob("*.pt")) == ["dot.pt", "in.pt", "plain.pt", "up.pt"]


@pytest.mark.parametrize("name", [".hidden", ""])
def test_a_path_without_a_stem_is_refused(lib: Any, name: str, tmp_path: Path) -> None:
    """`.hidden` leaves no name for the folder inside: a RuntimeError, and no file."""
    with pytest.raises(RuntimeError, match=rf"invalid file name: .*{name}"):
        lib.save(TREE, f"{tmp_path}/{name}" if name else "")
    assert list(tmp_path.iterdir()) == []


def test_a_legacy_file_may_be_hidden(lib: Any, tmp_path: Path) -> None:
    """It has no folder inside."""
    lib.save(TREE, tmp_path / ".hidden", **LEGACY)
    assert described(lib.load(tmp_path / ".hidden")) == described(TREE)


def test_a_hidden_name_that_is_not_ascii_is_fine(lib: Any, tmp_path: Path) -> None:
    """PyTorch writes it through a file object, with `archive` inside."""
    lib.save(TREE, tmp_path / ".verstöckt")
    assert described(lib.load(tmp_path / ".verstöckt")) == described(TREE)


def test_a_missing_parent_directory_is_a_runtime_error(lib: Any, tmp_path: Path) -> None:
    """With its name; and it is not made."""
    path = tmp_path / "missing" / "t.pt"
    with pytest.raises(RuntimeError, match=rf"Parent directory {path.parent} does not exist"):
        lib.save(TREE, path)
    assert not path.parent.exists()


def test_a_missing_parent_directory_of_other_saves_is_not_found(lib: Any, tmp_path: Path) -> None:
    """Of a legacy file, or one whose name is not ASCII: Python opens those."""
    with pytest.raises(FileNotFoundError):
        lib.save(TREE, tmp_path / "missing" / "t.pt", **LEGACY)
    with pytest.raises(FileNotFoundError):
        lib.save(TREE, tmp_path / "missing" / "schön.pt")


def test_a_missing_file_is_not_found(lib: Any, tmp_path: Path) -> None:
    """With its name."""
    for weights_only in (True, False):
        with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
            lib.load(tmp_path / "missing.pt", weights_only=weights_only)


def test_a_directory_is_no_file(lib: Any, tmp_path: Path) -> None:
    """To load it is an IsADirectoryError, to save to it a RuntimeError that says so."""
    with pytest.raises(IsADirectoryError):
        lib.load(tmp_path)
    with pytest.raises(RuntimeError, match="Is a directory"):
        lib.save(TREE, tmp_path)


def test_a_file_is_replaced(lib: Any, tmp_path: Path) -> None:
    """A larger one by a smaller one, wholly, in both formats."""
    path = tmp_path / "t.pt"
    for options in FORMATS.values():
        lib.save(torch.zeros(100_000), path, **options)
        lib.save(TREE, path, **options)
        assert path.stat().st_size < 3000
        assert described(lib.load(path)) == described(TREE)


def test_a_link_stays_a_link(lib: Any, tmp_path: Path) -> None:
    """What it points to is written, also where there was nothing."""
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    link.symlink_to(real)
    lib.save(TREE, link)
    lib.save([1], link)
    assert link.is_symlink()
    assert lib.load(real) == [1]


def test_permissions_are_ordinary(lib: Any, tmp_path: Path) -> None:
    """Those the umask leaves for a new file; those it had for an old one."""
    path = tmp_path / "t.pt"
    before = os.umask(0o027)
    try:
        lib.save(TREE, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        lib.save(TREE, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_the_null_device_takes_anything(lib: Any) -> None:
    """Some measure the time of a save that way; it is still a device afterwards."""
    for options in FORMATS.values():
        lib.save(TREE, os.devnull, **options)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(EOFError):
        lib.load(os.devnull)


def test_a_named_pipe_takes_a_save(lib: Any, tmp_path: Path) -> None:
    """Another program may read what is written, as it comes."""
    pipe, received = tmp_path / "pipe.pt", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    lib.save(TREE, pipe)
    reader.join(10)
    (tmp_path / "copy").mkdir()
    PYTORCH.save(TREE, tmp_path / "copy" / "pipe.pt")
    assert received == [(tmp_path / "copy" / "pipe.pt").read_bytes()]


def test_a_compressed_file_is_not_recognised_by_its_path(lib: Any, tmp_path: Path) -> None:
    """It must be opened with gzip first."""
    with gzip.open(tmp_path / "t.pt.gz", "wb") as file:
        lib.save(TREE, file)
    with pytest.raises(Exception, match=r"Weights only load failed|magic|not a"):
        lib.load(tmp_path / "t.pt.gz")


@pytest.mark.parametrize("f", [None, 5, b"bytes.pt", ["list"]], ids=["none", "number", "bytes", "list"])
def test_what_is_neither_path_nor_file_is_refused(lib: Any, f: Any) -> None:
    """An AttributeError: bytes are no path here."""
    for options in FORMATS.values():
        with pytest.raises(
            AttributeError, match="expected 'f' to be string, path, or a file-like object with a 'write'"
        ):
            lib.save(TREE, f, **options)
    with pytest.raises(
        AttributeError, match=r"has no attribute 'seek'.*You can only torch.load from a file that is seek"
    ):
        lib.load(f)

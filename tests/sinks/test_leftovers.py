"""What killed saves leave: nothing, or files that are known by their names and removed by a later save."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ptfile.sinks import FileSink, folder, leftovers, local_file
from ptfile.sinks.leftovers import STALE, temporary_name

posix = pytest.mark.skipif(os.name == "nt", reason="links and forks of POSIX")
nameless = pytest.mark.skipif(not folder._NAMELESS, reason="files without names are Linux's")

LEFT = ".model.pt.0123abcd.tmp"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


def save(path: Path, size: int = local_file.LARGE, *, fsync: bool = False) -> None:
    """Only said to be large."""
    with FileSink(path, fsync=fsync) as sink:
        sink.expect(size)
        sink.write(b"new")


def leave(path: Path, *, age: float = STALE + 60, name: str = LEFT) -> Path:
    """A file as a killed save leaves it, last written so many seconds ago."""
    left = path.parent / name
    left.write_bytes(b"half of")
    made = left.stat().st_mtime
    os.utime(left, (made - age, made - age))
    return left


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_temporary_name_says_what_it_is_for() -> None:
    """Someone who finds it after a crash can tell."""
    name = temporary_name("model.pt")

    assert name.startswith(".model.pt.")
    assert name.endswith(".tmp")
    assert len(name) == len(LEFT)


def test_a_large_save_removes_what_a_killed_one_has_left(path: Path) -> None:
    """To the same name."""
    leave(path)
    leave(path, name=".model.pt.00000000.tmp")
    save(path)

    assert names(path) == ["model.pt"]


def test_so_does_a_durable_one_of_any_size(path: Path) -> None:
    """It waits for the disk anyway."""
    leave(path)
    save(path, 3, fsync=True)

    assert names(path) == ["model.pt"]


def test_a_small_save_does_not_look(path: Path) -> None:
    """That would take longer than the save."""
    left = leave(path)
    save(path, local_file.LARGE - 1)

    assert left.exists()


@pytest.mark.parametrize("age", [0.0, STALE - 60, -STALE * 5])
def test_what_may_still_be_written_stays(path: Path, age: float) -> None:
    """By the clock of the file system: what is written now is from now."""
    left = leave(path, age=age)
    save(path)

    assert left.exists()


@pytest.mark.parametrize(
    "name",
    [
        *(".other.pt.0123abcd.tmp", ".model.pt.0123abcd", ".model.pt.0123ABCD.tmp", ".model.pt.0123abc.tmp"),
        *("model.pt.0123abcd.tmp", ".modelxpt.0123abcd.tmp", ".model.pt.0123abcd.tmp.old", ".model.pt.tmp"),
    ],
)
def test_other_names_are_other_files(path: Path, name: str) -> None:
    """Only what is named exactly as a temporary for this file is one."""
    left = leave(path, name=name)
    save(path)

    assert left.exists()


@posix
def test_what_is_no_file_is_no_temporary(path: Path) -> None:
    """A folder, a symlink, a FIFO of such a name."""
    target = leave(path, name="precious.pt")
    (path.parent / LEFT).symlink_to(target)
    (path.parent / ".model.pt.00000001.tmp").mkdir()
    os.mkfifo(path.parent / ".model.pt.00000002.tmp")
    for name in names(path):
        os.utime(path.parent / name, (0, 0), follow_symlinks=False)
    before = names(path)
    save(path)

    assert names(path) == sorted([*before, "model.pt"])


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root may give files away")
def test_another_user_s_file_stays(path: Path) -> None:
    """Also if this one could remove it."""
    left = leave(path)
    os.chown(left, 12345, 12345)
    save(path)

    assert left.exists()


def test_of_a_large_folder_only_the_beginning_is_looked_through(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may have a hundred thousand files, and the save should not wait for them."""
    monkeypatch.setattr(leftovers, "LOOKED_AT", 5)
    for number in range(20):
        leave(path, name=f".model.pt.{number:08x}.tmp")
    save(path)

    assert 15 <= len(names(path)) <= 17  # the new file's own entry may have been among the five


@nameless
@pytest.mark.parametrize("old", [False, True])
def test_a_large_file_has_no_name_until_it_is_whole(path: Path, old: bool) -> None:
    """Whoever is killed in the meantime leaves nothing."""
    if old:
        path.write_bytes(b"old")
        path.chmod(0o640)
    with FileSink(path) as sink:
        sink.expect(local_file.LARGE)
        sink.write(b"new")
        assert names(path) == (["model.pt"] if old else [])

    assert (names(path), path.read_bytes()) == (["model.pt"], b"new")
    if old:
        assert path.stat().st_mode & 0o777 == 0o640


@pytest.fixture(params=["there are none", "they may not be linked"])
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system in which files without names are of no use."""
    if request.param == "there are none":
        monkeypatch.setattr(folder, "_NAMELESS", 0)
    else:

        def link(*_: object) -> None:
            raise PermissionError(1, "no")

        monkeypatch.setattr(folder.Folder, "link", link)
    return str(request.param)


@pytest.mark.parametrize("old", [False, True])
def test_where_files_need_names_a_large_one_has_one(path: Path, elsewhere: str, old: bool) -> None:
    """It is as whole in the end, with the mode of the old file."""
    if old:
        path.write_bytes(b"old")
        path.chmod(0o640)
    with FileSink(path, fsync=True) as sink:
        sink.expect(local_file.LARGE)
        for _ in range(3):
            sink.write(b"new" * 100_000)

    assert (names(path), path.read_bytes()) == (["model.pt"], b"new" * 300_000)
    if old and os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("size", [3, local_file.LARGE])
def test_a_save_that_is_dropped_leaves_nothing(path: Path, size: int) -> None:
    """An interrupt can come where no handler is: between the last line of the block and the first of `__exit__`."""
    sink = FileSink(path)
    sink.__enter__()
    sink.expect(size)
    sink.write(b"half of")
    del sink
    gc.collect()

    assert names(path) == []


@posix
def test_a_forked_child_leaves_the_parent_s_save_alone(path: Path, in_child: Callable[..., None]) -> None:
    """It has a copy of everything, and drops it when it ends."""
    sinks = [FileSink(path)]
    sinks[0].__enter__()
    sinks[0].write(b"new")

    def drop() -> None:
        sinks.clear()
        gc.collect()

    in_child(drop)
    sinks[0].__exit__(None, None, None)

    assert path.read_bytes() == b"new"

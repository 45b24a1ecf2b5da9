"""A full disk: said before anything is written, if it can be known, with how much was needed and how much there was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ptfile.sinks import FileSink, space
from ptfile.sinks.local_file import LARGE

posix = pytest.mark.skipif(os.name == "nt", reason="limits and devices of POSIX")

MIB = 1 << 20
PLENTY = SimpleNamespace(f_frsize=4096, f_blocks=1 << 30, f_bfree=1 << 29, f_bavail=1 << 29)


def full(*, free: int = 3 * MIB, reserved: int = 0, counted: bool = True) -> Any:
    """What `fstatvfs` says of a file system with so many bytes left, and more for root."""
    blocks, more = free // 4096, reserved // 4096
    return SimpleNamespace(f_frsize=4096, f_blocks=1 << 20 if counted else 0, f_bfree=blocks + more, f_bavail=blocks)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A full disk, of a kind that stores what it is given as it is; a test can make it another."""
    said = SimpleNamespace(answers=[full()], kind="ext4", asked=0)

    def fstatvfs(_: int) -> Any:
        said.asked += 1
        answer = said.answers[min(said.asked, len(said.answers)) - 1]
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "fstatvfs", fstatvfs, raising=False)
    monkeypatch.setattr(space, "_file_system", lambda _: said.kind)
    monkeypatch.setattr(space, "_PAUSE", 0.0)
    return said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")
    return path


def save(path: Path, size: int = LARGE) -> None:
    """Only said to be large."""
    with FileSink(path) as sink:
        sink.expect(size)
        sink.write(b"new")


def test_a_save_that_cannot_fit_is_refused_before_it_is_written(
    path: Path, disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it needs and what there is; the old file stays, and nothing else."""
    monkeypatch.setattr(os, "write", lambda *_: pytest.fail("written"))
    with pytest.raises(OSError) as caught:
        save(path, 16 * MIB)

    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert caught.value.strerror == f"{os.strerror(errno.ENOSPC)}: it needs 16,777,216 bytes, and 3,145,728 are free"
    assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == {"model.pt": b"old"}


@pytest.mark.parametrize("kind", ["btrfs", "zfs", "nfs4", "overlay", "fuse", None])
def test_where_a_file_may_take_less_than_its_bytes_it_is_tried(path: Path, disk: Any, kind: str | None) -> None:
    """Compressed, on another machine, or who knows."""
    disk.kind = kind
    save(path)

    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    "answer",
    [full(free=LARGE), full(reserved=LARGE), full(free=0, counted=False), OSError(errno.ENOSYS, "no such thing")],
    ids=["it just fits", "with what root may use", "a file system that does not count", "no answer"],
)
def test_a_save_that_might_fit_is_tried(path: Path, disk: Any, answer: Any) -> None:
    """Only what clearly cannot fit is refused."""
    disk.answers = [answer]
    save(path)

    assert path.read_bytes() == b"new"


def test_what_is_being_freed_is_waited_for(path: Path, disk: Any) -> None:
    """Some file systems free what was removed a moment later."""
    disk.answers = [full(), PLENTY]
    save(path)

    assert path.read_bytes() == b"new"


def test_a_small_save_does_not_ask(path: Path, disk: Any) -> None:
    """Trying is quicker."""
    save(path, LARGE - 1)

    assert (path.read_bytes(), disk.asked) == (b"new", 0)


def test_a_disk_that_gets_full_says_what_was_needed(path: Path, disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what there was for it, which is what is left and what it has taken itself."""
    real = os.write
    disk.answers = [full(free=0)]

    def write(file: int, data: Any) -> int:
        if os.fstat(file).st_size >= 8192:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data[:4096])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError) as caught, FileSink(path) as sink:  # noqa: PT012 - it is the write that fails
        sink.expect(100_000)
        sink.write(bytes(100_000))

    words = f"{os.strerror(errno.ENOSPC)}: it needs 100,000 bytes, and "
    said = str(caught.value.strerror)
    assert said.startswith(words)
    assert int(said[len(words) :].partition(" ")[0].replace(",", "")) >= 8192
    assert caught.value.filename == str(path)


def test_a_quota_says_what_was_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of it the system does not tell."""

    def write(*_: Any) -> int:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError) as caught:
        save(path, 100)

    assert caught.value.strerror == f"{os.strerror(errno.EDQUOT)}: it needs 100 bytes"


def test_other_errors_are_as_the_system_says_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not about space."""

    def write(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError) as caught:
        save(path, 100)

    assert caught.value.strerror == os.strerror(errno.EIO)


PROGRAM = """
import resource, sys, os, errno
from ptfile.sinks import FileSink
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
path, size = sys.argv[1], int(sys.argv[2])
real, written = os.write, []
os.write = lambda file, data: written.append(real(file, data)) or written[-1]
try:
    with FileSink(path) as sink:
        sink.expect(size)
        sink.write(bytes(size))
except OSError as error:
    assert error.errno == errno.EFBIG and error.filename == path, error
    print(sum(written), error.strerror)
"""


@posix
@pytest.mark.parametrize(("size", "written"), [(1_500_000, 1_000_000), (LARGE, 0)])
def test_a_limit_on_the_size_of_files_is_said(path: Path, size: int, written: int) -> None:
    """`ulimit -f`: a large file is refused before it is written."""
    child = [sys.executable, "-c", PROGRAM, str(path), str(size)]
    said = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout

    words = f"it needs {size:,} bytes, and this process may write 1,000,000 (ulimit -f)"
    assert said == f"{written} {os.strerror(errno.EFBIG)}: {words}\n"
    assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == {"model.pt": b"old"}


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_device_is_the_plain_error() -> None:
    """It is written straight through, and nothing is known of its space."""
    with pytest.raises(OSError) as caught:
        save(Path("/dev/full"))

    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")
    assert caught.value.strerror == os.strerror(errno.ENOSPC)


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="Linux only")
def test_the_kind_of_a_file_system_is_what_it_is_mounted_as() -> None:
    """`/proc` is a file system too."""
    assert space._file_system(os.stat("/proc").st_dev) == "proc"
    assert space._file_system(0) is None

"""Durable saves of large files: the disk begins before the last byte is there, and the file is the same."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

import pytest

from ptfile.sinks import FileSink, local_file, write_back

linux = pytest.mark.skipif(sys.platform != "linux", reason="calls of Linux")

SIZE = local_file.LARGE + 12_345
PIECE = 1_000_000


class System:
    """In place of the C library: notes what it is asked for, and answers `answer` to the preallocation."""

    def __init__(self, answer: int = 0) -> None:
        self.answer = answer
        self.allocated: list[int] = []
        self.begun: list[tuple[int, int]] = []

    def fallocate(self, file: int, mode: int, offset: int, size: int) -> int:
        self.allocated.append(size)
        ctypes.set_errno(self.answer)
        return -1 if self.answer else 0

    def sync_file_range(self, file: int, offset: int, length: int, flags: int) -> int:
        self.begun.append((offset, length))
        return -1  # which nobody looks at: fsync tells


@pytest.fixture
def content() -> bytes:
    return os.urandom(4096) * (SIZE // 4096 + 1)


def save(path: Path, content: bytes, *, fsync: bool = True, size: int = SIZE, skip: int = 0) -> None:
    with FileSink(path, fsync=fsync) as sink:
        sink.expect(size)
        sink.skip(skip)
        for start in range(0, SIZE, PIECE):
            sink.write(content[start : min(start + PIECE, SIZE)])


def stand_in(monkeypatch: pytest.MonkeyPatch, system: System | None) -> None:
    monkeypatch.setattr(write_back, "_system", lambda: system)


def test_a_large_durable_file_has_all_its_bytes(tmp_path: Path, content: bytes) -> None:
    """With whatever this system and this file system can do."""
    save(tmp_path / "model.pt", content)

    assert (tmp_path / "model.pt").read_bytes() == content[:SIZE]


@pytest.mark.parametrize("system", [None, System(errno.EOPNOTSUPP), System(errno.EINTR)])
def test_a_system_without_such_calls_will_do(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, system: System | None
) -> None:
    """macOS, Windows, and file systems that refuse: the file is the same."""
    stand_in(monkeypatch, system)
    save(tmp_path / "model.pt", content)

    assert (tmp_path / "model.pt").read_bytes() == content[:SIZE]


def test_the_disk_is_asked_for_each_byte_once_and_in_order(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps, up to what is left for the fsync; a hole counts as written."""
    system = System()
    stand_in(monkeypatch, system)
    save(tmp_path / "model.pt", content, skip=5_000_000)

    assert system.allocated == [SIZE]
    assert system.begun == [(0, 9_000_000), (9_000_000, 9_000_000)]


@pytest.mark.parametrize(("fsync", "size"), [(False, SIZE), (True, local_file.LARGE - 1)])
def test_other_files_are_left_to_the_system(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, fsync: bool, size: int
) -> None:
    """Nobody waits for the disk there, or not for long."""
    system = System()
    stand_in(monkeypatch, system)
    save(tmp_path / "model.pt", content, fsync=fsync, size=size)

    assert (system.allocated, system.begun) == ([], [])


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_known_before_the_first_byte(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    """The error names the user's path, and the old file stays."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")
    stand_in(monkeypatch, System(failure))
    with pytest.raises(OSError) as caught:
        save(path, content)

    assert (caught.value.errno, caught.value.filename) == (failure, str(path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"model.pt": b"old"}


@linux
def test_a_file_shorter_than_expected_ends_with_its_last_byte(tmp_path: Path) -> None:
    """Room that was reserved behind it is no part of the file."""
    with FileSink(tmp_path / "model.pt", fsync=True) as sink:
        sink.expect(SIZE)
        sink.write(b"short")

    assert (tmp_path / "model.pt").read_bytes() == b"short"


@linux
def test_a_pipe_is_written_straight_through(tmp_path: Path) -> None:
    """There is no disk behind it."""
    read, write = os.pipe()
    with FileSink(f"/dev/fd/{write}", fsync=True) as sink:
        sink.expect(SIZE)
        sink.write(b"new")
    os.close(write)

    with os.fdopen(read, "rb") as file:
        assert file.read() == b"new"

"""Sinks: all of the bytes or none, and what happens to the file that was there before."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from ptfile._types import Buffer
from ptfile.sinks import FileSink, Sink, StreamSink, folder

posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and FIFOs of POSIX")
needs_user = pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may do everything")

PIECES: tuple[Buffer, ...] = (
    b"new ",
    bytearray(b"bytes "),
    memoryview(b"and more"),
    b"",
    cast("Buffer", memoryview(b"12345678").cast("d")),
)
WHOLE = b"new bytes and more12345678"


def save(sink: Sink) -> None:
    with sink:
        for piece in PIECES:
            sink.write(piece)


def save_and_fail(sink: Sink) -> None:
    with pytest.raises(ZeroDivisionError), sink:  # noqa: PT012 - that the block fails halfway is the point
        sink.write(b"half of it")
        raise ZeroDivisionError


def save_around_a_hole(sink: Sink, length: int) -> None:
    with sink:
        sink.write(b"before")
        sink.skip(length)
        sink.write(b"behind")


class TestFileSink:
    def test_a_new_file_has_all_the_bytes(self, tmp_path: Path) -> None:
        """Pieces of any kind of buffer, one behind the other, and nothing else in the folder."""
        save(FileSink(tmp_path / "model.pt"))

        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"model.pt": WHOLE}

    def test_an_old_file_is_replaced(self, target: Path) -> None:
        """It has the new bytes and no temporary is left beside it."""
        save(FileSink(target))

        assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"model.pt": WHOLE}

    @pytest.mark.parametrize("length", [0, 1, 5_000_000])
    def test_what_is_skipped_is_zeros(self, target: Path, length: int) -> None:
        """Whatever the old file had there; on most file systems they take no space."""
        save_around_a_hole(FileSink(target), length)

        assert target.read_bytes() == b"before" + bytes(length) + b"behind"

    @posix
    def test_zeros_are_written_where_there_are_no_holes(self, tmp_path: Path) -> None:
        """Into a FIFO."""
        os.mkfifo(tmp_path / "fifo")
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append((tmp_path / "fifo").read_bytes()))
        reader.start()
        save_around_a_hole(FileSink(tmp_path / "fifo"), 3_000_000)
        reader.join()

        assert read == [b"before" + bytes(3_000_000) + b"behind"]

    def test_the_old_file_is_whole_until_the_commit(self, target: Path) -> None:
        """A reader sees the old bytes or the new ones, never some of each."""
        with FileSink(target) as sink:
            sink.write(b"new")
            assert target.read_bytes() == b"old"

        assert target.read_bytes() == b"new"

    def test_nothing_is_opened_before_the_sink_is_entered(self, tmp_path: Path) -> None:
        """An object that cannot be pickled fails before the folder is touched."""
        FileSink(tmp_path / "model.pt")

        assert list(tmp_path.iterdir()) == []

    def test_an_exception_leaves_the_old_file_and_no_other(self, target: Path) -> None:
        """Abort removes the temporary."""
        save_and_fail(FileSink(target))

        assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"model.pt": b"old"}

    def test_an_exception_leaves_no_new_file(self, tmp_path: Path) -> None:
        """Where there was none before, there is none after."""
        save_and_fail(FileSink(tmp_path / "model.pt"))

        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("fsync", [False, True])
    @pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EACCES])
    def test_whichever_call_fails_the_old_file_stays(
        self, target: Path, monkeypatch: pytest.MonkeyPatch, failure: int, fsync: bool
    ) -> None:
        """Fail the first call, the second, ... until a save succeeds: each time the old bytes, no temporary, the
        errno and the user's path.
        """
        for nth in range(1, 30):
            with monkeypatch.context() as patch:
                failed = fail_nth_call(patch, nth, failure)
                try:
                    save(FileSink(target, fsync=fsync))
                except OSError as error:
                    assert (error.errno, error.filename) == (failure, str(target))  # noqa: PT017 - it may succeed
                else:
                    if not failed:
                        break
                    assert failed == ["close folder"]  # which loses nothing
            if failed not in (["fsync folder"], ["close folder"]):  # by then the new file has its name, whole
                assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"model.pt": b"old"}
            target.write_bytes(b"old")

        assert nth > 8
        assert target.read_bytes() == WHOLE

    def test_short_writes_are_continued(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The system may take fewer bytes than offered."""
        real = os.write
        monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:3]))
        save(FileSink(target))

        assert target.read_bytes() == WHOLE

    def test_small_pages_are_filled_one_by_one(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No call goes over the end of one, wherever in the file it begins."""
        calls: list[int] = []

        def counted(file: int, data: Any, write: Any = os.write) -> int:
            calls.append(len(data))
            return write(file, data)  # type: ignore[no-any-return]

        monkeypatch.setattr(os, "write", counted)
        with FileSink(target, small_pages=True) as sink:
            sink.write(b"a" * 5)
            sink.skip(95)
            sink.write(b"b" * 100_000)
        assert calls == [5, 32_768 - 100, 32_768, 32_768, 1_796]
        assert target.read_bytes() == b"aaaaa" + bytes(95) + b"b" * 100_000

    def test_a_system_that_takes_nothing_is_an_error(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """And not a loop for ever."""
        monkeypatch.setattr(os, "write", lambda file, data: 0)
        with pytest.raises(OSError, match="took no bytes"):
            save(FileSink(target))

        assert target.read_bytes() == b"old"

    @posix
    def test_the_mode_of_the_old_file_is_kept(self, target: Path) -> None:
        """A private checkpoint stays private, an executable one executable."""
        for mode in (0o600, 0o640, 0o755):
            target.chmod(mode)
            save(FileSink(target))

            assert stat.S_IMODE(target.stat().st_mode) == mode

    @posix
    def test_the_temporary_of_a_private_file_is_private(self, target: Path) -> None:
        """Others must not read the new checkpoint while it is being written."""
        target.chmod(0o600)
        with FileSink(target):
            (temporary,) = set(target.parent.iterdir()) - {target}

            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600

    @posix
    def test_a_new_file_obeys_the_umask(self, tmp_path: Path, umask: None) -> None:
        """As `open` would make it."""
        save(FileSink(tmp_path / "model.pt"))

        assert stat.S_IMODE((tmp_path / "model.pt").stat().st_mode) == 0o640

    @pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
    def test_extended_attributes_are_kept(self, target: Path) -> None:
        """Where the file system has them."""
        try:
            os.setxattr(target, "user.origin", b"here")
        except OSError as error:
            pytest.skip(f"no extended attributes on this file system: {error}")
        save(FileSink(target))

        assert os.getxattr(target, "user.origin") == b"here"

    @pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root may give files away")
    def test_the_owner_is_kept(self, target: Path) -> None:
        """Root saving over a user's file leaves it the user's."""
        os.chown(target, 12345, 54321)
        save(FileSink(target))

        assert (target.stat().st_uid, target.stat().st_gid) == (12345, 54321)

    @posix
    def test_a_symlink_stays_and_its_target_is_replaced(self, target: Path, tmp_path: Path) -> None:
        """`latest.pt -> model.pt` is written through, also across folders and links to links."""
        (tmp_path / "links").mkdir()
        latest = tmp_path / "links" / "latest.pt"
        latest.symlink_to(Path("..") / "second.pt")
        (tmp_path / "second.pt").symlink_to(target)
        save(FileSink(latest))

        assert latest.is_symlink()
        assert (tmp_path / "second.pt").is_symlink()
        assert target.read_bytes() == WHOLE
        assert [path.name for path in (tmp_path / "links").iterdir()] == ["latest.pt"]

    @posix
    @pytest.mark.parametrize("fails", [False, True])
    def test_a_folder_is_the_same_one_to_the_end(self, target: Path, tmp_path: Path, fails: bool) -> None:
        """`latest/model.pt`, and `latest` is turned to another folder meanwhile: the save goes where it began."""
        (tmp_path / "other").mkdir()
        latest = tmp_path / "latest"
        latest.symlink_to(target.parent)

        def turn(sink: Sink) -> None:
            with sink:
                sink.write(WHOLE)
                latest.unlink()
                latest.symlink_to("other")
                if fails:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext():
            turn(FileSink(latest / "model.pt"))

        assert target.read_bytes() == (b"old" if fails else WHOLE)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "model.pt", "other"]
        assert list((tmp_path / "other").iterdir()) == []

    def test_a_system_without_handles_of_folders_will_do(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Windows: files are named by their paths, and a failed save still leaves the old one and no other."""
        monkeypatch.setattr(folder, "_HAS_HANDLES", False)
        save_and_fail(FileSink(target))

        assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"model.pt": b"old"}
        save(FileSink(target, fsync=True))

        assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"model.pt": WHOLE}

    @posix
    def test_a_dangling_symlink_gets_its_target(self, tmp_path: Path) -> None:
        """As `open` for writing would do."""
        (tmp_path / "latest.pt").symlink_to("model.pt")
        save(FileSink(tmp_path / "latest.pt"))

        assert (tmp_path / "latest.pt").is_symlink()
        assert (tmp_path / "model.pt").read_bytes() == WHOLE

    @posix
    def test_a_symlink_to_itself_is_the_plain_error(self, tmp_path: Path) -> None:
        """ELOOP, with the path."""
        (tmp_path / "loop.pt").symlink_to("loop.pt")
        with pytest.raises(OSError) as caught:
            save(FileSink(tmp_path / "loop.pt"))

        assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, str(tmp_path / "loop.pt"))

    @posix
    def test_another_hard_link_keeps_the_old_bytes(self, target: Path, tmp_path: Path) -> None:
        """The name is replaced, not the bytes behind it."""
        os.link(target, tmp_path / "backup.pt")
        save(FileSink(target))

        assert ((tmp_path / "backup.pt").read_bytes(), target.read_bytes()) == (b"old", WHOLE)

    @posix
    def test_a_fifo_is_written_straight_through(self, tmp_path: Path) -> None:
        """And is a FIFO afterwards."""
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
        reader.start()
        save(FileSink(fifo, fsync=True))
        reader.join(10)

        assert read == [WHOLE]
        assert stat.S_ISFIFO(fifo.stat().st_mode)

    @posix
    def test_a_socket_s_name_is_the_plain_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A socket is not opened by its name, and must not be replaced."""
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
            with pytest.raises(OSError) as caught:
                save(FileSink("socket"))

        assert (caught.value.errno, caught.value.filename) == (errno.ENXIO, "socket")
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
        assert [path.name for path in tmp_path.iterdir()] == ["socket"]

    @posix
    @pytest.mark.parametrize("redirected", [False, True])
    def test_standard_output_is_written_straight_through(self, tmp_path: Path, redirected: bool) -> None:
        """A pipe, and a file that the shell has redirected to and goes on writing to."""
        program = "import sys; from ptfile.sinks import FileSink\nwith FileSink('/dev/stdout') as s: s.write(b'new')"
        if redirected:
            with (tmp_path / "out").open("wb") as out:
                subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
                assert os.fstat(out.fileno()).st_size == 3
            assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out": b"new"}
        else:
            assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout == b"new"

    @pytest.mark.parametrize("name", ["m" * 255, "é" * 127 + "m", "模" * 85])
    def test_a_name_of_255_bytes_works(self, tmp_path: Path, name: str) -> None:
        """The temporary's name is shortened to fit."""
        try:
            (tmp_path / name).write_bytes(b"old")
        except OSError as error:
            pytest.skip(f"no such names on this file system: {error}")
        save(FileSink(tmp_path / name))

        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: WHOLE}

    def test_a_directory_is_the_plain_error(self, tmp_path: Path) -> None:
        """IsADirectoryError with the path."""
        with pytest.raises(IsADirectoryError) as caught:
            save(FileSink(tmp_path))

        assert str(tmp_path) == caught.value.filename

    def test_a_trailing_slash_means_a_directory(self, tmp_path: Path) -> None:
        """Also where there is none: nothing is made."""
        with pytest.raises(IsADirectoryError):
            save(FileSink(f"{tmp_path}/models/"))

        assert list(tmp_path.iterdir()) == []

    def test_a_missing_directory_is_the_plain_error(self, tmp_path: Path) -> None:
        """FileNotFoundError with the path the user gave, not the temporary's."""
        with pytest.raises(FileNotFoundError) as caught:
            save(FileSink(tmp_path / "models" / "model.pt"))

        assert str(tmp_path / "models" / "model.pt") == caught.value.filename

    def test_an_empty_path_is_the_plain_error(self) -> None:
        """As `open` raises it."""
        with pytest.raises(FileNotFoundError):
            save(FileSink(""))

    def test_a_file_name_without_a_folder_is_in_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also when the program changes its folder between entering and leaving."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "other").mkdir()
        with FileSink("model.pt", fsync=True) as sink:
            sink.write(b"new")
            os.chdir("other")

        assert (tmp_path / "model.pt").read_bytes() == b"new"

    @posix
    @needs_user
    def test_a_read_only_file_is_not_replaced(self, target: Path) -> None:
        """Renaming over it would work; whoever made it read-only meant it."""
        target.chmod(0o444)
        with pytest.raises(PermissionError):
            save(FileSink(target))

        assert target.read_bytes() == b"old"

    def test_a_durable_save_syncs_the_file_before_the_rename_and_the_folder_after(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """write, fsync(file), replace, fsync(folder): in any other order a power cut could lose both."""
        calls: list[str] = []
        record_calls(monkeypatch, calls)
        save(FileSink(target, fsync=True))

        folder = ["sync folder"] if os.name != "nt" else []
        assert calls == [*["write"] * 4, "sync file", "replace", *folder]

    def test_an_ordinary_save_syncs_nothing(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It would take the time of the disk for what the page cache keeps as well."""
        calls: list[str] = []
        record_calls(monkeypatch, calls)
        save(FileSink(target))

        assert calls == [*["write"] * 4, "replace"]


def is_folder(file: object) -> bool:
    return isinstance(file, int) and stat.S_ISDIR(os.fstat(file).st_mode)


def kind_of_sync(file: int) -> str:
    return "sync folder" if is_folder(file) else "sync file"


def record_calls(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    """Note writes, fsyncs and renames in the order they are made."""

    def note(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(kind_of_sync(args[0]) if name == "fsync" else name)
            return real(*args, **kwargs)

        return call

    for name in ("write", "fsync", "replace"):
        monkeypatch.setattr(os, name, note(name, getattr(os, name)))


def fail_nth_call(monkeypatch: pytest.MonkeyPatch, nth: int, failure: int) -> list[str]:
    """Let the nth call that a save makes of the system fail; the list names the one that did."""
    count = 0
    failed: list[str] = []

    def wrap(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count != nth:
                return real(*args, **kwargs)
            failed.append(f"{name} folder" if name != "open" and is_folder(args[0]) else name)
            if name == "close":  # what Linux does: the handle is gone, and the error says that bytes are
                real(*args)
            raise OSError(failure, os.strerror(failure))

        return call

    for name in ("open", "write", "fsync", "close", "replace", "fchmod", "stat"):
        if hasattr(os, name):
            monkeypatch.setattr(os, name, wrap(name, getattr(os, name)))
    return failed


class Keeping:
    """A file-like that answers its writes as it is told to and keeps what it took."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.taken = b""
        self.flushed = 0

    def write(self, data: Buffer) -> object:
        answer = self.answers.pop(0) if self.answers else len(data)
        self.taken += bytes(data[: answer if isinstance(answer, int) else len(data)])
        return answer

    def flush(self) -> None:
        self.flushed += 1


class TestStreamSink:
    def test_it_writes_from_where_the_file_stands_flushes_and_leaves_it_open(self) -> None:
        """The file is the caller's, and what is in it before is too."""
        file = io.BytesIO(b"head")
        file.seek(4)
        save(StreamSink(file))

        assert (file.getvalue(), file.closed) == (b"head" + WHOLE, False)

    @pytest.mark.parametrize("length", [0, 1, 5000])
    def test_what_is_skipped_is_zeros_or_what_was_there(self, length: int) -> None:
        """As with PyTorch, which leaves it for a later write."""
        fresh, full = io.BytesIO(), io.BytesIO(b"x" * 10_000)
        for file in (fresh, full):
            save_around_a_hole(StreamSink(file), length)

        assert fresh.getvalue() == b"before" + bytes(length) + b"behind"
        assert full.getvalue() == b"before" + b"x" * length + b"behind" + b"x" * (10_000 - length - 12)

    def test_zeros_are_written_where_it_cannot_seek(self, tmp_path: Path) -> None:
        """To an object without seek, to a pipe, and to a file that is appended to."""
        whole = b"before" + bytes(3000) + b"behind"
        keeping = Keeping()
        save_around_a_hole(StreamSink(keeping), 3000)
        read, write = os.pipe()
        with open(write, "wb") as pipe, open(read, "rb") as other_end:
            save_around_a_hole(StreamSink(pipe), 3000)
            through_pipe = other_end.read(len(whole))
        with (tmp_path / "log").open("ab") as file:
            file.write(b"old")
            save_around_a_hole(StreamSink(file), 3000)

        assert (keeping.taken, through_pipe) == (whole, whole)
        assert (tmp_path / "log").read_bytes() == b"old" + whole

    def test_it_needs_write_and_flush_only(self) -> None:
        """What PyTorch asks of a file-like object; flushed once, at the end."""
        file = Keeping()
        save(StreamSink(file))

        assert (file.taken, file.flushed) == (WHOLE, 1)

    def test_short_writes_are_continued(self) -> None:
        """Raw files and sockets take what they can."""
        file = Keeping(1, 2, 1, 4, 2)
        save(StreamSink(file))

        assert file.taken == WHOLE

    def test_none_from_a_file_like_means_all(self) -> None:
        """Many a wrapper forgets to return the count."""
        file = Keeping(None, None, None, None)
        save(StreamSink(file))

        assert file.taken == WHOLE

    @pytest.mark.parametrize("answer", [0, -1, 1000, "4"])
    def test_an_answer_that_cannot_be_is_an_error(self, answer: object) -> None:
        """Nothing taken, or more than offered: going on would lose bytes or loop for ever."""
        with pytest.raises(OSError, match="took"):
            save(StreamSink(Keeping(answer)))

    def test_none_from_a_raw_file_means_nothing(self) -> None:
        """`io.RawIOBase.write` says so: the stream would have blocked."""

        class Full(io.RawIOBase):
            def write(self, data: Any) -> None:
                return None

        with pytest.raises(BlockingIOError):
            save(StreamSink(Full()))

    def test_an_exception_flushes_nothing(self) -> None:
        """A stream cannot be taken back; it isn't pushed on either."""
        file = Keeping()
        save_and_fail(StreamSink(file))

        assert (file.taken, file.flushed) == (b"half of it", 0)

    @posix
    def test_a_pipe_takes_it_without_seeking(self) -> None:
        """Saving to a pipe or a socket works."""
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as file:
            save(StreamSink(file))
        with os.fdopen(reading, "rb") as file:
            assert file.read() == WHOLE

    def test_a_socket_takes_it(self) -> None:
        """As a file object of its own kind, buffered or not."""
        for buffering in (-1, 0):
            here, there = socket.socketpair()
            with here, there, here.makefile("wb", buffering=buffering) as file:
                save(StreamSink(file))
                assert there.recv(1000) == WHOLE

    @posix
    def test_a_signal_in_the_middle_of_a_write_changes_nothing(self, tmp_path: Path) -> None:
        """The write is cut short, or begun again (EINTR), and continued: here while a FIFO is full."""
        os.mkfifo(tmp_path / "fifo")
        caught: list[int] = []
        read: list[bytes] = []

        def read_late() -> None:
            with (tmp_path / "fifo").open("rb") as fifo:
                while len(caught) < 3:
                    time.sleep(0.01)
                read.append(fifo.read())

        reader = threading.Thread(target=read_late)
        before = signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            reader.start()
            with FileSink(tmp_path / "fifo") as sink:
                sink.write(bytes(range(256)) * 4000)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            reader.join()

        assert read == [bytes(range(256)) * 4000]

    def test_its_name_is_the_files_or_its_kind(self) -> None:
        """For errors."""
        with contextlib.closing(io.BytesIO()) as file:
            assert StreamSink(file).name == "BytesIO"

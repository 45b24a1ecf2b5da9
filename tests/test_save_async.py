"""`ptfile.save_async`: what `save` promises, while the program goes on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import inspect
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile._background import WRITER
from ptfile._types import Buffer
from ptfile.tensors.storage import Storage

posix = pytest.mark.skipif(os.name == "nt", reason="fork, FIFOs and signals of POSIX")
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""A shell starts programs in the background with interrupts ignored, and these start others."""
LEGACY = {"_use_new_zipfile_serialization": False}
MIB = 1 << 20


class Gate(io.BytesIO):
    """A file that takes nothing before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.asked = threading.Event()

    def write(self, data: Any) -> int:
        self.asked.set()
        assert self.opened.wait(60)
        return super().write(data)


class Slow:
    """A file that keeps nothing, and takes its time."""

    written = 0

    def write(self, data: Buffer) -> int:
        time.sleep(0.002)
        self.written += memoryview(data).nbytes
        return memoryview(data).nbytes

    def flush(self) -> None: ...


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture(autouse=True)
def _all_is_written() -> Iterator[None]:
    """No test leaves a save to the next one, and the thread ends with the last of them."""
    yield
    for thread in threading.enumerate():
        if thread.name == "ptfile-save":
            thread.join(60)
    assert WRITER.taken == 0
    assert WRITER._thread is None


def value() -> dict[str, Any]:
    """Small and large tensors, two of which share a storage."""
    large = ptfile.arange(300_000)
    small = {f"layer.{number}": ptfile.arange(10) + number for number in range(20)}
    return {"large": large, "view": large[7:90], **small, "empty": ptfile.zeros(0), "epoch": 3}


def saved(obj: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(obj, buffer, **options)
    return buffer.getvalue()


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, in a folder."""
    head = "import ptfile, os, sys, threading\nold, new = ptfile.zeros(5_000_000), ptfile.ones(5_000_000)\n"
    command = [sys.executable, "-W", "ignore", "-c", head + script]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=120, check=False)


class TestTheFile:
    @pytest.mark.parametrize("memory", [None, 0, 1000, 2_000_000])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            LEGACY,
            {"storages": "reachable"},
            {"checksum": False, "storage_alignment": 4096, "pickle_protocol": 4},
            {"_disable_byteorder_record": True},
        ],
    )
    def test_it_is_the_one_that_save_writes(self, tmp_path: Path, options: dict[str, Any], memory: int | None) -> None:
        """Byte for byte, whatever was copied and whatever was not."""
        (tmp_path / "other").mkdir()
        ptfile.save(value(), tmp_path / "other" / "model.pt", **options)
        ptfile.save_async(value(), tmp_path / "model.pt", memory=memory, **options).result()

        assert (tmp_path / "model.pt").read_bytes() == (tmp_path / "other" / "model.pt").read_bytes()

    @pytest.mark.parametrize("options", [{}, LEGACY])
    def test_changes_after_the_call_are_not_in_it(self, gate: Gate, options: dict[str, Any]) -> None:
        """Though not a byte was written by then: of tensors, of numpy arrays, of the tree."""
        tree = {**value(), "array": np.arange(100_000), "list": [1]}
        before = saved(tree, **options)
        saving = ptfile.save_async(tree, gate, **options)
        tree["large"] += 1
        tree["layer.3"] += 1
        tree["array"] += 1
        tree["list"].append(2)
        del tree["epoch"]
        assert gate.getvalue() == b""
        gate.opened.set()
        saving.result()

        assert gate.getvalue() == before

    def test_of_saves_to_one_path_the_last_stays(self, tmp_path: Path) -> None:
        """And nothing is left beside it."""
        for number in range(30):
            last = ptfile.save_async({"step": number, "weight": ptfile.arange(40_000) + number}, tmp_path / "model.pt")
        last.result()

        assert ptfile.load(tmp_path / "model.pt")["step"] == 29
        assert os.listdir(tmp_path) == ["model.pt"]

    def test_threads_may_save_at_once(self, tmp_path: Path) -> None:
        """With less memory than one of them asks for, each file is whole."""
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            calls = [
                threads.submit(
                    ptfile.save_async, [ptfile.arange(50_000) + number], tmp_path / f"{number}.pt", memory=10**5
                )
                for number in range(16)
            ]
            for call in calls:
                call.result(60).result(60)

        assert [ptfile.load(tmp_path / f"{number}.pt")[0][0].item() for number in range(16)] == list(range(16))

    def test_a_relative_path_is_one_of_the_folder_at_the_time(
        self, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever the program has gone when its turn comes."""
        monkeypatch.chdir(tmp_path)
        ptfile.save_async(1, gate)
        saving = ptfile.save_async(2, "model.pt")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        gate.opened.set()
        saving.result()

        assert ptfile.load(tmp_path / "model.pt") == 2

    @posix
    def test_the_program_runs_while_a_write_waits(self, tmp_path: Path) -> None:
        """The thread that writes holds no lock of the interpreter: this one reads what the other writes into a FIFO."""
        os.mkfifo(tmp_path / "fifo")
        saving = ptfile.save_async(value(), tmp_path / "fifo")
        read = (tmp_path / "fifo").read_bytes()
        saving.result()

        assert ptfile.load(io.BytesIO(read))["epoch"] == 3


class TestMemory:
    @pytest.mark.parametrize("options", [{}, LEGACY])
    def test_copies_take_no_more_than_they_may(self, options: dict[str, Any]) -> None:
        """Eight times as much is saved, to a file that is slow."""
        tree = [ptfile.zeros(MIB) for _ in range(16)]  # of 4 MiB each
        tracemalloc.start()
        try:
            ptfile.save_async(tree, Slow(), memory=8 * MIB, **options).result()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert 4 * MIB < peak < 9 * MIB

    def test_what_is_larger_than_the_memory_is_written_before_the_call_returns(self) -> None:
        """Without a copy, all but what follows the last such tensor."""
        file = Slow()
        ptfile.save_async([ptfile.zeros(MIB), ptfile.zeros(MIB), ptfile.zeros(10)], file, memory=MIB)

        assert file.written > 8 * MIB

    def test_all_saves_share_the_memory(self, gate: Gate) -> None:
        """The second begins when there is room for it."""
        returned = threading.Event()

        def save_another() -> None:
            ptfile.save_async(ptfile.ones(MIB), io.BytesIO(), memory=6 * MIB)
            returned.set()

        ptfile.save_async(ptfile.zeros(MIB), gate, memory=6 * MIB)
        thread = threading.Thread(target=save_another)
        thread.start()
        assert not returned.wait(0.1)
        gate.opened.set()
        thread.join()

        assert returned.is_set()

    def test_by_default_all_is_copied_that_is_small(self, gate: Gate) -> None:
        """The call returns before anything is written."""
        saving = ptfile.save_async(value(), gate)

        assert not saving.done()
        assert WRITER.taken > 2_400_000

    @pytest.mark.parametrize("options", [{}, LEGACY])
    def test_what_was_copied_is_let_go(self, gate: Gate, options: dict[str, Any]) -> None:
        """The caller may have made it for the save alone."""
        tensor = ptfile.ones(100_000)
        storage = weakref.ref(tensor.untyped_storage())
        saving = ptfile.save_async(tensor, gate, **options)
        del tensor

        assert storage() is None
        assert not saving.done()

    def test_it_is_given_back_when_a_save_fails(self, tmp_path: Path, gate: Gate) -> None:
        """What has failed needs no copies."""
        ptfile.save_async(1, gate)
        saving = ptfile.save_async(value(), tmp_path / "missing" / "model.pt")
        gate.opened.set()
        with pytest.raises(FileNotFoundError):
            saving.result()

        assert WRITER.taken == 0


class TestErrors:
    def test_what_writing_raises_comes_with_the_result(self, tmp_path: Path) -> None:
        """With the path, like that of `save`."""
        path = tmp_path / "missing" / "model.pt"
        with pytest.raises(FileNotFoundError) as raised:
            ptfile.save_async(value(), path).result()

        assert raised.value.filename == str(path)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
    @pytest.mark.parametrize("memory", [None, 0])
    def test_a_full_disk_is_an_error(self, memory: int | None) -> None:
        """Also if the call was still waiting for bytes to be written."""
        error = ptfile.save_async(value(), "/dev/full", memory=memory).exception()

        assert isinstance(error, OSError)
        assert error.errno == errno.ENOSPC

    def test_an_object_that_cannot_be_pickled_is_an_error_at_once(self, tmp_path: Path) -> None:
        """Before anything is opened."""
        with pytest.raises(Exception, match="pickle"):
            ptfile.save_async(lambda: None, tmp_path / "model.pt")

        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("options", [{"storages": "all"}, {"memory": -1}, {"pickle_protocol": 0}])
    def test_a_wrong_argument_is_an_error_at_once(self, options: dict[str, Any]) -> None:
        """That is the caller's to mend."""
        with pytest.raises((ValueError, ptfile.UnsupportedError)):
            ptfile.save_async(1, io.BytesIO(), **options)

    def test_a_failed_save_leaves_the_old_file(self, tmp_path: Path) -> None:
        """And no other."""
        ptfile.save("old", tmp_path / "model.pt")

        def stop(done: int, _total: int) -> None:
            if done > 1000:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ptfile.save_async(value(), tmp_path / "model.pt", progress=stop).result()

        assert ptfile.load(tmp_path / "model.pt") == "old"
        assert os.listdir(tmp_path) == ["model.pt"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
    def test_a_call_that_is_interrupted_saves_nothing(self, tmp_path: Path, error: type[BaseException]) -> None:
        """Half of a snapshot is none."""

        def fetch() -> Any:
            raise error

        ptfile.save("old", tmp_path / "model.pt")
        with pytest.raises(error):
            ptfile.save_async([ptfile.arange(9), Storage.deferred(100_000, fetch)], tmp_path / "model.pt")
        ptfile.save_async(1, io.BytesIO()).result()

        assert ptfile.load(tmp_path / "model.pt") == "old"
        assert os.listdir(tmp_path) == ["model.pt"]

    def test_a_callback_cannot_save_in_the_background(self) -> None:
        """It would wait for the thread that it runs in."""

        def save_another(_done: int, _total: int) -> None:
            ptfile.save_async(1, io.BytesIO())

        with pytest.raises(RuntimeError, match="wait for itself"):
            ptfile.save_async(1, io.BytesIO(), progress=save_another).result()


class TestTheFuture:
    def test_a_save_that_waits_for_its_turn_can_be_cancelled(self, tmp_path: Path, gate: Gate) -> None:
        """The others go on."""
        first = ptfile.save_async(1, gate)
        assert gate.asked.wait(60)
        second = ptfile.save_async(2, tmp_path / "2.pt")
        third = ptfile.save_async(3, tmp_path / "3.pt")
        assert not first.cancel()
        assert second.cancel()
        gate.opened.set()
        done, _ = concurrent.futures.wait([first, second, third])

        assert len(done) == 3
        assert os.listdir(tmp_path) == ["3.pt"]
        with pytest.raises(concurrent.futures.CancelledError):
            second.result()

    def test_progress_grows_to_the_size_of_the_file(self, tmp_path: Path) -> None:
        """From nothing, in steps of 1 MiB at most, in the thread that writes."""
        calls: list[tuple[int, int]] = []
        threads = set()

        def progress(done: int, total: int) -> None:
            calls.append((done, total))
            threads.add(threading.current_thread().name)

        ptfile.save_async(value(), tmp_path / "model.pt", progress=progress).result()
        size = (tmp_path / "model.pt").stat().st_size

        steps = [done for done, _ in calls]
        assert steps == sorted(steps)
        assert (steps[0], steps[-1]) == (0, size)
        assert max(np.diff(steps)) <= 2 * MIB
        assert {total for _, total in calls} == {size}
        assert threads == {"ptfile-save"}

    def test_the_arguments_are_those_of_save(self) -> None:
        """And two more."""
        ours, others = (list(inspect.signature(each).parameters.values()) for each in (ptfile.save_async, ptfile.save))

        assert ours[:-2] == others
        assert [parameter.name for parameter in ours[-2:]] == ["memory", "progress"]

    def test_waiting_for_a_save_in_its_own_thread_is_an_error(self, gate: Gate) -> None:
        """It would wait for itself."""
        said: list[BaseException] = []
        futures: list[Any] = []

        def progress(done: int, total: int) -> None:
            assert futures[0].exception() is None
            for future in futures[1:]:
                for ask in (future.result, future.exception):
                    with pytest.raises(RuntimeError, match="wait for itself") as caught:
                        ask()
                    said.append(caught.value)

        futures.append(ptfile.save_async(value(), io.BytesIO()))
        futures[0].result()
        futures.append(ptfile.save_async(value(), gate))
        futures.append(ptfile.save_async(value(), io.BytesIO(), progress=progress))
        futures.append(ptfile.save_async(value(), io.BytesIO()))
        del futures[1]
        gate.opened.set()
        futures[-1].result()
        assert futures[1].exception() is None
        assert len(said) >= 8

    @posix
    def test_an_absolute_path_needs_no_working_directory(self, tmp_path: Path) -> None:
        """It may be gone; a relative path is one of nowhere then, which its future says."""
        (tmp_path / "gone").mkdir()
        script = f"""
os.chdir("gone")
os.rmdir("../gone")
ptfile.save_async(new, {str(tmp_path / "model.pt")!r}).result()
assert isinstance(ptfile.save_async(new, "model.pt").exception(), FileNotFoundError)
"""
        assert run(tmp_path, script).stderr == ""
        assert os.listdir(tmp_path) == ["model.pt"]


class TestTheEndOfAProgram:
    @pytest.mark.parametrize("end", ["", "sys.exit(3)", "1 / 0", "threading.Thread(target=sys.exit).start()"])
    def test_saves_are_finished_first(self, tmp_path: Path, end: str) -> None:
        """However it ends, as long as it ends by itself."""
        run(tmp_path, f"for n in range(3): ptfile.save_async(new + n, f'{{n}}.pt')\n{end}")

        for number in range(3):
            np.testing.assert_array_equal(ptfile.load(tmp_path / f"{number}.pt"), np.float32(1 + number))
        assert sorted(os.listdir(tmp_path)) == ["0.pt", "1.pt", "2.pt"]

    def test_what_is_saved_at_the_very_end_is_written_at_once(self, tmp_path: Path) -> None:
        """By functions that are registered with `atexit`."""
        result = run(tmp_path, "import atexit\natexit.register(lambda: ptfile.save_async(new, 'model.pt'))")

        assert result.stderr == ""
        np.testing.assert_array_equal(ptfile.load(tmp_path / "model.pt"), np.float32(1))

    def test_what_another_thread_saves_at_the_end_comes_after_what_was_saved_before(self, tmp_path: Path) -> None:
        """Of two to one path the later stays."""
        script = """
def late():
    threading.main_thread().join()
    ptfile.save_async(new, "model.pt")

thread = threading.Thread(target=late)
thread.start()
ptfile.save_async(old, "model.pt", progress=lambda done, total: done or thread.join(1))
"""
        assert run(tmp_path, script).stderr == ""

        np.testing.assert_array_equal(ptfile.load(tmp_path / "model.pt"), np.float32(1))

    @pytest.mark.parametrize("end", ["", "future.done()", "import time; time.sleep(0.2); del future"])
    def test_an_error_that_nobody_asks_for_is_printed(self, tmp_path: Path, end: str) -> None:
        """It is a checkpoint that is not there."""
        result = run(tmp_path, f"future = ptfile.save_async(1, 'missing/model.pt')\n{end}")

        assert "FileNotFoundError: [Errno 2] No such file or directory: " in result.stderr

    @pytest.mark.parametrize("ask", ["future.exception()", "concurrent.futures.wait([future]); future.exception()"])
    def test_an_error_that_someone_asks_for_is_not(self, tmp_path: Path, ask: str) -> None:
        """Then it is theirs."""
        result = run(tmp_path, f"import concurrent.futures\nfuture = ptfile.save_async(1, 'missing/model.pt')\n{ask}")

        assert result.stderr == ""

    @posix
    def test_a_killed_program_leaves_the_old_file(self, tmp_path: Path) -> None:
        """Killed when half is written."""
        kill = "lambda done, total: done > total / 2 and os.kill(os.getpid(), 9)"
        result = run(tmp_path, f"ptfile.save(old, 'model.pt')\nptfile.save_async(new, 'model.pt', progress={kill})")

        assert result.returncode == -signal.SIGKILL
        np.testing.assert_array_equal(ptfile.load(tmp_path / "model.pt"), np.float32(0))

    @posix
    def test_an_interrupted_call_saves_nothing(self, tmp_path: Path) -> None:
        """By a signal, while it waits for the bytes to be written."""
        script = f"""{INTERRUPTIBLE}
ptfile.save(old, "model.pt")
times = iter([1])

def progress(done, total):
    if done > total / 2 and next(times, 0):
        os.kill(os.getpid(), signal.SIGINT)

ptfile.save_async([old, new], "model.pt", memory=0, progress=progress)
"""
        result = run(tmp_path, script)

        assert "KeyboardInterrupt" in result.stderr
        np.testing.assert_array_equal(ptfile.load(tmp_path / "model.pt"), np.float32(0))
        assert os.listdir(tmp_path) == ["model.pt"]

    @posix
    @pytest.mark.parametrize("memory", [0, 10**8])
    def test_a_program_can_be_interrupted_again_and_again(self, tmp_path: Path, memory: int) -> None:
        """It ends, and the file is the old one or the new one, whole."""
        script = f"{INTERRUPTIBLE}\nptfile.save([old, old], 'model.pt')\n"
        stop = "lambda done, total: os.kill(os.getpid(), signal.SIGINT)"
        run(tmp_path, f"{script}ptfile.save_async([new, new], 'model.pt', memory={memory}, progress={stop})")

        first, second = ptfile.load(tmp_path / "model.pt")
        np.testing.assert_array_equal(first, second)


class Failing(io.BytesIO):
    """A file on a disk that is full when so many bytes are written."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: Any) -> int:
        if self.tell() >= self._room:
            raise OSError(errno.ENOSPC, "full")
        return super().write(data)


class Stop(Exception):
    pass


def _schedule(folder: Path, thread: int, seed: int) -> None:
    """Saves of one thread, of which some fail, are cancelled or are stopped; and what has to be in the files then."""
    chance = random.Random(seed)
    saves: list[tuple[Any, int, concurrent.futures.Future[None]]] = []
    for number in range(12):
        mark = thread * 100 + number
        arrays = [ptfile.full((chance.choice([0, 1, 1000, 200_000]),), mark) for _ in range(chance.randint(1, 4))]
        stop_at = chance.choice([2.0, 2.0, chance.random()])

        def progress(done: int, total: int, stop_at: float = stop_at) -> None:
            if done >= stop_at * total:
                raise Stop

        target: Any = folder / f"{thread}-{chance.randint(0, 1)}.pt"
        if chance.random() < 0.3:
            target = Failing(chance.choice([0, 100, 10 * MIB, 10 * MIB]))
        memory = chance.choice([0, 1, 100_000, 3 * MIB, None])
        future = ptfile.save_async([mark, *arrays], target, memory=memory, progress=progress)
        for array in arrays:
            array[...] = -1
        if chance.random() < 0.2:
            future.cancel()
        saves.append((target, mark, future))
    expected = {}
    for target, mark, future in saves:
        with contextlib.suppress(Stop, OSError, concurrent.futures.CancelledError):
            future.result(60)
            expected[target] = mark
    for target, mark in expected.items():
        found = ptfile.load(io.BytesIO(target.getvalue()) if isinstance(target, io.BytesIO) else target)
        assert found[0] == mark
        assert all(np.all(array.numpy() == mark) for array in found[1:])
    written = {target.name for target in expected if isinstance(target, Path)}
    assert {name for name in os.listdir(folder) if name.startswith(f"{thread}-")} == written


@pytest.mark.parametrize("seed", range(3))
def test_threads_that_save_as_they_like_find_what_they_saved_last(tmp_path: Path, seed: int) -> None:
    """Whatever fails, is cancelled or changed meanwhile, nothing waits for ever and nothing else is in the files."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(_schedule, tmp_path, thread, seed * 10 + thread) for thread in range(4)]:
            done.result(100)
    assert WRITER.taken == 0


def test_the_thread_imports_nothing(tmp_path: Path) -> None:
    """A process that is forked meanwhile would have half a module for ever."""
    script = """
class Finder:
    def find_spec(self, name, path=None, target=None):
        assert threading.current_thread() is threading.main_thread(), name

sys.meta_path.insert(0, Finder())
for how in ({}, {"_use_new_zipfile_serialization": False}):
    for f in ("model.pt", open("model.pt", "wb")):
        ptfile.save_async([new, ptfile.ones(3)], f, fsync=True, progress=print, **how).result()
"""
    assert run(tmp_path, script).stderr == ""


FORK = """
class Gate:
    opened = threading.Event()
    def write(self, data):
        self.opened.wait()
        file.write(data)
    def flush(self):
        file.flush()

file = open("parent.pt", "wb")
done = ptfile.save_async(new, "done.pt")
done.result()
failed = ptfile.save_async(new, "missing/model.pt")
failed.exception()
saves = [ptfile.save_async(new, Gate()), ptfile.save_async(new, "second.pt")]
child = os.fork()
if not child:
    done.result()
    assert isinstance(failed.exception(), OSError)
    for save in saves:
        assert isinstance(save.exception(timeout=60), RuntimeError), save
    ptfile.save_async(old, "child.pt").result(timeout=60)
    ptfile.save_async(old, "end of child.pt")
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
Gate.opened.set()
for save in saves:
    save.result()
"""


@posix
def test_a_forked_child_leaves_the_saves_to_its_parent(tmp_path: Path) -> None:
    """It is told so, does not wait for them, and saves what it wants itself."""
    result = run(tmp_path, FORK)

    assert result.stderr == ""
    names = {"done.pt": 1, "parent.pt": 1, "second.pt": 1, "child.pt": 0, "end of child.pt": 0}
    assert set(os.listdir(tmp_path)) == set(names)
    for name, number in names.items():
        np.testing.assert_array_equal(ptfile.load(tmp_path / name), np.float32(number))

"""Saves that go on while the program does: the caller copies the bytes, one thread writes them.

There is one such thread in a process, for as long as there is something to write. Saves are written in the order in
which they were asked for, so that of two to one path the later stays, and all of them share a budget of memory. That is
why `WRITER` belongs to the module: what is being written is a fact about the process, like its open files.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from ptfile._lazy import np
from ptfile._memory import available
from ptfile._types import Buffer, Path, Progress, Writable
from ptfile.sinks import Sink
from ptfile.stores.urls import is_url

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.11 has it in `typing`

_SMALL = 64 << 10
"""Bytes below which numpy's way to copy them takes longer."""

_PATIENCE = 1.0
"""Seconds after which the writer looks whether an interrupted caller could not even say so."""


class Prepared(Protocol):
    """An object ready to be written: a `ZipSave`, a `LegacySave`."""

    payloads: Iterable[Buffer]
    """The bytes of its storages, in the order in which they are written."""

    def write(self, sink: Sink, /) -> None:
        """Write it to a sink that has been entered."""


class SaveFuture(Future[None]):
    """How a save ends. A checkpoint that is not there has to be noticed: an error that nobody asks for is printed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_known = False
        """Whether someone has been told."""
        self._end: tuple[BaseException | None] | None = None

    def result(self, timeout: float | None = None) -> None:
        self._check_thread()
        try:
            super().result(timeout)
        finally:
            self.is_known = self.done()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._check_thread()
        try:
            return super().exception(timeout)
        finally:
            self.is_known = self.done()

    def _check_thread(self) -> None:
        if WRITER.is_this_thread and not self.done():
            raise RuntimeError("a save in the background would wait for itself here, in a callback")

    def settle(self, error: BaseException | None) -> None:
        """Say how it ended."""
        self._end = (error,)
        if error is None:
            self.set_result(None)
        else:
            self.set_exception(error)

    def after_fork(self) -> None:
        """In the child, where no thread will settle it, and one that is not there may hold its lock."""
        unknown = RuntimeError("the process that this one was forked from writes this save, and knows how it ends")
        (error,) = self._end or (unknown,)
        SaveFuture.__init__(self)
        self.settle(error)
        self.is_known = True

    def __del__(self) -> None:
        if not self.is_known and self.done() and not self.cancelled():
            error = super().exception()
            if error is not None:
                raise error  # nobody can catch it here: Python prints it


class Pipe:
    """The bytes of one save on their way to the writer, which all pipes of a process share."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: deque[Buffer] = deque()
        """What was sent and not yet received."""
        self._taken = 0
        """Bytes that are waiting, or being written."""
        self._is_flowing = self._is_whole = self._is_interrupted = self._is_closed = False
        self._source: object = None
        """Whose bytes are sent. They live no longer than it, and an interrupted caller may let go of it."""

    def fill(self, payloads: Iterable[Buffer], memory: int) -> None:
        """Copy bytes and send the copies, at most `memory` bytes ahead of what has been written.

        What is larger than that is sent as it is, and waited for. Nothing is written before it has to be: to copy while
        another thread writes takes up to twice as long, and the caller waits for the copies.
        """
        self._source = payloads
        for payload in payloads:
            if not self._send(payload, memory):
                break  # the save has failed: its future says why
        with self._writer.lock:
            self._source = None
            self._is_flowing = self._is_whole = True
            self._writer.changed.notify_all()

    def _send(self, payload: Buffer, memory: int) -> bool:
        """Whether it was sent. If not, nobody wants it any more."""
        nbytes = memoryview(payload).nbytes
        is_too_large = nbytes > memory
        changed = self._writer.changed
        with self._writer.lock:
            if is_too_large or not self._writer.has_room(nbytes, memory):
                self._is_flowing = True
                changed.notify_all()
            changed.wait_for(lambda: self._is_closed or self._writer.has_room(nbytes, memory))
            if self._is_closed:
                return False
            self._take(nbytes)
        sent = payload if is_too_large else _copied(payload, nbytes)
        with self._writer.lock:
            self._waiting.append(sent)
            changed.notify_all()
            if is_too_large:
                changed.wait_for(lambda: self._is_closed or not self._taken)
            return not self._is_closed

    def interrupt(self) -> None:
        """The caller sends no more, and not all was sent."""
        self._is_interrupted = True  # before anything that a second interrupt could prevent
        with self._writer.lock:
            self._writer.changed.notify_all()

    def __iter__(self) -> Iterator[Buffer]:
        """What is sent, as it comes. Raises InterruptedError if not all of it does."""
        changed = self._writer.changed
        received: list[Buffer] = []
        nbytes = 0
        while True:
            with self._writer.lock:
                self._take(-nbytes)
                while not ((self._waiting and self._is_flowing) or self._is_whole or self._is_interrupted):
                    changed.wait(_PATIENCE)
                if self._is_interrupted:
                    raise InterruptedError("the call that saves was interrupted")
                if not self._waiting:
                    return
                received.append(self._waiting.popleft())
            nbytes = memoryview(received[0]).nbytes
            yield received.pop()  # held by nobody else, so that it goes as soon as it has been written

    def close(self) -> None:
        """Nobody wants the bytes any more, or the last has been written."""
        with self._writer.lock:
            self._is_closed = True
            self._take(-self._taken)
            self._waiting.clear()
            self._source = None

    def _take(self, nbytes: int) -> None:
        self._taken += nbytes
        self._writer.taken += nbytes
        self._writer.changed.notify_all()


def _copied(payload: Buffer, nbytes: int) -> Buffer:
    if type(payload) is bytes:
        return payload  # nobody can change it
    return bytes(payload) if nbytes < _SMALL else np.frombuffer(payload, np.uint8).copy().data


@dataclass(frozen=True, slots=True, eq=False)
class _Save:
    work: Callable[[], None]
    pipe: Pipe
    future: SaveFuture


class Writer:
    """The thread that writes, while there is something to write, and what it has still to do."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # entered as it is: a condition enters it in Python, where an interrupt may come
        self.changed = threading.Condition(self.lock)
        self.taken = 0
        """Bytes of copies that are not yet written."""
        self._turn = threading.Lock()
        """Whose bytes are being copied. One save at a time: two could wait for each other's room."""
        self._saves: deque[_Save] = deque()
        """The first is being written."""
        self._thread: threading.Thread | None = None
        self._caller: threading.Thread | None = None

    def save(self, prepared: Prepared, sink: Sink, memory: int | None, progress: Progress | None) -> SaveFuture:
        """Start to write to a sink that has not been entered. Returns when all bytes are copied or written.

        memory: bytes that copies may take, of all saves together; None: half of what there is for them.
        """
        if memory is None:
            memory = (self.taken + available()) // 2
        elif memory < 0:
            raise ValueError(f"memory is {memory}: it must be 0 bytes or more")
        if threading.current_thread() in (self._thread, self._caller):
            raise RuntimeError("a save in the background would wait for itself here, in a callback or a signal handler")
        future = SaveFuture()
        work = partial(_write, prepared, Counted(sink, progress) if progress else sink)
        with self._turn:
            self._caller = threading.current_thread()
            try:
                if threading.main_thread().is_alive():
                    self._send(prepared, work, future, memory)
                else:
                    self._save_at_the_end(work, future)
            finally:
                self._caller = None
        return future

    def _send(self, prepared: Prepared, work: Callable[[], None], future: SaveFuture, memory: int) -> None:
        payloads, pipe = prepared.payloads, Pipe(self)
        prepared.payloads = iter(pipe)
        try:
            self._start(_Save(work, pipe, future))
            pipe.fill(payloads, memory)
        except BaseException:
            pipe.interrupt()
            future.is_known = True
            raise

    def _save_at_the_end(self, work: Callable[[], None], future: SaveFuture) -> None:
        """The interpreter is about to end, and waits for no new thread. What was to be written before goes first."""
        writer = self._thread
        if writer is not None:
            writer.join()
        future.settle(_error_of(work))

    @property
    def is_this_thread(self) -> bool:
        """Whether what asks is called by the thread that writes."""
        return threading.current_thread() is self._thread

    def has_room(self, nbytes: int, memory: int) -> bool:
        """Whether a copy may be made. The first may always be: what is larger than the memory is not copied."""
        return not self.taken or self.taken + nbytes <= memory

    def _start(self, save: _Save) -> None:
        with self.lock:
            self._saves.append(save)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ptfile-save", daemon=False)
                try:
                    self._thread.start()
                except BaseException:
                    self._thread = None
                    self._saves.clear()
                    raise

    def _run(self) -> None:
        while (save := self._next()) is not None:
            is_wanted = save.future.set_running_or_notify_cancel()
            error = _error_of(save.work) if is_wanted else None
            save.pipe.close()
            if is_wanted:
                save.future.settle(error)
            with self.lock:
                self._saves.popleft()
            del save, error  # the future may be the last that anybody holds of them

    def _next(self) -> _Save | None:
        with self.lock:
            if not self._saves:
                self._thread = None
                return None
            return self._saves[0]

    def after_fork(self) -> None:
        """In the child: what is being written is the parent's business."""
        saves = list(self._saves)
        Writer.__init__(self)
        for save in saves:
            save.future.after_fork()


def _write(prepared: Prepared, sink: Sink) -> None:
    with sink:
        prepared.write(sink)
        for _ in prepared.payloads:  # there are no more; but if the caller was interrupted, this raises it
            pass


def _error_of(work: Callable[[], None]) -> BaseException | None:
    """What it raises. A function of its own: the error holds what is in its frame, which the future must not be."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - it is raised by `result()`
        return error
    return None


class Counted:
    """A sink that tells what has been written to another."""

    def __init__(self, sink: Sink, progress: Progress) -> None:
        self._sink = sink
        self._progress = progress
        self._done = self._total = 0
        self.name = sink.name

    def expect(self, size: int) -> None:
        self._sink.expect(size)
        self._total = size
        self._progress(0, size)

    def write(self, data: Buffer) -> None:
        self._sink.write(data)
        self._done += memoryview(data).nbytes
        self._progress(self._done, self._total)

    def skip(self, length: int) -> None:
        self._sink.skip(length)

    def __enter__(self) -> Self:
        self._sink.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._sink.__exit__(kind, error, trace)


def in_this_folder(f: Path | Writable) -> Path | Writable:
    """What stands for the same file when the program has changed its working directory. Slashes and links stay."""
    if isinstance(f, (str, os.PathLike)) and not is_url(f):
        with suppress(FileNotFoundError):  # the folder may be gone, and an absolute path does not need it
            return os.path.join(os.getcwd(), f)  # noqa: PTH109, PTH118  (pathlib would lose what paths say)
    return f


WRITER = Writer()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WRITER.after_fork)

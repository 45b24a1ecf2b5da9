"""Tasks shared by threads: all of them, in order, and errors as if there were one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from ptfile import _threads
from ptfile._threads import share

threads = pytest.mark.parametrize("threads", [1, 2, 5])


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ptfile"]


@threads
def test_each_task_is_run_once(threads: int) -> None:
    """More tasks than threads, fewer, and none."""
    for count in (0, 1, 100):
        done: list[int] = []
        share(map(partial(partial, done.append), range(count)), threads)

        assert sorted(done) == list(range(count))
    assert ours() == []


def test_tasks_run_at_the_same_time() -> None:
    """Three tasks that wait for each other."""
    together = threading.Barrier(3, timeout=20)
    share([together.wait] * 3, 3)


@threads
def test_the_first_error_in_order_is_raised(threads: int) -> None:
    """Whichever thread comes first: as if the tasks had run one after the other."""
    later = threading.Event()

    def first() -> None:
        later.wait(20 if threads > 1 else 0)
        raise ValueError("first")

    def second() -> None:
        later.set()
        raise KeyError("second")

    with pytest.raises(ValueError, match="first"):
        share([lambda: None, first, second], threads)
    assert ours() == []


@threads
def test_no_task_is_begun_after_an_error(threads: int) -> None:
    """What is under way ends; a file that is damaged at its start is not read to its end."""
    begun: list[int] = []

    def tasks() -> Iterator[Callable[[], Any]]:
        for i in range(1000):
            begun.append(i)
            yield lambda: 1 // 0

    with pytest.raises(ZeroDivisionError):
        share(tasks(), threads)
    assert len(begun) <= threads


@threads
def test_an_error_while_tasks_are_made_counts_as_one_of_theirs(threads: int) -> None:
    """After those that were made before it."""

    def tasks() -> Iterator[Callable[[], Any]]:
        yield lambda: None
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        share(tasks(), threads)


def test_an_interrupt_ends_all_threads() -> None:
    """Ctrl-C reaches the calling thread in the middle of a task; it is what is raised, whatever failed besides."""
    caller = threading.current_thread()
    together = threading.Barrier(2, timeout=20)

    def task() -> None:
        together.wait()
        raise KeyboardInterrupt if threading.current_thread() is caller else ValueError

    with pytest.raises(KeyboardInterrupt):
        share([task] * 100, 2)
    assert ours() == []


def test_a_system_that_has_no_more_threads_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calling thread does it all."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []
    share([partial(done.append, i) for i in range(3)], 4)

    assert done == [0, 1, 2]


def test_there_is_a_bound_on_threads() -> None:
    """However many cores there are."""
    assert 1 <= _threads.cores() <= 4

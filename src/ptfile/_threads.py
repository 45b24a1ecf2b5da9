"""Work for several threads at once: reading and checksums, which let go of Python's lock, and take one core each."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable

_MOST = 4
"""Threads at most: few cores fill a machine's memory bandwidth."""


def cores() -> int:
    """How many threads are of use here: 1 on a machine of one core."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MOST)


def share(tasks: Iterable[Callable[[], object]], threads: int) -> None:
    """Run all tasks, on the calling thread and others, which have ended when this returns or raises.

    They are begun in their order, each by whoever is free; `tasks` may make them as they are asked for. After one has
    failed, those under way are finished and no more begun, and what the first of them in order raised is raised: as
    if they had run one after the other. An interrupt comes before any of that.
    """
    work = _Work(tasks)
    helpers: list[threading.Thread] = []
    try:
        with contextlib.suppress(RuntimeError):  # no more threads to be had
            for _ in range(threads - 1):
                helper = threading.Thread(target=work.run, name="ptfile")
                helper.start()
                helpers.append(helper)
        work.run()
    finally:
        work.stop()
        for helper in helpers:
            helper.join()
    work.finish()


class _Work:
    """Tasks, given out one by one, and what went wrong."""

    def __init__(self, tasks: Iterable[Callable[[], object]]) -> None:
        self._tasks = iter(tasks)
        self._lock = threading.Lock()
        self._begun = 0
        self._stopped = False
        self._failures: list[tuple[bool, int, BaseException]] = []

    def run(self) -> None:
        """Run tasks until there are no more."""
        while True:
            number = -1
            try:
                with self._lock:
                    if self._stopped:
                        return
                    self._begun += 1
                    number = self._begun
                    task = next(self._tasks, None)
                if task is None:
                    return
                task()
            except BaseException as error:  # noqa: BLE001 - raised by `finish`, in the thread that waits
                self._failures.append((isinstance(error, Exception), number, error))
                self.stop()

    def stop(self) -> None:
        """Begin no more tasks."""
        self._stopped = True

    def finish(self) -> None:
        """Raise what the first failed task raised, or an interrupt."""
        if self._failures:
            raise min(self._failures, key=lambda failure: failure[:2])[2]

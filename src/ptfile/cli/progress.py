"""A bar on the standard error for whatever takes longer than a second, if a person is looking."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ptfile.cli.printable import printable

PATIENCE = 1.0
"""Seconds before there is a bar."""
_NAME_WIDTH = 30


@contextmanager
def progress_bar(file: str) -> Iterator[Callable[[int, int], None]]:
    """A context that shows a bar once it has lasted a second: one that only moves, until it is told how far it is.

    It gives what to tell that: a function of the bytes that are done, and of all.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    bar = _Bar(file)
    timer = threading.Timer(PATIENCE, bar.show)
    timer.daemon = True
    timer.start()
    try:
        yield bar.advance
    finally:
        timer.cancel()
        bar.close()


class _Bar:
    """Is shown by another thread, so that work which tells nothing is shown as well."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._place: tuple[int, int] | None = None
        self._is_closed = False
        self._bar: Any = None
        self._task: Any = None

    def advance(self, done: int, total: int) -> None:
        self._place = (done, total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)

    def show(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            bar = _rich_bar()
            done, total = self._place or (0, None)
            self._task = bar.add_task(_name(self._file), completed=done, total=total)
            bar.start()
            self._bar = bar

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._bar is not None:
                self._bar.stop()


def _name(file: str) -> str:
    from ptfile.cli.screen import cut

    return cut(printable(file), _NAME_WIDTH)


def _rich_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    name = TextColumn("{task.description}", markup=False)  # a name may hold brackets
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)

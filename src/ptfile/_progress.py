"""How far a long piece of work is, for who wants to be told."""

from __future__ import annotations

import threading

from ptfile._types import Progress

_STEP = 1 << 20
"""Bytes that are worth telling about."""


class Counter:
    """Adds up the bytes that are done, in several threads perhaps, and tells of them about once in a MiB."""

    def __init__(self, progress: Progress | None, total: int = 0) -> None:
        self.total = total
        """Bytes that there are to do. May be an estimate, and may be set later."""
        self._progress = progress
        self._done = self._told = 0
        self._lock = threading.Lock()

    def advance(self, nbytes: int) -> None:
        """Be told that so many bytes more are done."""
        with self._lock:
            self._done += nbytes
            if self._progress is None or self._done - self._told < _STEP:
                return
            self._told = self._done
            self._progress(min(self._done, self.total), self.total)

    def reach(self, done: int) -> None:
        """Be told that so many are done in all; fewer than before count for nothing."""
        self.advance(max(done - self._done, 0))

    def finish(self) -> None:
        """Be told that this was all."""
        if self._progress is not None:
            self._progress(self.total, self.total)

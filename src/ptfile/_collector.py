"""Python's garbage collector, out of the way while a checkpoint is made."""

from __future__ import annotations

import gc
from types import TracebackType


class paused_collector:  # noqa: N801  (it is called as a function is)
    """A context: no garbage collection in here, if there is any outside.

    It would go through all objects of the checkpoint again and again while they are made, to find that none is garbage.
    """

    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        if self._was_on:
            gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._was_on:
            gc.enable()

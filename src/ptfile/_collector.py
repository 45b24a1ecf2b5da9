"""Python's garbage collector, out of the way while a checkpoint is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 50_000
"""Objects that have been made and are still there for which a collection takes long."""


@contextmanager
def paused_collector() -> Iterator[None]:
    """No garbage collection in here, if there is any outside.

    It would go through all objects of the checkpoint again and again while they are made, to find that none is garbage.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        _count_as_old()
        gc.enable()


def _count_as_old() -> None:
    """Have the collector take very many new objects for old: else it would go through them all as soon as it is on.

    Nothing stays frozen. Where the program has frozen objects of its own, or Python has no such thing, nothing is done.
    """
    if gc.get_count()[0] > _MANY and hasattr(gc, "freeze") and not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()

"""Python's garbage collector, out of the way while a checkpoint is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
        gc.enable()

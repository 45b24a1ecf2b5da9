"""Python's garbage collector while checkpoints are saved and loaded."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ptfile._collector import _MANY, paused_collector


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """As it was, whatever a test does."""
    gc.collect()
    yield
    gc.unfreeze()
    gc.enable()


@contextmanager
def collections() -> Iterator[list[object]]:
    """An entry for each collection that is begun in here."""
    begun: list[object] = []

    def note(phase: str, about: object) -> None:
        if phase == "start":
            begun.append(about)

    gc.callbacks.append(note)
    yield begun
    gc.callbacks.remove(note)


def test_nothing_is_collected_while_very_many_objects_are_made() -> None:
    """Nor when it is over: they are new, and none of them is garbage."""
    with collections() as begun:
        with paused_collector():
            made: list[list[int]] = [[] for _ in range(_MANY + 1_000)]
        made.append([])
        assert not begun
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_garbage_among_them_is_collected_one_day() -> None:
    """By the next collection of everything."""

    class Node:
        pass

    with paused_collector():
        made: list[list[int]] = [[] for _ in range(_MANY + 1_000)]
        node = Node()
        node.itself = node  # type: ignore[attr-defined]
        alive = weakref.ref(node)
        del node
    assert made
    gc.collect()
    assert alive() is None


def test_what_the_program_has_frozen_stays_so() -> None:
    """As a server does before it forks."""
    gc.freeze()
    frozen = gc.get_freeze_count()
    with paused_collector():
        made: list[list[int]] = [[] for _ in range(_MANY + 1_000)]
    assert made
    assert 0 < gc.get_freeze_count() <= frozen


def test_a_collector_that_is_off_stays_off() -> None:
    """It is the program's."""
    gc.disable()
    with paused_collector():
        pass
    assert not gc.isenabled()

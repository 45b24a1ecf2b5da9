"""Python's garbage collector while checkpoints are saved and loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ptfile._collector import paused_collector


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """On again, whatever a test does."""
    yield
    gc.enable()


def test_nothing_is_collected_while_very_many_objects_are_made() -> None:
    """Afterwards the collector goes on as before."""
    before = gc.get_stats()[0]["collections"]
    with paused_collector():
        made: list[list[int]] = [[] for _ in range(10 * gc.get_threshold()[0])]
        assert gc.get_stats()[0]["collections"] == before
    made.append([])
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    """It is the program's."""
    gc.disable()
    with paused_collector():
        pass
    assert not gc.isenabled()

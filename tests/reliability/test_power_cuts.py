"""Power cuts, on a model of a disk that loses all that was not synced."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptfile.sinks import folder
from tests.reliability.power_cuts import Change, found_after_power_cuts, recorded
from tests.reliability.saves import ELSEWHERE, WAYS, Kind, kinds

KINDS = kinds("ptfile.save", WAYS if folder._NAMELESS else ELSEWHERE)
DURABLE = [kind for kind in KINDS if kind.fsync and kind.place != "link"]


@pytest.mark.parametrize("kind", DURABLE, ids=str)
def test_a_durable_save_survives_a_power_cut_at_any_moment(kind: Kind, tmp_path: Path) -> None:
    """The old file or the new one, whole, as long as it runs; the new one as soon as it has returned."""
    changes, case = recorded(kind, tmp_path)
    before = None if kind.place == "new" else case.old
    found = found_after_power_cuts(changes, before)

    assert set().union(*found) == {before, case.new}
    assert found[0] == {before}
    assert found[-1] == {case.new}


@pytest.mark.parametrize("kind", DURABLE, ids=str)
def test_each_sync_is_needed(kind: Kind, tmp_path: Path) -> None:
    """Without any one of them, the model finds a file that is damaged or lost; so it could find one."""
    changes, case = recorded(kind, tmp_path)
    before = None if kind.place == "new" else case.old
    syncs = [place for place, change in enumerate(changes) if change.name.startswith("sync")]
    if kind.way in ("nameless", "refused"):
        syncs.pop(0)  # for the sake of time only: the file is large, and gets its name when that is done
    assert len(syncs) == 2
    for place in syncs:
        found = found_after_power_cuts([*changes[:place], *changes[place + 1 :]], before)
        assert found[-1] != {case.new} or not set().union(*found) <= {before, case.new}


def test_an_ordinary_save_does_not_promise_that(tmp_path: Path) -> None:
    """After a power cut its name may stand for zeros, on a disk that is as bad as it may be."""
    changes, case = recorded(Kind(), tmp_path)
    found = found_after_power_cuts(changes, case.old)

    assert {case.old, case.new, b"", bytes(len(case.new))} <= found[-1]


def test_the_model_loses_what_was_not_synced() -> None:
    """By hand: written, renamed, synced too late."""
    steps = [
        Change("create", 1, entry="temporary"),
        Change("write", 1, b"new!"),
        Change("rename", entry="temporary", target="model.pt"),
        Change("sync", 1),
        Change("sync folder"),
    ]
    found = found_after_power_cuts(steps, b"old")

    assert found[2] == {b"old"}
    assert found[3] == {b"old", b"", b"ne", b"new!", bytes(4)}
    assert found[4] == {b"old", b"new!"}
    assert found[5] == {b"new!"}

"""Saves that are killed: the old file or the new one, whole, and nothing beside it that nobody knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ptfile.sinks import folder

if os.name == "nt":
    pytest.skip("signals and limits of POSIX", allow_module_level=True)

from tests.reliability import page, save_page
from tests.reliability.kills import End, ends


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[End]:
    return ends(tmp_path_factory.mktemp("killed"), "operations")


def test_a_killed_save_leaves_the_old_file_or_the_new_one(killed: list[End]) -> None:
    """Wherever it was: before every operation that it makes of the system, and at any time."""
    assert {end.said for end in killed} == {"killed"}
    assert {end.where for end in killed} >= {"open", "write", "close", "replace", "fsync", "fsync folder", "unlink"}
    for end in killed:
        assert end.found in (end.before, "new"), end
    assert {end.found for end in killed} == {"none", "old", "new"}
    assert {end.found for end in killed if end.how == "times"} == {"old", "new"}


def test_what_a_killed_save_leaves_is_known_by_its_name(killed: list[End]) -> None:
    """So that a later save can remove it, and people know what it is."""
    assert all(end.recognised and len(end.others) <= 1 for end in killed)


@pytest.mark.skipif(not folder._NAMELESS, reason="files without names are Linux's")
def test_a_large_save_leaves_no_bytes_but_while_it_is_renamed(killed: list[End]) -> None:
    """It has no name while it is written."""
    left = {end.where for end in killed if (end.how, end.way) == ("killed", "nameless") and end.bytes_left}
    assert left <= {"fsync", "close", "replace"}


def test_wherever_a_save_ends_in_the_file_the_old_one_is_whole(tmp_path: Path) -> None:
    """Killed by the kernel, or out of space: not one byte of the old file has gone."""
    found = ends(tmp_path, "ptfile.save")
    assert {(end.how, end.said, end.found) for end in found} == {("bytes", "killed", "old"), ("full", "error", "old")}
    assert all(end.recognised for end in found)
    assert all(not end.others for end in found if end.how == "full" or end.way == "nameless")


def test_the_table_on_the_page_is_up_to_date(killed: list[End]) -> None:
    """`python -m tests.reliability.page` writes it."""
    if not folder._NAMELESS or {"getxattr", "fchown"} & {end.where for end in killed}:
        pytest.skip("files have other attributes here, or always names: the operations are others")
    text = page.DOCUMENT.read_text("utf-8")
    assert page.section(text, "kills") == "\n".join(save_page.kill_table(killed))

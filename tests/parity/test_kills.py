"""Saves that are killed, or for which the disk is too small: ptfile's, and PyTorch's for comparison."""

from __future__ import annotations

import os

import pytest

from ptfile.sinks import folder

if os.name == "nt":
    pytest.skip("signals and limits of POSIX", allow_module_level=True)

from tests.reliability import page, save_page
from tests.reliability.kills import End, ends


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> list[End]:
    return ends(tmp_path_factory.mktemp("ended"), "ptfile.save", "ptfile.torch.save", "torch.save")


def test_the_drop_in_leaves_the_old_file_whole(ended: list[End]) -> None:
    """Wherever in the file its save ends."""
    assert {end.found for end in ended if end.library == "ptfile.torch.save"} == {"old"}
    assert {end.said for end in ended if end.how == "full"} == {"error"}


@pytest.mark.skipif(not folder._NAMELESS, reason="files without names are Linux's")
def test_the_table_on_the_page_is_up_to_date(ended: list[End]) -> None:
    """`python -m tests.reliability.page` writes it."""
    text = page.DOCUMENT.read_text("utf-8")
    assert page.section(text, "bytes") == "\n".join(save_page.byte_table(ended))

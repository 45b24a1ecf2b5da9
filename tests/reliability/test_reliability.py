"""Every bit of small files flipped, a file cut at a hundred places: nothing is lost, nothing is silently wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability import page
from tests.reliability.cuts import PLACES, TENSORS, Cut, cuts
from tests.reliability.flips import ALMOST, LAZY, MEANINGLESS, Counts, small_files


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counts]:
    return page.flip_counts(tmp_path_factory.mktemp("flips"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Cut]:
    return list(cuts(tmp_path_factory.mktemp("cuts")))


def test_every_bit_is_flipped(counts: dict[str, Counts]) -> None:
    """None of them is left out of the table."""
    for name, data in small_files().items():
        assert sum(sum(those.values()) for (_, way), those in counts[name].items() if way == "load") == 8 * len(data)


def test_no_flipped_bit_loads_as_another_value(counts: dict[str, Counts]) -> None:
    """`load` gives an error or the value that was saved."""
    wrong = {place: those["different"] for many in counts.values() for place, those in many.items()}
    assert {place for place, number in wrong.items() if number} == {("storages", "mmap")}


def test_a_lazy_read_is_checked_and_a_mapped_one_is_not(counts: dict[str, Counts]) -> None:
    """What is read when it is used is verified then; what is mapped is whatever the file holds: the docs say so."""
    for many in counts.values():
        assert set(many["storages", "open"]) == {"error"}
        assert set(many["storages", "mmap"]) == {"different"}
        assert {part for part, way in many if way == "mmap"} == LAZY


def test_verify_finds_every_bit_that_tells_something(counts: dict[str, Counts]) -> None:
    """What it misses are fields that tell a reader of checkpoints nothing, and none that loading trips over."""
    for many in counts.values():
        for (part, way), outcomes in many.items():
            field = part.partition(": ")[2]
            if way == "verify" and outcomes["missed"] and field not in MEANINGLESS:
                assert field in ALMOST, part
                assert outcomes["missed"] <= many[part, "load"]["same"], part


def test_all_tensors_before_a_cut_are_salvaged(found: list[Cut]) -> None:
    """Each is equal to what was saved (`cuts` compares them), wherever the cut is."""
    assert len(found) == PLACES
    assert [cut.salvaged for cut in found] == [cut.whole for cut in found]
    assert found[-1].salvaged == TENSORS


def test_a_cut_file_says_where_it_was_cut(found: list[Cut]) -> None:
    """As soon as the pickle is whole, the size that the file had is known to the byte."""
    sizes = {
        int(cut.said.partition(f"cut off at byte {cut.length} of ")[2].partition(":")[0])
        for cut in found
        if page.KNOWN in cut.said
    }
    assert len(sizes) == 1
    assert sizes == {found[-1].length + 1}


def test_the_tables_on_the_page_are_up_to_date(counts: dict[str, Counts], found: list[Cut]) -> None:
    """`python -m tests.reliability.page` writes them."""
    text = Path(page.DOCUMENT).read_text("utf-8")
    assert page.section(text, "bits") == "\n".join(page.flip_table(counts))
    assert page.section(text, "cuts") == "\n".join(page.cut_table(found))

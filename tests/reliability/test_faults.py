"""Saves that go wrong: the old file or the new one, whole, whatever fails and whenever."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ptfile.sinks import folder
from tests.reliability import interrupts, page, save_page
from tests.reliability.faults import Fault, faults
from tests.reliability.saves import ELSEWHERE, TEMPORARY, WAYS, Kind, Library, Way, kinds

LIBRARIES: tuple[Library, ...] = (
    ("ptfile.save", "ptfile.torch.save") if importlib.util.find_spec("torch") else ("ptfile.save",)
)
KINDS = [kind for library in LIBRARIES for kind in kinds(library, WAYS if folder._NAMELESS else ELSEWHERE)]
HARMLESS = {
    *("close folder", "listxattr", "getxattr", "setxattr", "fchown"),
    *("open", "link", "open folder", "scandir", "lstat", "unlink", "fstatvfs", "fstat"),
}
"""Without these a save can do, in some places: there is another way, or they are for good measure."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, list[Fault]]:
    return {kind: list(faults(kind, tmp_path_factory.mktemp("faults"))) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_whatever_fails_the_old_file_or_the_new_one_is_there_whole(kind: Kind, found: dict[Kind, list[Fault]]) -> None:
    """And if it is an error, it has the errno and the user's path; nothing else is left, and no file open."""
    seen = set()
    for fault in found[kind]:
        seen.add(fault.operation)
        assert fault.found in (fault.before, "new"), fault
        assert fault.leaked == 0, fault
        if fault.mode == "takes a part":
            assert (fault.error, fault.found) == (None, "new"), fault
        elif fault.error is None:
            assert fault.found == "new", fault
            # What is not done at once is done in the usual way.
            assert fault.operation in HARMLESS or kind.way == "at once", fault
        else:
            assert isinstance(fault.error, OSError)
            assert fault.mode == "takes nothing" or fault.error.errno == fault.number, fault
            assert Path(str(fault.error.filename)).parts[-2:] == ("here", "model.pt"), fault
            if fault.found == "new" and fault.before != "new":
                assert fault.operation in ("replace", "fsync folder"), fault  # the rename was done
        if fault.operation != "unlink":
            assert fault.others == (), fault
        assert all(TEMPORARY.fullmatch(name) for name in fault.others), fault
    assert {"open", "write", "close", "replace"} <= seen


@pytest.mark.parametrize("way", sorted({kind.way for kind in KINDS}))
def test_an_interrupt_leaves_the_old_file_or_the_new_one_and_no_other(way: Way, tmp_path: Path) -> None:
    """Ctrl-C at any instruction of the sinks, also on the way into `__exit__`, where no handler is."""
    places = set()
    for interrupt in interrupts.interrupts(Kind(fsync=way != "at once", way=way), tmp_path):
        places.add(interrupt.place)
        assert interrupt.found in ("old", "new"), interrupt
        assert interrupt.others == (), interrupt
    end = "replace_small_file, return" if way == "at once" else "__exit__, call"
    assert any(end in place for place in places)


def test_the_table_on_the_page_is_up_to_date(found: dict[Kind, list[Fault]]) -> None:
    """`python -m tests.reliability.page` writes it."""
    ours = [fault for kind, those in found.items() if kind.library == "ptfile.save" for fault in those]
    if not folder._NAMELESS or {"getxattr", "fchown"} & {fault.operation for fault in ours}:
        pytest.skip("files have other attributes here, or always names: the operations are others")
    text = page.DOCUMENT.read_text("utf-8")
    assert page.section(text, "faults") == "\n".join(save_page.fault_table(ours))

"""Saves that go wrong: the old file or the new one, whole, whatever fails and whenever."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ptfile.sinks import folder
from tests.reliability import faults
from tests.reliability.saves import TEMPORARY, WAYS, Kind, Library, kinds

LIBRARIES: tuple[Library, ...] = (
    ("ptfile.save", "ptfile.torch.save") if importlib.util.find_spec("torch") else ("ptfile.save",)
)
KINDS = [kind for library in LIBRARIES for kind in kinds(library, WAYS if folder._NAMELESS else ("named", "swept"))]
HARMLESS = {
    *("close folder", "listxattr", "getxattr", "setxattr", "fchown"),
    *("open", "link", "open folder", "scandir", "lstat", "unlink", "fstatvfs", "fstat"),
}
"""Without these a save can do, in some places: there is another way, or they are for good measure."""


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_whatever_fails_the_old_file_or_the_new_one_is_there_whole(kind: Kind, tmp_path: Path) -> None:
    """And if it is an error, it has the errno and the user's path; nothing else is left, and no file open."""
    seen = set()
    for fault in faults.faults(kind, tmp_path):
        seen.add(fault.operation)
        assert fault.found in (fault.before, "new"), fault
        assert fault.leaked == 0, fault
        if fault.mode == "takes a part":
            assert (fault.error, fault.found) == (None, "new"), fault
        elif fault.error is None:
            assert fault.found == "new", fault
            assert fault.operation in HARMLESS, fault
        else:
            assert isinstance(fault.error, OSError)
            assert fault.mode == "takes nothing" or fault.error.errno == fault.number, fault
            assert Path(str(fault.error.filename)).parts[-2:] == ("here", "model.pt"), fault
            if fault.found == "new" and fault.before != "new":
                assert fault.operation in ("replace", "fsync folder"), fault  # the rename was done
        if fault.operation != "unlink" and kind.way != "swept":
            assert fault.others == (), fault
        assert all(TEMPORARY.fullmatch(name) for name in fault.others), fault
    assert {"open", "write", "close", "replace"} <= seen

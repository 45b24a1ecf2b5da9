"""A file inside a file, under the contract of all sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptfile.errors import FormatError
from ptfile.sources import LocalSource, MemorySource, Source, ViewSource
from ptfile.sources.part import part_of
from tests.sources.contract import SourceContract


class TestPartOfAFile(SourceContract):
    """A part of a source that is read."""

    def make(self, content: bytes, folder: Path) -> Source:
        path = folder / "whole"
        path.write_bytes(b"before" + content + b"behind")
        return part_of(LocalSource(path), 6, len(content), "whole, part")


class TestPartOfMemory(SourceContract):
    """A part of a source that gives views."""

    def make(self, content: bytes, folder: Path) -> Source:
        return part_of(MemorySource(b"before" + content + b"behind"), 6, len(content), "whole, part")


def test_views_of_views() -> None:
    """A part gives views where the whole does, and nothing of the bytes around it."""
    part = part_of(MemorySource(b"abcdef"), 1, 3, "part")
    assert isinstance(part, ViewSource)
    assert bytes(part.view(0, 3)) == b"bcd"
    with pytest.raises(FormatError, match="missing"):
        part.read(1, 3)


@pytest.mark.parametrize(("start", "size"), [(0, 7), (6, 1), (-1, 2), (2, -1)])
def test_parts_outside(start: int, size: int, tmp_path: Path) -> None:
    """A part that the whole has not is refused before anything is read."""
    path = tmp_path / "whole"
    path.write_bytes(b"abcdef")
    for whole in (MemorySource(b"abcdef"), LocalSource(path)):
        with pytest.raises(FormatError):
            part_of(whole, start, size, "part")

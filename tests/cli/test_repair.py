"""`ptfile repair`: what it prints, and when it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    path = tmp_path / "cut.pt"
    ptfile.save({"first": ptfile.arange(200), "second": ptfile.arange(300)}, path)
    path.write_bytes(path.read_bytes()[:3000])
    return path


def test_what_is_lost_is_listed(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name, with the reason; exit code 0 since a file was written."""
    out = cut.with_name("out.pt")
    assert main(["repair", str(cut), str(out)]) == 0
    assert capsys.readouterr().out.startswith(
        f"{out}: 1 of 2 tensors saved\n  lost: second (data/1): cut off: 568 of its 2400 bytes are there\n"
    )
    assert list(ptfile.load(out)) == ["first"]


def test_json_for_programs(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fields of the report."""
    out = cut.with_name("out.pt")
    assert main(["repair", "--json", str(cut), str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(cut),
        "out": str(out),
        "kept": ["first"],
        "lost": [{"name": "second", "record": "data/1", "problem": "cut off: 568 of its 2400 bytes are there"}],
        "unverified": [],
        "notes": [],
    }


def test_a_file_that_is_there_is_not_replaced_without_force(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the file is as it was."""
    out = cut.with_name("out.pt")
    out.write_text("precious")
    assert main(["repair", str(cut), str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert main(["repair", "--force", str(cut), str(out)]) == 0
    assert list(ptfile.load(out)) == ["first"]


def test_the_broken_file_is_never_the_output(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even by force."""
    before = cut.read_bytes()
    assert main(["repair", "--force", str(cut), str(cut)]) == 2
    assert "is the broken file itself" in capsys.readouterr().err
    assert cut.read_bytes() == before


def test_a_damaged_pickle_is_refused_on_one_line(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to salvage, and no file is written."""
    cut.write_bytes(cut.read_bytes()[:200])
    out = cut.with_name("out.pt")
    assert main(["repair", str(cut), str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ptfile: {cut}, data.pkl: cut off at byte ")
    assert "Nothing can be salvaged" in error
    assert not out.exists()

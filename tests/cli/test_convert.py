"""`ptfile convert`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "x.pt"
    ptfile.save({"weight": ptfile.arange(500)[:400], "epoch": 3}, path)
    return path


def test_it_says_what_was_written(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what of the old file is not in the new one."""
    out = source.with_name("y.npz")
    assert main(["convert", str(source), str(out)]) == 0
    output = capsys.readouterr()
    assert output.out == f"{out}: 3.7 KiB, verified\n  800 B that no tensor reaches are not in it\n"
    assert output.err == ""


def test_json_is_for_programs(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with all that the report has."""
    out = source.with_name("y.npz")
    assert main(["convert", str(source), str(out), "--json", "--no-verify"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(source),
        "format": "zip",
        "out": str(out),
        "to": "npz",
        "nbytes": out.stat().st_size,
        "left_out": [],
        "unkept": [],
        "unreached": 800,
        "verified": False,
    }


def test_the_format_can_be_told(source: Path) -> None:
    """Where the name does not say it."""
    assert main(["convert", str(source), str(source.with_name("y.dat")), "--to", "npz"]) == 0
    assert source.with_name("y.dat").read_bytes()[:2] == b"PK"


def test_a_file_that_is_there_is_not_replaced_unless_it_shall_be(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, as for a command line that is wrong."""
    out = source.with_name("y.npz")
    out.write_bytes(b"old")
    assert main(["convert", str(source), str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_bytes() == b"old"
    assert main(["convert", str(source), str(out), "--force"]) == 0


def test_a_value_without_a_form_is_named(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and how to go on; then it is named as left out."""
    ptfile.save({"a": defaultdict(list), "b": 1}, source)
    arguments = ["convert", str(source), str(source.with_name("y.npz"))]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "no form for a: an object of the type defaultdict" in error
    assert "--leave-out" in error
    assert main([*arguments, "--leave-out"]) == 0
    assert "  left out: a\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["y", "y.onnx", "y.npy"])
def test_a_name_that_says_no_format_is_wrong(name: str, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["convert", str(source), str(source.with_name(name))]) == 2
    assert "which format" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each."""
    assert main(["convert", "-h"]) == 0
    assert "\n    ptfile convert model.pt model.safetensors\n" in capsys.readouterr().out

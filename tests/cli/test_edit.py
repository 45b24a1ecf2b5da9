"""`ptfile edit`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "x.pt"
    weight = ptfile.arange(50_000, dtype=ptfile.float32)
    ptfile.save({"model": {"module.weight": weight, "module.bias": ptfile.ones(2)}, "epoch": 3}, path)
    return path


def test_it_says_what_was_done(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order in which it was done."""
    out = source.with_name("y.pt")
    options = ["--drop", "epoch", "--rename", r"module\.(.*)=\1", "--cast", "*bias=float16"]
    assert main(["edit", str(source), str(out), *options]) == 0
    assert capsys.readouterr().out == (
        f"{out}: 196.9 KiB, of which 195.3 KiB as they were, verified\n"
        "  dropped: epoch\n"
        "  renamed: model.module.weight → weight, model.module.bias → bias\n"
        "  cast: model.bias\n"
    )
    value = ptfile.load(out)
    assert (list(value), list(value["model"])) == (["model"], ["weight", "bias"])


def test_json_is_for_programs(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with all that the report has."""
    out = source.with_name("y.pt")
    assert main(["edit", str(source), str(out), "--root", "model", "--keep", "*.bias", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "files": [str(source)],
        "out": str(out),
        "nbytes": out.stat().st_size,
        "dropped": ["module.weight"],
        "renamed": {},
        "cast": [],
        "copied": 0,
        "verified": True,
    }


def test_files_are_merged(source: Path) -> None:
    """All but the last are read."""
    other = source.with_name("other.pt")
    ptfile.save({"optimizer": [ptfile.ones(2)]}, other)
    assert main(["edit", str(source), str(other), str(source.with_name("y.pt"))]) == 0
    assert list(ptfile.load(source.with_name("y.pt"))) == ["model", "epoch", "optimizer"]


def test_a_file_may_take_its_own_place_if_that_is_meant(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, with --force."""
    before = source.read_bytes()
    assert main(["edit", str(source), str(source), "--root", "model"]) == 2
    assert "--force" in capsys.readouterr().err
    assert source.read_bytes() == before
    assert main(["edit", str(source), str(source), "--root", "model", "--force"]) == 0
    assert list(ptfile.load(source)) == ["module.weight", "module.bias"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--drop", "optimizer"], "there is no optimizer: there is "),
        (["--rename", "module"], "it has the form REGEX=NEW"),
        (["--rename", "(=x"], "no regular expression"),
        (["--cast", "int8"], "'int8' is no dtype"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2(
    options: list[str], problem: str, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is wrong, and no file."""
    assert main(["edit", str(source), str(source.with_name("y.pt")), *options]) == 2
    assert problem in " ".join(capsys.readouterr().err.split())
    assert not source.with_name("y.pt").exists()


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each."""
    assert main(["edit", "-h"]) == 0
    assert "\n    ptfile edit run.pt weights.pt --root model\n" in capsys.readouterr().out

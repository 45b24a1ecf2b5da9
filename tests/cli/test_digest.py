"""`ptfile digest`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main


def test_each_file_has_a_line_with_its_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `sha256sum` prints them: two spaces, and the name as it was given."""
    first, second = tmp_path / "a.pt", tmp_path / "b.pt"
    ptfile.save({"x": ptfile.arange(3)}, first)
    ptfile.save({"x": ptfile.arange(3)}, second, _use_new_zipfile_serialization=False)
    main(["digest", str(first), str(second)])
    made = ptfile.digest(first)
    assert capsys.readouterr().out == f"{made}  {first}\n{made}  {second}\n"


def test_a_file_that_is_none_is_an_error_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit code 1."""
    path = tmp_path / "no.pt"
    path.write_bytes(b"no checkpoint")
    assert main(["digest", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"ptfile: {path}: it is no checkpoint of PyTorch")


def test_json_is_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An object for each file."""
    path = str(tmp_path / "x.pt")
    ptfile.save([1], path)
    assert main(["digest", "--json", path, path]) == 0
    assert json.loads(capsys.readouterr().out) == [{"file": path, "digest": ptfile.digest(path)}] * 2

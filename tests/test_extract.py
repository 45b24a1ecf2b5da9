"""`ptfile.extract` and `ptfile extract`: a tensor as a file that numpy reads."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.cli import main
from ptfile.errors import FormatError, UnsupportedError


def value() -> dict[str, Any]:
    base = ptfile.arange(24, dtype=ptfile.float32).reshape(4, 6)
    return {
        "t": base.transpose(0, 1),
        "rows": [base[1:3]],
        "p": ptfile.Parameter(ptfile.ones(2)),
        "bf16": ptfile.tensor([1.5, -2.0], dtype=ptfile.bfloat16),
        "bool": ptfile.tensor([True, False]),
        "array": np.arange(3, dtype=np.uint16),
        "none": ptfile.zeros(0, 3),
        "scalar": ptfile.tensor(1 + 2j),
        "epoch": 3,
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "x.pt"
    ptfile.save(value(), path)
    return path


@pytest.mark.parametrize("name", ["t", "rows[0]", "p", "bool", "array", "none", "scalar"])
def test_numpy_loads_the_same_values(name: str, source: Path) -> None:
    """Of the same dtype and shape."""
    report = ptfile.extract(source, name, source.with_name("y.npy"))
    with ptfile.open(source) as checkpoint:
        expected = np.asarray(checkpoint[name])
    found = np.load(source.with_name("y.npy"))
    assert np.array_equal(found, expected)
    assert found.dtype == expected.dtype
    assert report == ptfile.Extraction(
        name, str(expected.dtype), expected.shape, source.with_name("y.npy").stat().st_size
    )


def test_what_numpy_does_not_have_can_be_converted(source: Path) -> None:
    """The error says how."""
    out = source.with_name("y.npy")
    with pytest.raises(UnsupportedError, match="--dtype float32"):
        ptfile.extract(source, "bf16", out)
    assert not out.exists()
    ptfile.extract(source, "bf16", out, dtype="float32")
    assert np.load(out).tolist() == [1.5, -2.0]
    assert np.load(out).dtype == np.float32
    ptfile.extract(source, "t", out, dtype=ptfile.float16)
    assert np.load(out).tolist() == value()["t"].tolist()


def test_a_file_object_gets_it_too(source: Path) -> None:
    """Which needs no more than to be written to."""
    buffer = io.BytesIO()
    ptfile.extract(source, "p", buffer)
    buffer.seek(0)
    assert np.load(buffer).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "options", "kind", "problem"),
    [
        ("nothing", {}, ValueError, "there is no nothing: there is "),
        ("epoch", {}, UnsupportedError, "'epoch' is of the type int"),
        ("bool", {"dtype": "float32"}, ValueError, "only floating point"),
        ("t", {"dtype": "int8"}, ValueError, "'int8' is no dtype"),
    ],
)
def test_what_cannot_be_meant_is_an_error(name: str, options: Any, kind: Any, problem: str, source: Path) -> None:
    """And no file is there."""
    with pytest.raises(kind, match=problem):
        ptfile.extract(source, name, source.with_name("y.npy"), **options)
    assert not source.with_name("y.npy").exists()


def test_damage_is_found(tmp_path: Path) -> None:
    """Also in a part of the storage that the tensor does not reach: the checksum is over all of it."""
    ptfile.save({"x": ptfile.arange(1000)[:500]}, tmp_path / "x.pt")
    data = bytearray((tmp_path / "x.pt").read_bytes())
    data[data.index(np.arange(900, 910).tobytes())] ^= 1
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(FormatError, match="checksum"):
        ptfile.extract(tmp_path / "x.pt", "x", tmp_path / "y.npy")
    assert not (tmp_path / "y.npy").exists()


def test_the_command_writes_a_file(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what is in it; with --json, to programs. A file that is there stays, but for --force."""
    out = source.with_name("y.npy")
    arguments = ["extract", str(source), "bf16", str(out), "--dtype", "float64"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{out}: float64 [2], 144 B\n"
    assert main(arguments) == 2
    assert main([*arguments, "--force", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"name": "bf16", "dtype": "float64", "shape": [2], "nbytes": 144}


def test_the_command_writes_to_a_pipe(source: Path) -> None:
    """Nothing but the file."""
    command = [sys.executable, "-m", "ptfile", "extract", str(source), "t", "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert np.load(io.BytesIO(result.stdout)).tolist() == value()["t"].tolist()
    assert result.stderr == b""


def test_the_command_is_wrong_for_a_name_of_nothing(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2; 1 where the tensor is at fault."""
    assert main(["extract", str(source), "nothing", str(source.with_name("y.npy"))]) == 2
    assert "there is no nothing: there is " in capsys.readouterr().err
    assert main(["extract", str(source), "epoch", str(source.with_name("y.npy"))]) == 1

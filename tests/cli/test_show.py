"""`ptfile show`: what it prints of every kind of thing, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.cli import main
from ptfile.tensors.quantized import PerTensor, QuantizedTensor
from ptfile.tensors.sparse import SparseTensor
from tests.cli.test_ls import run, run_in_terminal, without_colour


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "x.pt"
    integers = ptfile.tensor([1, 2, 3], dtype=ptfile.int8).untyped_storage()
    value = {
        "layer": {"weight": ptfile.arange(2000.0).reshape(40, 50), "ids": ptfile.arange(12).reshape(3, 4)},
        "state": {0: {"avg": ptfile.tensor([0.5, float("nan")])}},
        "quantized": QuantizedTensor(integers, ptfile.qint8, 0, (3,), (1,), PerTensor(0.5, 1)),
        "sparse": SparseTensor(ptfile.tensor([[0, 2]]), ptfile.tensor([1.0, 2.0]), (3,)),
        "bits": ptfile.zeros(2, dtype=ptfile.bits16),
        "half": ptfile.tensor([1.5, -2.0], dtype=ptfile.bfloat16),
        "tiny": ptfile.tensor([1.5, -2.0], dtype=ptfile.float8_e4m3fn),
        "complex": ptfile.tensor([3 + 4j]),
        "mask": ptfile.tensor([True, False]),
        "meta": ptfile.zeros(3, device="meta"),
        "array": np.arange(3),
        "epoch": 3,
        "text": "a\x1b[2Jb",
    }
    ptfile.save(value, path)
    return path


def show(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["show", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_part_of_a_tensor(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it lies, its values, what they are like, and a histogram."""
    assert show(capsys, example, "layer.ids[1:]") == (
        "layer.ids[1:]: int64 [2, 4], 64 B\n"
        "\n"
        "Stride    [4, 1] from element 4 of its storage\n"
        "Device    cpu\n"
        "\n"
        "[[ 4,  5,  6,  7],\n"
        " [ 8,  9, 10, 11]]\n"
        "\n"
        "Range     4 to 11\n"
        "Mean      7.5, standard deviation 2.4495\n"
        "Zeros     0 of 8\n"
        "\n"
        "         2 │████████████████████████████████████████████████████████████\n"
        + 6
        * "           │████████████████████████████████████████████████████████████\n"
        + "         0 └────────────────────────────────────────────────────────────\n"
        "            4                                                         11\n"
    )


def test_a_large_tensor_is_summarised(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With dots where values are left out."""
    output = show(capsys, example, "layer.weight")

    assert "[[0.0000e+00, 1.0000e+00, 2.0000e+00, ..., 4.7000e+01, 4.8000e+01, 4.9000e+01],\n" in output
    assert " ...,\n" in output
    assert "Range     0 to 1999\n" in output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("state[0].avg", "[0.5000,    nan]"),
        ("state[0].avg", "Not finite 1 NaN, 0 infinite"),
        ("quantized", "Quantized scale 0.5, zero point 1"),
        ("quantized", "[0.0000, 0.5000, 1.0000]"),
        ("quantized[1:]", "[0.5000, 1.0000]"),
        ("sparse", "Layout    sparse_coo"),
        ("sparse", "Parts     indices, values"),
        ("sparse.indices", "[[0, 2]]"),
        ("bits", "[0x0000, 0x0000]"),
        ("half", "[ 1.5000, -2.0000]"),
        ("tiny", "Range     -2 to 1.5"),
        ("complex", "Range     5 to 5 of the magnitudes"),
        ("mask", "Zeros     1 of 2 (50.0%)"),
        ("meta", "Device    meta"),
        ("array[1:]", "[1, 2]"),
        ("epoch", "epoch: int\n\n3\n"),
        ("text", "'a\\x1b[2Jb'"),
        ("layer.weight[3, 0]", "150."),
    ],
)
def test_every_kind_of_thing(example: Path, capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    """Has something to show."""
    assert said in show(capsys, example, name)


def test_the_only_thing_needs_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is one tensor has no name for it; it may have an index."""
    path = tmp_path / "x.pt"
    ptfile.save(ptfile.arange(4), path)

    assert show(capsys, path).startswith("(root): int64 [4], 32 B\n")
    assert show(capsys, path, "[1:2]").startswith("(root)[1:2]: int64 [1], 8 B\n")
    assert show(capsys, path, "(root)[1:2]").startswith("(root)[1:2]: int64 [1], 8 B\n")


def test_json_of_a_tensor(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All documented keys; what is no number in JSON is a text."""
    printed = json.loads(show(capsys, example, "state[0].avg", "--json"), parse_constant=pytest.fail)

    assert printed.pop("statistics") == {
        "of": "values", "count": 2, "nans": 1, "infinities": 0, "zeros": 0, "min": 0.5, "max": 0.5, "mean": 0.5,
        "std": None, "histogram": [1],
    }  # fmt: skip
    assert printed == {
        "file": str(example), "name": "state[0].avg", "index": None, "kind": "tensor", "dtype": "float32",
        "shape": [2], "layout": "strided", "device": "cpu", "requires_grad": False, "stride": [1], "offset": 0,
        "elements": 2, "bytes": 8, "parts": [], "values": [0.5, "nan"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("epoch", {"kind": "value", "type": "int", "value": 3}),
        ("complex", {"values": ["(3+4j)"]}),
        ("layer.weight", {"values": None}),
        ("bits", {"statistics": None, "values": None}),
        ("meta", {"statistics": None, "values": None}),
        ("sparse", {"layout": "sparse_coo", "stride": None, "values": None}),
        ("layer.ids[0, :2]", {"name": "layer.ids", "index": "[0, :2]", "values": [0, 1]}),
    ],
)
def test_json_of_other_things(
    example: Path, capsys: pytest.CaptureFixture[str], name: str, expected: dict[str, Any]
) -> None:
    """As documented."""
    printed = json.loads(show(capsys, example, name, "--json"), parse_constant=pytest.fail)
    assert {key: printed[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("layer.wieght", "there is no layer.wieght: there is layer.weight"),
        ("layer", "layer is a group of 2 names: layer.weight, layer.ids"),
        ("", "names: "),
        ("layer.ids[x]", "'x' in [x] is no index"),
        ("layer.ids[0, 0, 0]", "has no such part: 3 indexes for a tensor of 2 dimensions"),
        ("layer.ids[::-1]", "the step of a slice is 1 or more"),
        ("sparse[0]", "its parts are sparse.indices, sparse.values"),
        ("epoch[0]", "epoch is no tensor that can be indexed"),
    ],
)
def test_a_wrong_name_is_a_wrong_command_line(
    example: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    """Exit code 2, and what there is instead."""
    assert main(["show", str(example), name]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err


def test_a_bad_file_is_an_error(tmp_path: Path) -> None:
    """One line, exit code 1."""
    result = run("show", tmp_path / "none.pt", "x")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("name", ["weight", "text"])
def test_lines_fit_the_terminal(tmp_path: Path, columns: int, name: str) -> None:
    """Values, histogram and long texts; with colour, and nothing of the file is obeyed."""
    path = tmp_path / "x.pt"
    rows = np.random.default_rng(0).normal(size=(8, 8, 8, 8)).astype(np.float32)
    ptfile.save({"weight": ptfile.from_numpy(rows), "text": "\x1b[2J long" * 100}, path)
    output = run_in_terminal(columns, "show", path, name)
    lines = without_colour(output).splitlines()

    assert "\x1b[" in output
    assert max(map(len, lines)) <= columns
    assert "\x1b" not in without_colour(output)

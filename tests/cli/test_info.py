"""`ptfile info`: what it prints for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import charts, main
from ptfile.cli.screen import cut
from tests.cli.test_ls import run, run_in_terminal, without_colour


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """Two layers, a tied weight, a slice of something large, an optimizer's number."""
    path = tmp_path / "example.pt"
    embedding = ptfile.zeros(256, 64)
    layers = {f"layers.{i}.{part}": ptfile.zeros(64, 64) for i in range(2) for part in ("query", "value")}
    model = {"embed": embedding, **layers, "head": embedding, "bias": ptfile.zeros(1000, dtype=ptfile.bfloat16)[:10]}
    ptfile.save({"model": model, "step": ptfile.tensor(7), "epoch": 3}, path)
    return path


def test_the_report_in_a_pipe(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The facts, a bar for each dtype and each part of the model, what is shared, what is wasted."""
    assert main(["info", str(example)]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()

    assert heading.startswith(f"{example}: zip format, ")
    assert lines[1] == "Writer    PyTorch 2.7 or newer, or a program that writes as it does"
    assert lines[3] == "Tensors   8 tensors, 32,779 elements"
    assert lines[8:] == [
        "",
        "By dtype              Tensors  Elements       Size",
        "float32                     6    32,768  128.0 KiB  100%  ██████████████████████",
        "bfloat16                    1        10       20 B    0%  ▏",
        "int64                       1         1        8 B    0%  ▏",
        "",
        "By name               Tensors  Elements       Size",
        "model.embed                 1    16,384   64.0 KiB   50%  ███████████",
        "model.layers.0.query        1     4,096   16.0 KiB   12%  ██▊",
        "model.layers.0.value        1     4,096   16.0 KiB   12%  ██▊",
        "model.layers.1.query        1     4,096   16.0 KiB   12%  ██▊",
        "model.layers.1.value        1     4,096   16.0 KiB   12%  ██▊",
        "model.bias                  1        10       20 B    0%  ▏",
        "step                        1         1        8 B    0%  ▏",
        "",
        "Shared storages",
        "model.embed = model.head",
        "",
        "Waste is in the file though no tensor reaches it.",
        "Saved again with storages='reachable' the file has none.",
    ]


def test_json_has_the_documented_keys(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, exact numbers."""
    assert main(["info", "--json", str(example)]) == 0
    printed = json.loads(capsys.readouterr().out)

    assert printed.pop("facts")[".format_version"] == "1"
    assert printed.pop("pickle_bytes") > 100
    assert printed.pop("prefixes")[0] == {"name": "model.embed", "tensors": 1, "elements": 16384, "bytes": 65536}
    assert printed == {
        "file": str(example),
        "bytes": example.stat().st_size,
        "format": "zip",
        "writer": "PyTorch 2.7 or newer",
        "protocol": 2,
        "total": {"tensors": 8, "elements": 32779, "storages": 7, "bytes": 133080, "values": 1},
        "waste": {"bytes": 1980, "unreached": 1980, "unused": {}},
        "dtypes": [
            {"name": "float32", "tensors": 6, "elements": 32768, "bytes": 131072},
            {"name": "bfloat16", "tensors": 1, "elements": 10, "bytes": 20},
            {"name": "int64", "tensors": 1, "elements": 1, "bytes": 8},
        ],
        "devices": [{"name": "cpu", "tensors": 8, "elements": 32779, "bytes": 131100}],
        "shared": [["model.embed", "model.head"]],
    }


@pytest.mark.parametrize("columns", [80, 160])
def test_lines_fit_the_terminal(tmp_path: Path, columns: int) -> None:
    """However long the names are, which are cut in the middle, and whatever is in them."""
    path = tmp_path / "x.pt"
    name = "encoder.layers.0.self_attention.query_projection.weight_quantizer.running_average_of_the_maximum"
    state = {f"{name}.{i}\x1b[2J": ptfile.zeros(2048, 512, device="cuda:0") for i in range(4)}
    ptfile.save({**state, "tied": state[f"{name}.0\x1b[2J"]}, path, storages="reachable")
    output = run_in_terminal(columns, "info", path)
    lines = without_colour(output).splitlines()

    assert "\x1b[" in output
    assert max(map(len, lines)) <= max(columns, len(str(path)))
    assert "\x1b" not in without_colour(output)
    assert any(line.startswith("['encoder") and "…" in line for line in lines) == (columns == 80)


def test_a_pipe_gets_no_escape_codes(example: Path) -> None:
    """Nor does it cut names."""
    result = run("info", example)

    assert result.returncode == 0
    assert "\x1b" not in result.stdout


def test_other_devices_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the tensors were, if that was not only main memory."""
    path = tmp_path / "x.pt"
    ptfile.save([ptfile.zeros(3), ptfile.zeros(256, device="cuda:0")], path)
    main(["info", str(path)])

    assert "Devices   cuda:0 (1.0 KiB), cpu (12 B)\n" in capsys.readouterr().out


def test_a_checkpoint_without_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Has no charts."""
    path = tmp_path / "x.pt"
    ptfile.save({"epoch": 3}, path)
    assert main(["info", str(path)]) == 0

    output = capsys.readouterr().out
    assert "Tensors   0 tensors, 0 elements\n" in output
    assert "By dtype" not in output


def test_a_bad_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 1."""
    path = tmp_path / "x.pt"
    path.write_bytes(b"<html>")

    assert main(["info", str(path)]) == 1
    assert "a web page" in capsys.readouterr().err


@pytest.mark.parametrize("width", range(30))
def test_cutting_keeps_both_ends(width: int) -> None:
    """In no more columns than there are, wide characters too."""
    assert len(cut("model.layers.0.attention.weight", width)) <= width
    assert len(cut("中文" * 20, width)) <= max(width // 2 + 1, 1)
    if width > 4:
        assert cut("model.layers.0.attention.weight", width)[0] == "m"
        assert cut("model.layers.0.attention.weight", width)[-1] == "t"


def test_charts_without_blocks() -> None:
    """Where the terminal has no such characters, there are others."""
    assert charts.bar(0.5, 10, has_blocks=False) == "#####"
    assert charts.columns([0, 1, 100], 2, has_blocks=False) == ["  #", " ##"]

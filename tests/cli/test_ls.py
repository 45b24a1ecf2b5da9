"""`ptfile ls`: what it prints, in a terminal and elsewhere, and how it fails."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.cli import main, text
from ptfile.cli.table import Column, Table, fold, write_plain
from ptfile.tensors.sparse import SparseTensor


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "ein Modell 中.pt"
    weight = ptfile.zeros(3, 4)
    ptfile.save({"epoch": 3, "model": {"embed.weight": weight, "head.weight": weight, "bias": ptfile.zeros(3)}}, path)
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it, with a pipe for a terminal."""
    command = [sys.executable, "-m", "ptfile", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


def run_in_terminal(
    columns: int, *arguments: object, exit_code: int = 0, environment: Mapping[str, str] = MappingProxyType({})
) -> str:
    """What the command writes to a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "ptfile", *map(str, arguments)]
    with subprocess.Popen(command, stdout=slave, env={**inherited, "TERM": "xterm", **environment}) as process:
        os.close(slave)
        output = b""
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not piece:
                break
            output += piece
    os.close(master)
    assert process.returncode == exit_code
    return output.decode().replace("\r\n", "\n")


def without_colour(output: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


def test_the_listing_in_a_pipe(example: Path) -> None:
    """Plain aligned text: the file, a row for each tensor, the other values, the total."""
    result = run("ls", example)

    assert result.returncode == 0
    assert result.stdout == (
        f"{example}: zip format, {text.size(example.stat().st_size)}\n"
        "\n"
        "Name                Dtype    Shape   Size  Shared\n"
        "model.embed.weight  float32  [3, 4]  48 B  #1\n"
        "model.head.weight   float32  [3, 4]  48 B  #1\n"
        "model.bias          float32  [3]     12 B\n"
        "\n"
        "epoch  3\n"
        "\n"
        "3 tensors, 15 elements, 60 B in 2 storages\n"
        "Tensors with the same # share a storage: writing to one changes the other where they overlap.\n"
    )


def test_the_device_is_shown_where_it_is_not_always_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is a column of devices only if it tells something."""
    path = tmp_path / "x.pt"
    ptfile.save([ptfile.zeros(1), ptfile.zeros(1, device="cuda:0")], path)
    main(["ls", str(path)])

    assert "Name  Dtype    Shape  Size  Device\n[0]   float32  [1]     4 B  cpu\n" in capsys.readouterr().out


def test_wasted_bytes_are_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the first tensor of each storage that has any, in the summary, and with what to do."""
    path = tmp_path / "x.pt"
    large = ptfile.arange(1000)
    ptfile.save([ptfile.zeros(2), large[:5], large[5:10], ptfile.zeros(9)[8]], path)
    main(["ls", str(path)])

    assert capsys.readouterr().out.partition("\n\n")[2] == (
        "Name  Dtype    Shape  Size  Shared    Waste\n"
        "[0]   float32  [2]     8 B\n"
        "[1]   int64    [5]    40 B  #1      7.7 KiB\n"
        "[2]   int64    [5]    40 B  #1\n"
        "[3]   float32  []      4 B             32 B\n"
        "\n"
        "4 tensors, 13 elements, 7.9 KiB in 3 storages, 7.8 KiB of them waste\n"
        "Tensors with the same # share a storage: writing to one changes the other where they overlap.\n"
        "Waste is in the file though no tensor reaches it. Saved with storages='reachable' it is left out.\n"
    )


def test_what_is_saved_reachable_has_no_waste(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said of waste then."""
    path = tmp_path / "x.pt"
    ptfile.save(ptfile.arange(1000)[:5], path, storages="reachable")
    main(["ls", str(path)])

    out = capsys.readouterr().out
    assert "1 tensor, 5 elements, 40 B in 1 storage\n" in out
    assert "aste" not in out


def test_many_values_are_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of values that are no tensors people get thirty, and are told of the rest."""
    path = tmp_path / "x.pt"
    ptfile.save({f"v{i}": i for i in range(100)}, path)
    main(["ls", str(path)])
    output = capsys.readouterr().out

    assert "v29  29\n" in output
    assert "v30" not in output
    assert "70 more values: --json lists all.\n" in output


def test_empty_containers_are_left_to_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A saved module has a dozen empty dicts for every layer, which would hide what tells something."""
    path = tmp_path / "x.pt"
    ptfile.save({"hooks": {}, "buffers": [], "epoch": 0}, path)
    main(["ls", str(path)])
    assert capsys.readouterr().out.splitlines()[2:-1] == ["epoch  0", ""]
    main(["ls", "--json", str(path)])
    assert len(json.loads(capsys.readouterr().out)["values"]) == 3


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_a_terminal_gets_colour_and_its_own_width(tmp_path: Path, columns: int) -> None:
    """Lines fit the terminal, long names are folded, and not a character of them is lost."""
    path = tmp_path / "x.pt"
    name = "encoder.layers.0.self_attention.query_projection.weight_quantizer.amax"
    ptfile.save({name: ptfile.zeros(512, 512)}, path)
    output = run_in_terminal(columns, "ls", path)
    lines = without_colour(output).splitlines()
    rows = lines[next(i for i, line in enumerate(lines) if line.startswith("encoder")) :]
    folded = rows[: rows.index("")]

    assert "\x1b[" in output
    assert max(map(len, lines)) <= max(columns, len(str(path)))
    assert "float32  [512, 512]  1.0 MiB" in folded[0]
    assert folded[0].split()[0] + "".join(row.strip() for row in folded[1:]) == name
    assert (len(folded) == 1) == (columns == 160)


def test_a_terminal_that_wants_no_colour_gets_none(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TERM=dumb turns the escape codes off."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ptfile", "ls", str(example)], stdout=slave, env={**os.environ, "TERM": "dumb"}
    ):
        os.close(slave)
    output = os.read(master, 1 << 16)
    os.close(master)

    assert b"embed.weight" in output
    assert b"\x1b[" not in output


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    """Escape codes in keys and texts of a file are shown as text, in terminals, pipes and errors."""
    path = tmp_path / "x\x1b[2J.pt"
    ptfile.save({"a\x1b[31mb": ptfile.zeros(1), "text": "\x1b]0;title\x07", "\u202e": 1}, path)
    plain = run("ls", path).stdout
    terminal = run_in_terminal(200, "ls", path)
    error = run("ls", str(path) + "\x1b[2J").stderr

    assert "['a\\x1b[31mb']" in plain
    assert "x\\x1b[2J.pt" in plain
    assert not re.search("[\x1b\x07\u202e]", plain + error)
    assert not re.search("[\x1b\x07\u202e]", without_colour(terminal))


def test_what_is_neither_tensor_nor_plain_value_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Storages, sparse tensors and objects of unknown classes are shown in a few words, without their bytes."""
    path = tmp_path / "x.pt"
    sparse = SparseTensor(ptfile.tensor([[0, 2]]), ptfile.tensor([1.0, 2.0]), (3,))
    storage = ptfile.zeros(5).untyped_storage()
    ptfile.save({"grad": sparse, "raw": storage, "object": SimpleObject()}, path)
    main(["ls", str(path)])
    output = capsys.readouterr().out

    assert "grad    sparse_coo tensor of float32, [3]\n" in output
    assert "raw     storage of 20 B\n" in output
    assert f"object  object of {SimpleObject.__module__}.SimpleObject\n" in output


class SimpleObject:
    """Of a class that ptfile does not know."""


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    """Rich's own markup means nothing in a name."""
    path = tmp_path / "[red]x.pt"
    ptfile.save({"[bold]": ptfile.zeros(1), ":smile:": ptfile.zeros(1)}, path)
    output = without_colour(run_in_terminal(200, "ls", path))

    assert "['[bold]']" in output
    assert ":smile:" in output
    assert "[red]x.pt" in output


def test_json_has_the_documented_keys(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with everything that the summary knows."""
    assert main(["ls", "--json", str(example)]) == 0
    printed = json.loads(capsys.readouterr().out)
    tensor = {
        "dtype": "float32",
        "shape": [3, 4],
        "stride": [4, 1],
        "offset": 0,
        "bytes": 48,
        "device": "cpu",
        "requires_grad": False,
        "storage": 0,
    }

    assert printed == {
        "file": str(example),
        "bytes": example.stat().st_size,
        "format": "zip",
        "tensors": [
            {"name": "model.embed.weight", **tensor},
            {"name": "model.head.weight", **tensor},
            {"name": "model.bias", **tensor, "shape": [3], "stride": [1], "bytes": 12, "storage": 1},
        ],
        "storages": [
            {"bytes": 48, "device": "cpu", "unreached": 0, "names": ["model.embed.weight", "model.head.weight"]},
            {"bytes": 12, "device": "cpu", "unreached": 0, "names": ["model.bias"]},
        ],
        "values": [{"name": "epoch", "type": "int", "value": 3}],
        "total": {"tensors": 3, "elements": 15, "storages": 2, "bytes": 60, "unreached": 0},
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (None, None),
        (1.5, 1.5),
        (1 << 70, 1 << 70),
        ("中\x00", "中\x00"),
        (float("nan"), "nan"),
        ([1, 2], "[1, 2]"),
        (b"x", "b'x'"),
        (np.zeros((2, 3)), "array of float64, [2, 3]"),
    ],
)
def test_values_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], value: Any, expected: Any) -> None:
    """A value that JSON has is itself, any other is a short text; the output is strict JSON."""
    path = tmp_path / "x.pt"
    ptfile.save({"v": value}, path)
    main(["ls", "--json", str(path)])
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)

    assert printed["values"] == [{"name": "v", "type": type(value).__name__, "value": expected}]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file or directory"), (b"<html>", "a web page"), (b"", "empty")]
)
def test_a_bad_file_is_one_line_on_stderr(tmp_path: Path, content: bytes | None, said: str) -> None:
    """No traceback, exit code 1, and the line names the file."""
    path = tmp_path / "x.pt"
    if content is not None:
        path.write_bytes(content)
    result = run("ls", path)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"ptfile: {path}: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["ls"], ["ls", "a", "b"], ["ls", "--no-such-option", "a"], ["no-such-command"]])
def test_a_wrong_command_line_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors say how to use it, and have an exit code of their own."""
    assert main(arguments) == 2
    assert "Usage: ptfile" in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    """`ptfile ls x.pt | head -1` ends without a traceback."""
    path = tmp_path / "x.pt"
    ptfile.save({f"layer.{i}": ptfile.zeros(1) for i in range(5000)}, path)
    command = [sys.executable, "-m", "ptfile", "ls", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_an_encoding_that_lacks_a_character_is_no_error(example: Path) -> None:
    """Where the terminal has no 中, an escape stands for it."""
    result = subprocess.run(
        [sys.executable, "-m", "ptfile", "ls", str(example)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        check=True,
    )

    assert b"ein Modell \\u4e2d.pt" in result.stdout


def test_wide_characters_stay_aligned() -> None:
    """A character that takes two cells in a terminal counts as two."""
    out = io.StringIO()
    write_plain(Table((Column("Name"), Column("Size", right=True)), [("中中", "1 B"), ("abcd", "10 B")]), out)

    assert out.getvalue() == "Name  Size\n中中   1 B\nabcd  10 B\n"


@pytest.mark.parametrize("name", ["a.b.c" * 9, "x" * 50, "中" * 20, "", "." * 40])
def test_folding_loses_nothing(name: str) -> None:
    """The lines put together are the name, and none is longer than it may be."""
    lines = fold(name, 16).split("\n")

    assert "".join(lines) == name
    assert max(map(len, lines)) <= 16

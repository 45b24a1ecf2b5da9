"""`ptfile pickle`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main
from tests.cli.test_ls import run, run_in_terminal, without_colour
from tests.formats.zip_file import zip_of

HARM = b"\x80\x02(cposix\nsystem\nX\x02\0\0\0lsq\x00\x85R(K\x01K\x02t."


@pytest.fixture
def harm(tmp_path: Path) -> str:
    path = tmp_path / "x.pt"
    path.write_bytes(zip_of({"data.pkl": HARM}).getvalue())
    return str(path)


def test_the_lines_in_a_pipe(harm: str) -> None:
    """Position, opcode with its argument, what it makes, what is wrong with it."""
    result = run("pickle", harm)

    assert result.returncode == 0
    assert result.stdout == (
        f"{harm}, net/data.pkl\n"
        "       0  PROTO               2\n"
        "       2  MARK\n"
        "       3    GLOBAL            posix system  !! runs a shell command\n"
        "      17    BINUNICODE        'ls'\n"
        "      24    BINPUT            0     memo 0 = 'ls'\n"
        "      26    TUPLE1            ('ls',)\n"
        "      27    REDUCE            posix.system('ls')  !! runs a shell command\n"
        "      28    MARK\n"
        "      29      BININT1         1\n"
        "      31      BININT1         2\n"
        "      33    TUPLE             (1, 2)\n"
        "      34    STOP              (1, 2)\n"
    )


def test_json_has_the_documented_keys(harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One document, an object for each opcode."""
    assert main(["pickle", harm, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    [one] = printed.pop("pickles")

    assert printed == {"file": harm}
    assert (one["record"], one["start"], len(one["instructions"])) == ("net/data.pkl", 0, 12)
    assert one["instructions"][6] == {
        "position": 27, "opcode": "REDUCE", "argument": "", "depth": 1, "note": "posix.system('ls')",
        "warning": "runs a shell command",
    }  # fmt: skip


def test_exit_codes(tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """0 shown to its end, 1 it breaks off or cannot be read, 2 a wrong command line."""
    broken = tmp_path / "broken.pkl"
    broken.write_bytes(HARM[:-1])
    for form in ([], ["--json"]):
        assert main(["pickle", harm, "data.pkl", *form]) == 0
        assert main(["pickle", str(broken), *form]) == 1
        assert main(["pickle", harm, "other", *form]) == 1
        assert main(["pickle", f"{harm}.none", *form]) == 1
        assert main(["pickle", harm, "--at", "-1", *form]) == 2
    assert "!! the pickle ends without STOP" in capsys.readouterr().out


def test_a_place_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of bytes that are no checkpoint."""
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(50) + HARM)
    assert main(["pickle", str(path), "--at", "50"]) == 0
    assert "\n      50  PROTO " in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 160])
def test_lines_fit_the_terminal(tmp_path: Path, columns: int) -> None:
    """Names and texts are cut, and none of them is obeyed."""
    path = tmp_path / "x.pt"
    name = b"module\x1b[2J." * 10 + b"\nname\x1b[2J" * 1
    text = ("中\x1b[2Jabcde" * 3).encode()
    called = b"\x80\x02(c" + name + b"\nX" + len(text).to_bytes(4, "little") + text + b"\x85R"
    data = called + b"(" * 30 + b"0" * 30 + b"t."
    path.write_bytes(zip_of({"data.pkl": data}).getvalue())
    output = run_in_terminal(columns, "pickle", path)
    lines = without_colour(output).splitlines()

    assert "\x1b[" in output
    assert max(map(len, lines)) <= columns
    assert "\x1b" not in without_colour(output)


def test_any_checkpoint_of_ours_is_free_of_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All names in it are in the table."""
    path = tmp_path / "x.pt"
    ptfile.save({"a": ptfile.zeros(2, dtype=ptfile.bfloat16), "b": ptfile.zeros(2, dtype=ptfile.float8_e4m3fn)}, path)
    assert main(["pickle", str(path)]) == 0
    assert "!!" not in capsys.readouterr().out

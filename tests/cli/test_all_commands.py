"""What all commands have in common: JSON, no colour where nobody sees it, and the shell's help with words."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main, progress
from ptfile.cli.group import COMMANDS, QUESTIONS
from tests.cli.test_ls import run, run_in_terminal, without_colour
from tests.cli.test_verify import Terminal

ARGUMENTS = {
    "ls": ["x.pt"],
    "info": ["x.pt"],
    "show": ["x.pt", "weight"],
    "diff": ["x.pt", "x.pt"],
    "verify": ["x.pt"],
    "repair": ["x.pt", "out.pt"],
    "scan": ["x.pt"],
    "pickle": ["x.pt"],
    "digest": ["x.pt"],
    "convert": ["x.pt", "out.safetensors"],
    "edit": ["x.pt", "out.pt", "--drop", "epoch"],
    "extract": ["x.pt", "weight", "out.npy"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    ptfile.save({"weight": ptfile.arange(6.0).reshape(2, 3), "weird\x1b[31m": [1], "epoch": 3}, "x.pt")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_each_has_json(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One strict document on the standard output, and nothing else."""
    assert main([command, *ARGUMENTS[command], "--json"]) == 0
    json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_gets_no_escape_codes(command: str, folder: Path) -> None:
    """Neither ours nor those in the file, whatever the terminal is."""
    result = run(command, *ARGUMENTS[command])
    assert result.returncode == 0
    assert result.stdout
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.parametrize("command", ["info", "show", "ls"])
def test_no_color_is_obeyed(command: str, folder: Path) -> None:
    """NO_COLOR=1: weights at most, no colours."""
    output = run_in_terminal(80, command, *ARGUMENTS[command], environment={"NO_COLOR": "1"})
    assert "\x1b[3" not in output
    assert "weight" in without_colour(output)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_not_there(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 for what should have been done, 2 for questions without an answer; and the file is named."""
    arguments = ["none.pt" if argument == "x.pt" else argument for argument in ARGUMENTS[command]]
    assert main([command, *arguments]) == (2 if command in QUESTIONS else 1)
    printed = capsys.readouterr()
    assert "none.pt: " in printed.out + printed.err


@pytest.mark.parametrize("command", ["edit", "scan"])
def test_words_stay_whole_in_a_terminal(command: str, folder: Path) -> None:
    """Long lines go on in the next, indented."""
    ptfile.save({f"name_number_{i}": i for i in range(9)} | {"weight": ptfile.ones(1)}, "x.pt")
    Path("y.pt").write_bytes(b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R.")
    arguments = {"edit": ["x.pt", "out.pt", "--drop", "name*"], "scan": ["y.pt"]}[command]
    lines = run_in_terminal(50, command, *arguments, exit_code=int(command == "scan")).split("\n")
    assert max(map(len, map(without_colour, lines))) <= 50
    assert any(line.startswith("    ") for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_is_no_answer(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """130, as of a program that a signal has ended, and one line."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ptfile.sources.opening.open_file", interrupted)
    assert main([command, *ARGUMENTS[command]]) == 130
    assert capsys.readouterr() == ("", "ptfile: interrupted\n")


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_nobody_reads_is_no_answer(command: str, folder: Path) -> None:
    """Quiet, and 141 as of other programs: what is not written at once has to be found out as well."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        arguments = [sys.executable, "-m", "ptfile", command, *ARGUMENTS[command]]
        result = subprocess.run(arguments, stdout=output, stderr=subprocess.PIPE, check=False, env=BUFFERED)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.parametrize("closed", [1, 2])
def test_there_may_be_no_output_at_all(closed: int, folder: Path) -> None:
    """A process can be started without."""
    code = f"import os, sys; os.close({closed}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    arguments = [sys.executable, "-c", code, "-m", "ptfile", "ls", "x.pt"]
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("command", ["ls", "diff"])
def test_a_full_disk_is_told(command: str, folder: Path) -> None:
    """As any other failure, and not when it is too late for an exit code."""
    with Path("/dev/full").open("wb") as output:
        arguments = [sys.executable, "-m", "ptfile", command, *ARGUMENTS[command]]
        result = subprocess.run(arguments, stdout=output, stderr=subprocess.PIPE, check=False, env=BUFFERED)
    assert result.returncode == (2 if command in QUESTIONS else 1)
    assert result.stderr == b"ptfile: No space left on device\n"


@pytest.mark.parametrize("command", ["convert", "edit", "extract", "repair"])
@pytest.mark.parametrize("as_url", [str, lambda path: Path(path).absolute().as_uri()], ids=["path", "file"])
def test_a_file_that_is_there_is_replaced_by_force_alone(
    command: str, as_url: Callable[[str], str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it is given by its path or by its URL: else it is a usage error, and stays."""
    source, *names, target = [argument for argument in ARGUMENTS[command] if "." in argument or argument == "weight"]
    arguments = [command, source, *names, as_url(target)]
    assert main(arguments) == 0
    Path(target).write_bytes(b"old")
    assert main(arguments) == 2
    assert f"{as_url(target)} is there already" in " ".join(capsys.readouterr().err.split())
    assert Path(target).read_bytes() == b"old"
    assert main([*arguments, "--force"]) == 0
    assert Path(target).read_bytes() != b"old"


def test_a_store_that_does_not_tell_what_is_there_is_not_taken_for_empty(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever may only write there says --force."""

    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "the store does not allow it", "memory://x.npz")

    monkeypatch.setattr("ptfile.sources.open_source", refuses)
    assert main(["convert", "x.pt", "memory://x.npz"]) == 2
    assert "(the store does not allow it); --force" in " ".join(capsys.readouterr().err.split())


def completions(*words: str) -> list[str]:
    """What bash would be offered for the last word."""
    environment = {
        "_PTFILE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-m", "ptfile"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **environment},
    )
    return [line.partition(",")[2] for line in result.stdout.split()]


def test_the_shell_completes_commands_files_and_names(folder: Path) -> None:
    """Names of tensors by reading the pickle; where that fails there are none."""
    assert completions("ptfile", "ve") == ["verify"]
    for words in (["ls"], ["convert", "x.pt"], ["edit", "x.pt"], ["extract", "x.pt", "weight"]):
        assert completions("ptfile", *words, "x") == ["x"]  # bash itself looks for files then
    assert completions("ptfile", "show", "x.pt", "we") == ["weight"]
    assert completions("ptfile", "extract", "x.pt", "we") == ["weight"]
    assert completions("ptfile", "show", "none.pt", "we") == []


@pytest.mark.parametrize(("patience", "is_shown"), [(0.0, True), (100.0, False)])
def test_what_takes_long_has_a_bar(patience: float, is_shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it tells how far it is or not; nothing is left of it."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "PATIENCE", patience)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress_bar("name\x1b[2J.pt") as advance:
        for _ in range(1000):
            if screen.getvalue() or not is_shown:
                break
            time.sleep(0.01)
        advance(1, 2)
    assert bool(screen.getvalue()) is is_shown
    assert "name\x1b" not in screen.getvalue()

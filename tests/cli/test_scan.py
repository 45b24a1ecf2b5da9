"""`ptfile scan`: what it prints for people and for programs, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.cli import main
from tests.cli.test_ls import run_in_terminal, without_colour
from tests.formats.zip_file import BAD_GLOBAL, EMPTY_DICT, zip_of
from tests.hostile.pickle_assembler import call, checkpoint, name, plain, tuple_of

HARM = checkpoint(tuple_of(call(name("posix", "system"), plain("ls")), name("my.models", "Net") + b")\x81"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["scan", *arguments])
    return code, capsys.readouterr().out


def test_the_report_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for a clean file, more for others, and the total."""
    ptfile.save({"w": ptfile.zeros(3)}, folder / "a.pt")
    (folder / "b.pt").write_bytes(HARM)
    (folder / "c.txt").write_bytes(b"hello\n")
    (folder / "d.pt").write_bytes(zip_of({"data.pkl": EMPTY_DICT, "x": BAD_GLOBAL}).getvalue())
    (folder / "e.pkl").write_bytes(b"\x80\x02N.xx")
    (folder / "f.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    assert scan(capsys, "a.pt", "b.pt", "c.txt", "d.pt", "e.pkl", "f.png", "none.pt") == (
        1,
        "a.pt: clean: 1 pickle; ptfile.load reads it\n"
        "b.pt: unsafe: 1 pickle; ptfile.load refuses it (UnsafeError)\n"
        "  a/data.pkl, byte 3: would call posix.system('ls'), which runs a shell command\n"
        "  a/data.pkl, byte 29: would make my.models.Net(), which is not in ptfile's table\n"
        "c.txt: no pickle\n"
        "d.pt: unsafe: 2 pickles; ptfile.load reads it\n"
        "  net/x, byte 2: would call posix.system('ls'), which runs a shell command (ptfile.load does not look at it)\n"
        "e.pkl: malformed: 1 pickle; ptfile.load refuses it (FormatError)\n"
        "  byte 4: malformed: 2 bytes follow the end of the pickle\n"
        "f.png: no pickle: it looks like a PNG image\n"
        "none.pt: not readable: No such file or directory\n"
        "\n"
        "7 files, 5 pickles: 2 unsafe, 1 malformed, 1 clean, 2 without a pickle, 1 not readable\n",
    )


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"a": b"text"}, 0),
        ({"a": b"\x80\x02N."}, 0),
        ({"a": HARM}, 1),
        ({"a": b"\x80\x02N.xx"}, 1),
        ({"a": b"\x80\x02N.", "b": b"\x80\x02(NNNX\xff\0\0\0"}, 2),
        ({"a": b"7z\xbc\xaf\x27\x1c" + bytes(100)}, 2),
        ({"a": None}, 2),
        ({"a": None, "b": HARM, "c": b"\x80\x02N."}, 1),
        ({}, 0),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"], ["--sarif"]])
def test_exit_codes(
    folder: Path, capsys: pytest.CaptureFixture[str], files: dict[str, bytes | None], code: int, form: list[str]
) -> None:
    """0 all is well, 1 something is wrong, 2 something could not be read; 1 goes before 2."""
    paths = [str(folder)] if not files else [str(folder / file) for file in files]
    for file, data in files.items():
        if data is not None:
            (folder / file).write_bytes(data)
    assert scan(capsys, *form, *paths)[0] == code


def test_folders_are_walked_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With all that is below them; links to folders are not followed, and pipes are no files."""
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "b" / "deep" / "x.pt").write_bytes(HARM)
    (folder / "b" / "a.pkl").write_bytes(EMPTY_DICT)
    (folder / "b" / ".hidden").write_bytes(EMPTY_DICT)
    (folder / "b" / "link").symlink_to(folder)
    (folder / "b" / "dangling").symlink_to(folder / "none")
    os.mkfifo(folder / "b" / "pipe")
    code, output = scan(capsys, "--json", "b")
    assert code == 1
    assert [(file["file"], file["verdict"]) for file in json.loads(output)["files"]] == [
        ("b/.hidden", "clean"),
        ("b/a.pkl", "clean"),
        ("b/dangling", None),
        ("b/deep/x.pt", "unsafe"),
    ]


def test_a_pipe_by_name_is_a_line_and_no_wait(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Opening it would wait for a writer."""
    os.mkfifo(folder / "pipe")
    assert scan(capsys, "pipe") == (
        2,
        "pipe: not readable: it is neither a file nor a folder\n\n1 file, 0 pickles: 1 not readable\n",
    )


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything is readable here")
def test_a_folder_that_may_not_be_read_is_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback, and not silence."""
    (folder / "secret").mkdir(mode=0)
    code, output = scan(capsys, ".")
    (folder / "secret").chmod(0o700)
    assert code == 2
    assert "./secret: not readable: Permission denied\n" in output


def test_json_has_the_documented_keys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As docs/scan.md has them."""
    (folder / "x.pt").write_bytes(HARM)
    code, output = scan(capsys, "--json", "x.pt")
    printed = json.loads(output)
    documented = (Path(__file__).parents[2] / "docs" / "scan.md").read_text("utf-8")

    assert code == 1
    assert printed["total"] == {
        "files": 1,
        "pickles": 1,
        "unsafe": 1,
        "malformed": 0,
        "incomplete": 0,
        "clean": 0,
        "not_readable": 0,
    }
    (file,) = printed["files"]
    (pickle,) = file["pickles"]
    assert file["refusal"] == {"error": "UnsafeError", "problem": "the pickle names posix.system"}
    assert pickle["findings"][0] == {
        "action": "calls",
        "name": "posix.system",
        "offset": 3,
        "called_at": 28,
        "call": "posix.system('ls')",
        "does": "runs a shell command",
        "reason": "the pickle names posix.system",
        "behind_fault": False,
        "text": "would call posix.system('ls'), which runs a shell command",
    }
    for part in (printed, printed["total"], file, file["refusal"], pickle, pickle["findings"][0], pickle["names"][0]):
        assert [key for key in part if f"`{key}`" not in documented] == []


def test_sarif_is_what_the_standard_asks_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules for each verdict, results at bytes of the file, notes of what could not be opened."""
    (folder / "with space.pt").write_bytes(HARM)
    (folder / "b.pkl").write_bytes(b"\x80\x02N.xx")
    code, output = scan(capsys, "--sarif", "./with space.pt", "b.pkl", "none")
    printed = json.loads(output)
    (run,) = printed["runs"]
    rules = run["tool"]["driver"]["rules"]
    locations = [result["locations"][0] for result in run["results"]]

    assert code == 1
    assert printed["version"] == "2.1.0"
    assert [rule["id"] for rule in rules] == ["unsafe", "malformed", "incomplete"]
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("unsafe", "error"),
        ("unsafe", "warning"),
        ("malformed", "error"),
    ]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert all(set(result) == {"ruleId", "ruleIndex", "level", "message", "locations"} for result in run["results"])
    place = locations[0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "with%20space.pt"}
    assert HARM[place["region"]["byteOffset"] :].startswith(b"cposix\nsystem\n")
    assert locations[0]["logicalLocations"] == [{"fullyQualifiedName": "a/data.pkl", "kind": "member"}]
    assert locations[2]["physicalLocation"]["region"] == {"byteOffset": 4, "byteLength": 1}
    assert run["invocations"][0]["executionSuccessful"] is False
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"] == {"text": "No such file or directory"}


def test_one_form_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON or SARIF; and there is something to scan."""
    assert main(["scan", "--json", "--sarif", "x"]) == 2
    assert "choose one" in capsys.readouterr().err
    assert main(["scan"]) == 2


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(folder: Path) -> None:
    """Escape codes in names of files, records and functions, and in arguments, are shown as text."""
    escape = "\x1b[2J"
    body = call(name(f"a{escape}", "b\r\u202e"), plain(escape))
    (folder / f"x{escape}[red].pt").write_bytes(zip_of({f"data{escape}.pkl": b"\x80\x02" + body + b"."}).getvalue())
    command = [sys.executable, "-m", "ptfile", "scan", "."]
    output = subprocess.run(command, capture_output=True, check=False).stdout.decode()
    assert "x\\x1b[2J[red].pt: unsafe" in output
    assert "would call a\\x1b[2J.b\\r\\u202e('\\x1b[2J')" in output
    assert not {"\x1b", "\r", "\u202e"} & set(output)


def test_a_terminal_gets_colour(folder: Path) -> None:
    """And the same words."""
    ptfile.save({"w": ptfile.zeros(3)}, folder / "[bold]a.pt")
    output = run_in_terminal(200, "scan", folder / "[bold]a.pt")
    assert "\x1b[32mclean" in output
    assert without_colour(output).splitlines() == [
        f"{folder}/[bold]a.pt: clean: 1 pickle; ptfile.load reads it",
        "",
        "1 file, 1 pickle: 1 clean",
    ]


def test_many_findings_are_cut_short(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people; programs get more of them, and the number of the rest."""
    (folder / "x.pkl").write_bytes(b"\x80\x02" + b"".join(b"cos\nsystem%d\n0" % n for n in range(1000)) + b"N.")
    lines = scan(capsys, "x.pkl")[1].splitlines()
    assert len(lines) == 24
    assert lines[21] == "  81 more lines: --json has all"
    printed: dict[str, Any] = json.loads(scan(capsys, "--json", "x.pkl")[1])
    assert len(printed["files"][0]["pickles"][0]["findings"]) == 100
    assert printed["files"][0]["pickles"][0]["more_findings"] == 900


def test_a_thousand_small_files_take_seconds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred a second is the least."""
    for number in range(1000):
        ptfile.save({"w": ptfile.zeros(3), "n": number}, folder / f"{number}.pt")
    start = time.process_time()
    code, output = scan(capsys, ".")
    assert time.process_time() - start < 10
    assert code == 0
    assert output.splitlines()[-1] == "1,000 files, 1,000 pickles: 1,000 clean"

"""`ptfile verify`: what it prints, and its exit codes."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main, progress, text
from tests.cli.test_ls import run, run_in_terminal


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.pt"
    ptfile.save({"model": {"weight": ptfile.arange(500), "bias": ptfile.zeros(3)}, "epoch": 3}, path)
    return path


@pytest.fixture
def damaged(whole: Path) -> Path:
    path = whole.with_name("damaged.pt")
    weight = ptfile.arange(500).numpy().tobytes()
    path.write_bytes(whole.read_bytes().replace(weight, weight[:-1] + b"\1"))
    return path


def test_a_whole_file_is_ok(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 0, and nothing on the standard error."""
    assert main(["verify", str(whole)]) == 0
    output = capsys.readouterr()
    assert output.out == f"{whole}: OK: zip format, {text.size(whole.stat().st_size)}, 8 records checked\n"
    assert output.err == ""


def test_a_damaged_file_is_told_by_the_names_of_its_tensors(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what to do; exit code 1."""
    assert main(["verify", str(damaged)]) == 1
    output = capsys.readouterr().out
    assert output.startswith(
        f"{damaged}: NOT OK: zip format, {text.size(damaged.stat().st_size)}\n  data/0: its checksum is "
    )
    assert "    tensors: model.weight\n" in output
    assert "ptfile repair" in output


def test_all_files_are_checked_though_one_is_damaged(
    whole: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that is not there, and the exit code tells that something was wrong."""
    assert main(["verify", str(damaged), str(whole.with_name("none.pt")), str(whole)]) == 1
    output = capsys.readouterr().out
    assert f"{whole}: OK" in output
    assert "none.pt: NOT CHECKED: No such file or directory" in output


def test_what_cannot_be_checked_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The legacy format has no checksums."""
    path = tmp_path / "old.pt"
    ptfile.save(ptfile.zeros(3), path, _use_new_zipfile_serialization=False)
    assert main(["verify", str(path)]) == 0
    assert "  not checked: the legacy format has no checksums" in capsys.readouterr().out


def test_a_pointer_says_what_it_points_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A git-lfs pointer: which object, how large, and what to do."""
    path = tmp_path / "model.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    assert main(["verify", str(path)]) == 1
    output = capsys.readouterr().out
    assert "git-lfs pointer" in output
    assert "the object sha256:4d7a of 12345 bytes" in output
    assert "git lfs pull" in output


def test_json_for_programs(whole: Path, damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list with an object for each file."""
    missing = str(whole.with_name("none.pt"))
    assert main(["verify", "--json", str(whole), str(damaged), missing]) == 1
    first, second, third = json.loads(capsys.readouterr().out)
    assert first == {
        "file": str(whole), "bytes": whole.stat().st_size, "format": "zip", "ok": True, "error": None, "records": 8,
        "damage": [], "unchecked": [], "advice": "", "can_be_repaired": False,
    }  # fmt: skip
    assert second["damage"][0]["tensors"] == ["model.weight"]
    assert second["can_be_repaired"] is True
    assert third == {"file": missing, "ok": False, "error": "No such file or directory"}


def test_many_names_are_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten of the tensors that share a damaged storage."""
    shared = ptfile.full((100,), 7.5)
    buffer = io.BytesIO()
    ptfile.save([shared] * 15, buffer)
    path = tmp_path / "x.pt"
    path.write_bytes(buffer.getvalue().replace(shared.numpy().tobytes(), bytes(400)))
    main(["verify", str(path)])
    assert "[9] and 5 more\n" in capsys.readouterr().out


def test_names_from_the_file_cannot_speak_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences in a name are shown, not obeyed."""
    buffer = io.BytesIO()
    ptfile.save({"a\x1b[2J": ptfile.full((100,), 7.5)}, buffer)
    path = tmp_path / "x.pt"
    path.write_bytes(buffer.getvalue().replace(ptfile.full((100,), 7.5).numpy().tobytes(), bytes(400)))
    main(["verify", str(path)])
    assert "\x1b" not in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_no_answer(whole: Path, damaged: Path) -> None:
    """Exit code 2, unless another file is damaged."""
    missing = str(whole.with_name("none.pt"))
    assert main(["verify", missing]) == 2
    assert main(["verify", missing, str(whole)]) == 2
    assert main(["verify", missing, str(damaged)]) == 1


@pytest.mark.parametrize("columns", [80, 160])
def test_sentences_are_wrapped_in_a_terminal(damaged: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """At words, and further in than they begin."""
    monkeypatch.chdir(damaged.parent)
    output = run_in_terminal(columns, "verify", damaged.name, exit_code=1)
    lines = output.splitlines()

    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()) == " ".join(run("verify", damaged.name).stdout.split())


class _Now(threading.Timer):
    """Does it at once, and not in another thread."""

    def start(self) -> None:
        self.function()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("is_terminal", "patience"), [(True, -1.0), (True, 100.0), (False, -1.0)])
def test_a_bar_is_shown_in_a_terminal_once_it_takes_long(
    is_terminal: bool, patience: float, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the standard error, and only there."""
    screen = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(progress, "PATIENCE", patience)
    monkeypatch.setattr(threading, "Timer", _Now if patience < 0 else threading.Timer)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["verify", str(whole)]) == 0
    assert bool(screen.getvalue()) is (is_terminal and patience < 0)

"""The command itself: starting it, and what it does without its extra."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main
from ptfile.cli.group import COMMANDS, group

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
from ptfile.cli import main
sys.exit(main({arguments!r}))
"""


def run_without(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in an interpreter in which a package is not installed."""
    script = BLOCKED.format(package=package, arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "x.pt"
    ptfile.save({"中": ptfile.zeros(1)}, path)
    return str(path)


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra_it_says_what_to_install(package: str, file: str) -> None:
    """One line that names the command to run, and exit code 2. (How wide a name is that is no ASCII, rich knows.)"""
    result = run_without(package, "ls", file)

    assert result.returncode == 2
    assert result.stderr == "ptfile: the command line needs two more packages: pip install 'ptfile[cli]'\n"


def test_json_needs_no_rich(file: str) -> None:
    """Programs get their JSON without the package that makes terminals pretty."""
    result = run_without("rich", "ls", "--json", file)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("{")


def test_a_missing_package_that_is_not_the_extras_is_not_hidden() -> None:
    """Any other broken installation shows itself."""
    result = run_without("isal", "ls", "model.pt")

    assert result.returncode == 1
    assert "No module named 'isal" in result.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`ptfile --version` prints the version of the package."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ptfile {version('ptfile')}\n"


def test_every_command_exists_and_helps(capsys: pytest.CaptureFixture[str]) -> None:
    """The table of commands and the modules agree, and each explains itself by the words of the table."""
    for name, summary in COMMANDS.items():
        assert main([name, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage: ptfile {name} ")
        assert summary.endswith(".")
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in COMMANDS)
    assert group.list_commands(None) == list(COMMANDS)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_commands_are_imported_only_when_they_run(arguments: list[str]) -> None:
    """Neither the version nor the list of commands imports a command or rich."""
    script = (
        f"import sys\nfrom ptfile.cli import main\nmain({arguments!r})\n"
        "print(sorted({m for m in sys.modules if m.startswith(('ptfile.cli.', 'rich'))}))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)

    assert result.stdout.splitlines()[-1] == "['ptfile.cli.group', 'ptfile.cli.printable']"

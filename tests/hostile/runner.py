"""Have files read in one way by a child process, which may die of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tests.hostile.sections import CASES

ROOT = Path(__file__).parents[2]


def write_files(folder: Path, names: Collection[str] = CASES) -> dict[str, int]:
    """The files of the cases, called by their numbers in the table. Returns their sizes in bytes."""
    sizes = {}
    for number, (name, case) in enumerate(CASES.items()):
        if name in names:
            sizes[name] = (folder / f"{number}.pt").write_bytes(case.build())
    return sizes


def run(names: Sequence[str], way: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What came of each case, by its name. A case that ends the child is told by `died`; the next has a new child."""
    reports: dict[str, dict[str, Any]] = {}
    while names:
        answers, last_words = _ask(names, way, folder)
        reports.update((answer["case"], answer) for answer in answers)
        names = names[len(answers) :]
        if names:
            reports[names[0]] = {"case": names[0], "died": last_words[-2000:]}
            names = names[1:]
    return reports


def _ask(names: Sequence[str], way: str, folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The answers up to the case that the child did not survive, and what it said on standard error."""
    command = [sys.executable, "-m", "tests.hostile.child", way, str(folder)]
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command,
        input="".join(f"{name}\n" for name in names),
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        env=environment,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.endswith("}")]
    return answers, f"exit code {done.returncode}\n{done.stderr}"

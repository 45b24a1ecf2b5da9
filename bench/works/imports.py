"""Starting Python and importing the library: what a command that is called often pays each time."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

from harness import Contestant, Context, Operation, Work

_PEAK = """
import sys
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):
        print(int(line.split()[1]) * 1024)
"""


def python(context: Context, *arguments: str) -> str:
    """What a new Python prints."""
    # Python keeps what it compiles, as it does for users: else ptfile alone, run from its sources, begins as text.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=context.folder, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


class Import(Contestant):
    def __init__(self, statement: str, context: Context) -> None:
        self._context = context
        self._statement = statement

    def run(self) -> None:
        python(self._context, "-c", self._statement)

    def peak(self) -> int | None:
        """All the memory of the process, Python's own included."""
        return int(python(self._context, "-c", self._statement + _PEAK)) if sys.platform == "linux" else None


WORK = Work(
    name="imports",
    title="python -c 'import …'",
    quick_title="python -c 'import …'",
    operations=(
        Operation(
            "import",
            {
                "ptfile": partial(Import, "import ptfile"),
                "torch": partial(Import, "import torch"),
                "numpy": partial(Import, "import numpy"),
                "no import": partial(Import, "pass"),
            },
        ),
    ),
    quick_rounds=1,
)

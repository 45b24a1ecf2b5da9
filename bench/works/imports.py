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


class Import(Contestant):
    def __init__(self, statement: str, context: Context) -> None:
        self._folder = context.folder
        self._statement = statement

    def run(self) -> None:
        self._python(self._statement)

    def peak(self) -> int | None:
        """All the memory of the process, Python's own included."""
        return int(self._python(self._statement + _PEAK)) if sys.platform == "linux" else None

    def _python(self, program: str) -> str:
        command = [sys.executable, "-c", program]
        # Python keeps what it compiles, as it does for users: else ptfile alone, run from its sources, begins as text.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return subprocess.run(command, cwd=self._folder, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


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
)

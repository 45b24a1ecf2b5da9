"""Starting Python and importing the library: what a command that is called often pays each time.

What a library imports when it is first used is in the second of the two: there it loads a small file as well.
"""

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


class ImportAndLoad(Import):
    def __init__(self, name: str, context: Context) -> None:
        path = str(context.folder / "small.pt")
        python(context, "-c", f"import ptfile; ptfile.save(ptfile.arange(5), {path!r})")
        super().__init__(f"import {name}; {name}.load({path!r})", context)


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
        Operation("import, load 5 ints", {name: partial(ImportAndLoad, name) for name in ("ptfile", "torch")}),
    ),
    quick_rounds=1,
)

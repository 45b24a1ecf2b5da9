"""The `ptfile` command: one file for each subcommand, imported when it is used.

Exit codes: 0 done, 1 the file or the system is at fault, 2 the command line is (or what it needs is not installed).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_NEEDED = ("click", "rich")
MISSING = "ptfile: the command line needs two more packages: pip install 'ptfile[cli]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, without its first word; None stands for the one that this process was started with.

    Returns the exit code.
    """
    # A name with a character that the terminal's encoding lacks is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        from ptfile.cli.group import group

        group.main(arguments, prog_name="ptfile")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        print(MISSING, file=sys.stderr)  # noqa: T201
        return 2
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)

"""The `ptfile` command: one file for each subcommand, imported when it is used.

Exit codes of the commands that answer a question (diff, scan, verify): 0 the answer is good (the same, clean, whole),
1 it is not, 2 there is none, because a file could not be read. Of all others: 0 done, 1 not done, because of the file
or the system. Of all: 2 the command line is wrong, or what it needs is not installed; 130 it was interrupted by Ctrl-C;
141 whoever read its output has gone, as `head` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_NEEDED = ("click", "rich")
MISSING = "ptfile: the command line needs two more packages: pip install 'ptfile[cli]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, without its first word; None stands for the one that this process was started with.

    Returns the exit code.
    """
    if sys.stdout is None or sys.stderr is None:  # `ptfile ls x.pt >&-`
        nowhere = open(os.devnull, "w")  # noqa: PTH123, SIM115  (for as long as the process lasts)
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
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
    except KeyboardInterrupt:  # while click is imported, or after a command has ended
        print("ptfile: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)

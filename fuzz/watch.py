"""Sees what Python is asked to do while an input is read: imports, code, files, processes, sockets."""

from __future__ import annotations

import encodings.cp437
import encodings.raw_unicode_escape
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import ml_dtypes
import numpy as np
from tests.everything import import_all

FORBIDDEN = (
    "import", "exec", "compile", "open", "code.__new__", "function.__new__", "pickle.find_class", "marshal.", "ctypes.",
    "os.", "pty.", "shutil.", "subprocess.", "socket.", "urllib.", "http.", "ftplib.", "tempfile.", "glob.", "sqlite3.",
)  # fmt: skip
"""Audit events, or how their names begin, that no file may cause."""

WARM = (encodings.cp437, encodings.raw_unicode_escape, unicodedata, ml_dtypes, np.ma)
"""What is imported when it is first needed, whatever the file."""
import_all()

_armed = False
_installed = False
_allowed: str | None = None
_seen: list[str] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _armed and event.startswith(FORBIDDEN) and not _is_harmless(event, arguments):
        _seen.append(f"{event} {arguments[:1]!r}"[:200])


def _is_harmless(event: str, arguments: tuple[object, ...]) -> bool:
    """The path that may be opened, what is open already, and text that is only parsed: numpy does so with headers."""
    if event == "compile":
        return arguments[1] == "<unknown>"
    return event == "open" and (arguments[0] == _allowed or type(arguments[0]) is int)


@contextmanager
def watching(path: str | None = None) -> Iterator[list[str]]:
    """A list that fills with the forbidden events that happen inside; opening `path` is not one.

    Audit hooks stay for the life of the process: this one does nothing outside.
    """
    global _armed, _installed, _allowed  # noqa: PLW0603  (a hook is process-wide anyway)
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _seen.clear()
    _allowed, _armed = path, True
    try:
        yield _seen
    finally:
        _armed, _allowed = False, None

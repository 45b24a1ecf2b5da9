"""The source for whatever a caller gives to load."""

from __future__ import annotations

import os

from ptfile._types import Path, Readable
from ptfile.errors import UnsupportedError
from ptfile.sources.base import Source
from ptfile.sources.file_object import FileObjectSource
from ptfile.sources.local import LocalSource
from ptfile.sources.mapped import MappedSource
from ptfile.sources.stream import StreamSource


def lasting_path(f: object) -> str | None:
    """What opens the same file from any folder; None for a file object, which is only here."""
    return os.path.abspath(os.fspath(f)) if isinstance(f, (str, os.PathLike)) else None  # noqa: PTH100  (no symlink resolved)


def open_source(f: Path | Readable, *, mmap: bool, may_stream: bool = False) -> Source:
    """The bytes of a path or a file object. Raises TypeError for anything else.

    may_stream: whether a file object that cannot seek will do; else it is an UnsupportedError.
    """
    if isinstance(f, (str, os.PathLike)):
        path = os.fspath(f)
        return MappedSource(path) if mmap else LocalSource(path)
    if mmap:
        message = "mmap=True maps a file by its path: give a path, not a file object"
        raise ValueError(message)
    wanted = ("read",) if may_stream else ("read", "seek", "tell")
    if not all(callable(getattr(f, name, None)) for name in wanted):
        message = f"f is a {type(f).__name__}: it must be a path, or a binary file object with {' and '.join(wanted)}"
        raise TypeError(message)
    try:
        return FileObjectSource(f)
    except UnsupportedError:
        if not may_stream:
            raise
        return StreamSource(f)

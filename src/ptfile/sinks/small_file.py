"""A small file put in the place of another in one go.

For a few tensors, what looks after a file that takes long to write costs more than writing it: a handle of the folder,
in case the way to it changes meanwhile, and an object that knows what is there to be cleaned up. Here nothing comes in
between but the system's own calls. Whatever is not as usual is left to `FileSink`, which also knows what to call it.
"""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH104, PTH108

from __future__ import annotations

import contextlib
import os
import stat
import time

from ptfile._types import Buffer
from ptfile.sinks.leftovers import temporary_name

SMALL = 64 << 10
"""Bytes of a file that are written in one call, so fast that nobody is kept waiting."""

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_HAS_ATTRIBUTES = hasattr(os, "listxattr")
"""Linux."""


def replace_small_file(path: str, content: Buffer) -> bool:
    """Put a file of this content in the place of what is at `path`: atomically, with the same owner and mode.

    Returns False, having changed nothing, if what is there is no plain file of our own, or if the system refuses
    anything at all.
    """
    folder, separator, base = path.rpartition(os.sep)
    if not _HAS_ATTRIBUTES or not base:
        return False
    # No random number: to ask the system for one takes a while, and a name that is taken is no harm here.
    temporary = f"{folder}{separator}{temporary_name(base, time.time_ns())}"
    try:
        old = _status(path)
        if old is not None and not _is_plain(path, old):
            return False
        file = os.open(temporary, _FLAGS, 0o666 if old is None else stat.S_IMODE(old.st_mode))
    except OSError:
        return False
    except BaseException:
        _remove(temporary)  # an interrupt can come right behind the call
        raise
    is_renamed = False
    try:
        try:
            # It is looked at before it has bytes that not everybody may read.
            is_written = (old is None or _are_alike(os.fstat(file), old)) and os.write(file, content) == len(content)
        finally:
            os.close(file)
        if is_written:
            os.rename(temporary, path)
            is_renamed = True
    except OSError:
        pass
    finally:
        if not is_renamed:
            _remove(temporary)
    return is_renamed


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _status(path: str) -> os.stat_result | None:
    """What is there; None for nothing. A link is what is there."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _is_plain(path: str, old: os.stat_result) -> bool:
    """Whether a new file of ours with its mode is all that it takes to be like this one."""
    is_ours = stat.S_ISREG(old.st_mode) and old.st_uid == os.geteuid() and bool(old.st_mode & stat.S_IWUSR)
    return is_ours and not os.listxattr(path)


def _are_alike(new: os.stat_result, old: os.stat_result) -> bool:
    """Whether owner, group and mode are the same."""
    return (new.st_uid, new.st_gid, new.st_mode) == (old.st_uid, old.st_gid, old.st_mode)

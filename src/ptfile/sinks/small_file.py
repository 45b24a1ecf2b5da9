"""A small file put in the place of another in one go.

For a few tensors, what looks after a file that takes long to write costs more than writing it: a handle of the folder,
in case the way to it changes meanwhile, and an object that knows what is there to be cleaned up. Here nothing comes in
between but the system's own calls. Whatever is not as usual is left to `FileSink`, which also knows what to call it.
"""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH105, PTH108

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
    made = _Temporary()
    try:
        old = _status(path)
        if old is not None and not _is_plain(path, old):
            return False
        # No random number: to ask the system for one takes a while, and a name that is taken is no harm here.
        made.path = temporary = f"{folder}{separator}{temporary_name(base, time.time_ns())}"
        made.file = os.open(temporary, _FLAGS, 0o666 if old is None else stat.S_IMODE(old.st_mode))
        # It is looked at before it has bytes that not everybody may read.
        if old is not None and not _are_alike(os.fstat(made.file), old):
            return False
        if os.write(made.file, content) != len(content):
            return False
        file, made.file = made.file, -1
        os.close(file)
        os.replace(temporary, path)
        made.path = ""
    except FileExistsError:
        made.path = ""  # it is somebody else's
        return False
    except OSError:
        return False
    finally:
        made.remove()
    return True


class _Temporary:
    """A file that is on its way: removed, whatever happens, unless it got there."""

    __slots__ = ("_process", "file", "path")

    def __init__(self) -> None:
        self.file = -1
        self.path = ""
        """Known before it is there: an interrupt can come right behind the call that makes it."""
        self._process = os.getpid()  # the last: from here on there may be something to remove

    def remove(self) -> None:
        """Twice is once."""
        file, self.file = self.file, -1
        if file >= 0:
            with contextlib.suppress(OSError):
                os.close(file)
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            self.path = ""

    def __del__(self) -> None:
        # An interrupt can come on the way into `remove`. A forked child leaves it to its parent.
        if getattr(self, "_process", None) == os.getpid() and (self.file >= 0 or self.path):
            self.remove()


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

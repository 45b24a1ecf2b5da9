"""The temporary files that saves write to: their names, and what is to be done with those that killed saves left."""

from __future__ import annotations

import contextlib
import os
import re
import stat

from ptfile.sinks.folder import Folder

NAME_MAX = 255
"""Bytes of a file name on every common file system (Windows and macOS count UTF-16 units, which are never more)."""
LOOKED_AT = 1000
"""Entries of a folder that are looked through, which takes a third of a millisecond; it may have a hundred thousand."""
STALE = 3600.0
"""Seconds without a write after which nobody is writing a file any more."""
_RANDOM = 4
"""Bytes."""
_MOST = (1 << 8 * _RANDOM) - 1


def temporary_name(base: str, number: int | None = None) -> str:
    """`.BASE.RANDOM.tmp`, with BASE cut so that the whole is a name a file system takes.

    number: what to make RANDOM of, instead of a random number.
    """
    random = os.urandom(_RANDOM).hex() if number is None else f"{number & _MOST:0{2 * _RANDOM}x}"
    return f".{_cut(base)}.{random}.tmp"


def sweep(folder: Folder, base: str, now: float, own: str | None) -> None:
    """Remove the temporaries that killed saves to the same name have left in a folder.

    Only what has just such a name, is a file, is our own, and was last written long ago by the clock of its file
    system. `now` is what that clock says: the time of a file that has just been made there, under the name `own` if it
    has one. There is no lock to ask whether a writer lives, since on network file systems, where such files are left,
    locks do not tell; should it live after all, its save fails, and nothing is lost but that.
    """
    pattern = re.compile(rf"\.{re.escape(_cut(base))}\.[0-9a-f]{{{2 * _RANDOM}}}\.tmp")
    with contextlib.suppress(OSError):  # a folder that may not be listed
        for name in folder.names(LOOKED_AT):
            if name != own and pattern.fullmatch(name):
                with contextlib.suppress(OSError):
                    if _is_stale(folder.lstat(name), now):
                        folder.unlink(name)


def _is_stale(file: os.stat_result, now: float) -> bool:
    mine = not hasattr(os, "geteuid") or file.st_uid == os.geteuid()
    return stat.S_ISREG(file.st_mode) and mine and now - file.st_mtime > STALE


def _cut(base: str) -> str:
    room = NAME_MAX - len("..") - 2 * _RANDOM - len(".tmp")
    while len(base) > room // 4 and len(os.fsencode(base)) > room:
        base = base[:-1]
    return base

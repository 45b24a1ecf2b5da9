"""Whether there is room for a file, before it is written and when it turned out that there was none."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

if sys.platform != "win32":
    import resource

_PLAIN = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs", "vfat", "exfat"})
"""File systems that store what they are given as it is: a byte takes a byte. On others (btrfs and ZFS compress, network
file systems may stand for any) a file can fit where there is less room than it has bytes, so they are not asked."""
_PAUSE = 1.0
"""Seconds. XFS frees in the background what has just been removed."""


def check_room(file: int, size: int) -> None:
    """Raise OSError if `size` bytes clearly cannot be written to an open, empty file: they are not, in that case.

    It never refuses what might fit. Where it cannot know, writing will tell.
    """
    limit = _limit()
    if limit is not None and size > limit:
        raise OSError(errno.EFBIG, explained(errno.EFBIG, file, size))
    if _is_short(file, size) and _file_system(os.fstat(file).st_dev) in _PLAIN:
        time.sleep(_PAUSE)
        if _is_short(file, size):
            raise OSError(errno.ENOSPC, explained(errno.ENOSPC, file, size))


def explained(number: int, file: int, size: int) -> str:
    """What the system says for an errno; for those about space also how much is needed, and how much there is.

    `file` is open, and may have taken some of the space itself; `size` is what all of it needs, in bytes.
    """
    text = os.strerror(number)
    if number not in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None)):
        return text
    text += f": it needs {size:,} bytes"
    free = _free(file, for_all=False) if number == errno.ENOSPC else None
    limit = _limit() if number == errno.EFBIG else None
    if free is not None:
        text += f", and {free:,} are free"
    if limit is not None:
        text += f", and this process may write {limit:,} (ulimit -f)"
    return text


def _is_short(file: int, size: int) -> bool:
    free = _free(file, for_all=True)
    return free is not None and free < size


def _free(file: int, *, for_all: bool) -> int | None:
    """The bytes that a file has or could get; None where the system does not say.

    `for_all`: with what is set aside for root, who is not always told by the user's number.
    """
    try:
        system, own = os.fstatvfs(file), os.fstat(file)
    except (AttributeError, OSError):
        return None
    if not system.f_blocks:  # a tmpfs without a limit, or a file system that does not count
        return None
    blocks = system.f_bfree if for_all else system.f_bavail
    return blocks * system.f_frsize + own.st_blocks * 512


def _limit() -> int | None:
    """The bytes that this process may write to one file, if there is a limit (`ulimit -f`)."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if soft == resource.RLIM_INFINITY else soft


def _file_system(device: int) -> str | None:
    """The kind of file system that a device has, if the system tells."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return None
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        mount, _, rest = line.partition(" - ")  # proc(5)
        if mount.split(" ")[2:3] == [number]:
            return rest.partition(" ")[0]
    return None

"""A folder in which one file takes the place of another."""

# pathlib knows no folders by handle.
# ruff: noqa: PTH118

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from itertools import islice

_HAS_HANDLES = {os.open, os.rename, os.unlink} <= os.supports_dir_fd
"""Not so on Windows."""
_FLAGS = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_LOOK_UP_ONLY = getattr(os, "O_PATH", os.O_RDONLY)
"""Enough to name files by, and needs no permission to read the folder; fsync wants more."""
_NAMELESS = getattr(os, "O_TMPFILE", 0)


class Folder:
    """A folder, and the files in it by their names.

    It is held by a handle where the system has such: a symlink that leads to it may be turned to another folder while
    a large file is being written, and the program may change its working directory.
    """

    __slots__ = ("_handle", "_prefix")

    def __init__(self, path: str, *, fsync: bool) -> None:
        """`fsync`: whether that method will be called; the system may not let us then. Raises OSError."""
        self._handle: int | None = None
        self._prefix = ""
        if _HAS_HANDLES:
            self._handle = os.open(path or os.curdir, _FLAGS | (os.O_RDONLY if fsync else _LOOK_UP_ONLY))
        else:
            self._prefix = os.path.join(os.path.realpath(path), "")

    def open(self, name: str, flags: int, mode: int) -> int:
        return os.open(self._prefix + name, flags, mode, dir_fd=self._handle)

    def open_nameless(self, mode: int) -> int | None:
        """A new file for writing that has no name yet and is gone if it never gets one; None if there is no such thing.

        Local file systems of Linux have it, network file systems mostly not.
        """
        if self._handle is None or not _NAMELESS:
            return None
        try:
            return os.open(os.curdir, _NAMELESS | os.O_RDWR | os.O_CLOEXEC, mode, dir_fd=self._handle)
        except OSError:
            return None

    def link(self, file: int, name: str) -> None:
        """Give an open file without a name one."""
        # With a handle of a folder, Python follows the link to the file (linkat with AT_SYMLINK_FOLLOW).
        os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=self._handle)

    def names(self, most: int) -> Iterator[str]:
        """Names of what is in it, in no order, and not more of them than `most`."""
        if self._handle is None:
            with os.scandir(self._prefix) as entries:
                yield from (entry.name for entry in islice(entries, most))
            return
        handle = os.open(os.curdir, _FLAGS | os.O_RDONLY, dir_fd=self._handle)  # ours may be good for looking up only
        try:
            with os.scandir(handle) as entries:
                yield from (entry.name for entry in islice(entries, most))
        finally:
            os.close(handle)

    def lstat(self, name: str) -> os.stat_result:
        return os.lstat(self._prefix + name, dir_fd=self._handle)

    def replace(self, name: str, target: str) -> None:
        """Give a file the name of another, or of none, in one step."""
        os.replace(self._prefix + name, self._prefix + target, src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def unlink(self, name: str) -> None:
        os.unlink(self._prefix + name, dir_fd=self._handle)

    def fsync(self) -> None:
        """Make a rename durable. Windows has no way to and needs none on NTFS."""
        if self._handle is None:
            return
        try:
            os.fsync(self._handle)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems have no such thing
                raise

    def close(self) -> None:
        """Give the handle back. Closing twice is fine."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(OSError):  # nothing was written through it
                os.close(handle)

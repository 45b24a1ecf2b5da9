"""A file on this machine as a sink: the old file stays whole until the new one is, and takes its name.

A training run is killed in the middle of a save more often than at any other time, since it is saving whenever it is
told to stop. A file written in place would then be neither the old checkpoint nor the new one.
"""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH100, PTH116, PTH118, PTH120

from __future__ import annotations

import contextlib
import errno
import os
import stat
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from ptfile._types import Buffer, Path
from ptfile.sinks.base import write_zeros
from ptfile.sinks.folder import Folder

if TYPE_CHECKING:
    from typing_extensions import Self

NAME_MAX = 255
"""Bytes of a file name on every common file system (Windows and macOS count UTF-16 units, which are never more)."""
WRITE_MAX = 1 << 30
"""Bytes offered to the system in one call; Linux takes at most 0x7ffff000, macOS refuses 2 GiB and more."""

_FLAGS = os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_SEPARATORS = (os.sep, os.altsep or os.sep)


class FileSink:
    """A path to save to.

    A regular or new file is written under a temporary name in the same folder and renamed over the target at commit;
    a symlink stays and its target is replaced; mode, and owner and extended attributes where allowed, are kept. At
    abort the temporary is removed. What is no regular file (a FIFO, a terminal, /dev/stdout) is written straight
    through. With `fsync` the new file and its name are on the disk when the block has been left.

    Every OSError carries the path as it was given here.
    """

    __slots__ = ("_base", "_file", "_folder", "_fsync", "_temporary", "name")

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self.name = os.fspath(path)
        self._fsync = fsync
        self._file = -1
        self._folder: Folder | None = None
        self._base = ""
        self._temporary: str | None = None

    def __enter__(self) -> Self:
        try:
            self._open()
        except OSError as error:
            self._abort()
            self._raise(error)
        except BaseException:
            self._abort()
            raise
        return self

    def write(self, data: Buffer) -> None:
        """Write all of it. Raises OSError (disk full, quota, broken pipe)."""
        rest = memoryview(data).cast("B")
        while rest.nbytes:
            try:
                written = os.write(self._file, rest[:WRITE_MAX])
            except OSError as error:
                self._raise(error)
            if written == 0:
                raise OSError(errno.EIO, "the system took no bytes", self.name)
            rest = rest[written:]

    @property
    def unfinished(self) -> str | None:
        """The path of what has been written so far; None if it cannot be read, as from a pipe or a terminal."""
        if self._temporary is None:
            return None
        folder = os.path.dirname(os.path.realpath(self.name))
        return os.path.join(folder, self._temporary)

    def skip(self, length: int) -> None:
        """Leave a hole, which takes no space on the disk; zeros where the file cannot have one."""
        if self._temporary is None:
            write_zeros(self, length)
        else:
            os.lseek(self._file, length, os.SEEK_CUR)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            self._commit()
        except OSError as failure:
            self._abort()
            self._raise(failure)
        except BaseException:
            self._abort()
            raise

    def _open(self) -> None:
        target = self.name
        try:
            old = os.lstat(target)
            is_link = stat.S_ISLNK(old.st_mode)
            if is_link:
                target = os.path.realpath(target)
                old = os.stat(self.name)
        except FileNotFoundError:
            old = None
        if (old is not None and stat.S_ISDIR(old.st_mode)) or target.endswith(_SEPARATORS):
            # A trailing slash means a folder, also where there is none yet.
            raise _error(errno.EISDIR, self.name)
        if not self.name:
            raise _error(errno.ENOENT, self.name)
        if old is not None and (not stat.S_ISREG(old.st_mode) or (is_link and _is_open_file(self.name))):
            self._file = os.open(self.name, _FLAGS | os.O_TRUNC)
        else:
            self._open_temporary(target, old)

    def _open_temporary(self, target: str, old: os.stat_result | None) -> None:
        if old is not None and not os.access(target, os.W_OK):
            # Renaming needs the folder's permission only, but who made a file read-only meant it.
            raise _error(errno.EACCES, self.name)
        # As private as the old file while it is being written; a new one is the umask's business.
        mode = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o600
        folder, self._base = os.path.split(target)
        self._folder = Folder(folder, fsync=self._fsync)
        for _ in range(100):
            temporary = temporary_name(self._base, os.urandom(4).hex())
            self._temporary = temporary  # known before it is there: an interrupt can come right behind the call
            try:
                self._file = self._folder.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                self._temporary = None
                continue
            break
        else:
            raise FileExistsError(errno.EEXIST, "no free name for a temporary file", self.name)
        if old is not None:
            _keep_attributes(target, old, self._file)

    def _commit(self) -> None:
        if self._fsync and (self._temporary is not None or _can_sync(self._file)):
            os.fsync(self._file)
        self._close()
        if self._folder is None or self._temporary is None:
            return
        self._folder.replace(self._temporary, self._base)
        self._temporary = None
        if self._fsync:
            self._folder.fsync()
        self._folder.close()

    def _abort(self) -> None:
        # The exception on its way is the one to see; what fails while cleaning up would only hide it.
        with contextlib.suppress(OSError):
            self._close()
        if self._folder is None:
            return
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            with contextlib.suppress(OSError):
                self._folder.unlink(temporary)
        self._folder.close()

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _raise(self, error: OSError) -> NoReturn:
        """Raise an error with the user's path in place of the temporary's or of none."""
        if error.errno is None or (error.filename == self.name and error.filename2 is None):
            raise error
        raise OSError(error.errno, error.strerror, self.name) from error


def _error(number: int, path: str) -> OSError:
    """What the system would raise: Python picks the subclass by the number."""
    return OSError(number, os.strerror(number), path)


def temporary_name(base: str, random: str) -> str:
    """`.BASE.RANDOM.tmp`, with BASE cut so that the whole is a name a file system takes."""
    room = NAME_MAX - len(f"..{random}.tmp")
    while len(base) > room // 4 and len(os.fsencode(base)) > room:
        base = base[:-1]
    return f".{base}.{random}.tmp"


def _is_open_file(link: str) -> bool:
    """Whether a symlink stands for a file that this process has open (/dev/stdout, /proc/self/fd/1).

    Replacing what that is redirected to would leave the open file without its bytes.
    """
    folder = os.path.dirname(os.path.abspath(link))
    return folder == "/dev" or folder.startswith(("/dev/fd", "/proc/"))


def _keep_attributes(path: str, old: os.stat_result, file: int) -> None:
    """Give the new file the old one's owner, mode and extended attributes, as far as the system lets us."""
    # Owner first: changing it clears the set-user-ID bits of the mode.
    if hasattr(os, "fchown"):
        new = os.fstat(file)
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            try:
                os.fchown(file, old.st_uid, old.st_gid)
            except OSError:
                with contextlib.suppress(OSError):
                    os.fchown(file, -1, old.st_gid)
    if hasattr(os, "listxattr"):
        try:
            keys = os.listxattr(path)
        except OSError:
            keys = []
        for key in keys:
            with contextlib.suppress(OSError):
                os.setxattr(file, key, os.getxattr(path, key))
    if hasattr(os, "fchmod"):
        os.fchmod(file, stat.S_IMODE(old.st_mode))


def _can_sync(file: int) -> bool:
    """Whether fsync means anything for an open file that is written straight through."""
    mode = os.fstat(file).st_mode
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)

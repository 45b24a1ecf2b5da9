"""A file on this machine as a sink: the old file stays whole until the new one is, and takes its name.

A training run is killed in the middle of a save more often than at any other time, since it is saving whenever it is
told to stop. A file written in place would then be neither the old checkpoint nor the new one.
"""

# pathlib loses what matters here: "models/" and "" are not the paths that it makes of them.
# ruff: noqa: PTH100, PTH110, PTH116, PTH118, PTH120

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from ptfile._types import Buffer, Path
from ptfile.sinks.base import CopyingSink, can_sync, write_zeros
from ptfile.sinks.copying import copy_some
from ptfile.sinks.folder import Folder
from ptfile.sinks.leftovers import sweep, temporary_name
from ptfile.sinks.small_file import replace_small_file
from ptfile.sinks.space import check_room, explained
from ptfile.sinks.write_back import WriteBack

if TYPE_CHECKING:
    from typing_extensions import Self

LARGE = 16 << 20
"""Bytes from which writing takes so long that looking around first costs nothing beside it."""
WRITE_MAX = 1 << 30
"""Bytes offered to the system in one call; Linux takes at most 0x7ffff000, macOS refuses 2 GiB and more."""
_SMALL_PAGES = 32 << 10
"""Linux keeps the bytes of a call in pages as large as the call. Up to these (PAGE_ALLOC_COSTLY_ORDER) it has some at
hand that were used a moment ago. Larger ones make a third less work, but may be memory that nobody has used for long:
the host of a virtual machine has to find it first, which costs several times what the copy does."""

COPY_MAX = 64 << 20
"""Bytes that the system is asked to copy in one call, which nothing interrupts."""

_FLAGS = os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_SEPARATORS = (os.sep, os.altsep or os.sep)


class FileSink(CopyingSink):
    """A path to save to.

    A regular or new file is written under a temporary name in the same folder and renamed over the target at commit;
    a symlink stays and its target is replaced; mode, and owner and extended attributes where allowed, are kept. At
    abort the temporary is removed. A large one gets its name only at commit, where the system can do that: nothing is
    left of it if the process is killed before. What is no regular file (a FIFO, a terminal, /dev/stdout) is written
    straight through. With `fsync` the new file and its name are on the disk when the block has been left.

    Every OSError carries the path as it was given here.
    """

    _file = -1
    _process: int | None = None
    """Where there may be something to clean up."""
    _folder: Folder | None = None
    _base = ""
    _temporary: str | None = None
    _old: os.stat_result | None = None
    _expected: int | None = None
    _write_back: WriteBack | None = None
    _position = 0

    def __init__(self, path: Path, *, fsync: bool = False, small_pages: bool = False) -> None:
        """small_pages: take memory as a plain copy does, for a file that comes once and has nobody's memory ready."""
        self._step = _SMALL_PAGES if small_pages else WRITE_MAX
        self.name = os.fspath(path)
        self._fsync = fsync

    def put(self, content: Buffer) -> None:
        """Write a small file, all at once, instead of entering this. Raises OSError."""
        if self._fsync or not replace_small_file(self.name, content):
            with self:
                self.expect(len(content))
                self.write(content)

    def __enter__(self) -> Self:
        self._process = os.getpid()
        try:
            self._open()
        except OSError as error:
            self._abort()
            raise self._named(error) from error
        except BaseException:
            self._abort()
            raise
        return self

    def expect(self, size: int) -> None:
        """Be told how many bytes will be written. Raises OSError if there is clearly no room for them."""
        self._expected = size
        if self._folder is None or not (self._fsync or size >= LARGE):
            return
        try:
            if size >= LARGE:
                self._go_nameless(self._folder)
            sweep(self._folder, self._base, os.fstat(self._file).st_mtime, self._temporary)
            if size >= LARGE:
                check_room(self._file, size)
            if size >= LARGE and self._fsync:
                self._write_back = WriteBack(self._file, size)
        except OSError as error:
            raise self._named(error) from error

    def write(self, data: Buffer) -> None:
        """Write all of it. Raises OSError (disk full, quota, broken pipe)."""
        rest = memoryview(data).cast("B")
        while rest.nbytes:
            try:
                written = os.write(self._file, rest[: self._step - self._position % self._step])
            except OSError as error:
                raise self._named(error) from error
            if written == 0:
                raise OSError(errno.EIO, "the system took no bytes", self.name)
            self._moved(written)
            rest = rest[written:]

    def copy_from(self, file: int, offset: int, length: int, advance: Callable[[int], None]) -> None:
        """Have the system copy bytes from file to file; read and write them where it cannot."""
        done = 0
        while done < length:
            try:
                copied = copy_some(file, self._file, offset + done, min(length - done, COPY_MAX))
            except OSError as error:
                raise self._named(error) from error
            if not copied:
                raise EOFError
            self._moved(copied)
            done += copied
            advance(copied)

    @property
    def unfinished(self) -> str | None:
        """The path of what has been written so far; None if it cannot be read, as from a pipe or a terminal."""
        if self._folder is None:
            return None
        if self._temporary is not None:
            return os.path.join(os.path.dirname(os.path.realpath(self.name)), self._temporary)
        path = f"/proc/self/fd/{self._file}"
        return path if os.path.exists(path) else None

    def skip(self, length: int) -> None:
        """Leave a hole, which takes no space on the disk; zeros where the file cannot have one."""
        if self._folder is None:
            write_zeros(self, length)
        else:
            os.lseek(self._file, length, os.SEEK_CUR)
            self._moved(length)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            self._commit()
        except OSError as failure:
            named = self._named(failure)
            self._abort()
            raise named from failure
        except BaseException:
            self._abort()
            raise

    def __del__(self) -> None:
        # An interrupt can come on the way into `__exit__` or inside `_abort`. A forked child leaves it to its parent.
        if (self._file >= 0 or self._temporary is not None) and self._process == os.getpid():
            self._abort()

    def _moved(self, length: int) -> None:
        self._position += length
        if self._write_back is not None:
            self._write_back.follow(length)

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
        self._old = old
        folder, self._base = os.path.split(target)
        self._folder = Folder(folder, fsync=self._fsync)
        self._file = self._open_named(self._folder)
        self._keep_attributes(target)

    def _open_named(self, folder: Folder) -> int:
        """A new file under a temporary name."""
        for _ in range(100):
            temporary = temporary_name(self._base)
            self._temporary = temporary  # known before it is there: an interrupt can come right behind the call
            try:
                return folder.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, self._mode)
            except FileExistsError:
                self._temporary = None
        raise FileExistsError(errno.EEXIST, "no free name for a temporary file", self.name)

    @property
    def _mode(self) -> int:
        """As private as the old file while it is being written; a new one is the umask's business."""
        return 0o666 if self._old is None else stat.S_IMODE(self._old.st_mode) & 0o600

    def _go_nameless(self, folder: Folder) -> None:
        """Write to a file without a name, where the system has such."""
        nameless = folder.open_nameless(self._mode)
        if nameless is None:
            return
        named, self._file = self._file, nameless
        try:
            self._keep_attributes(named)
        finally:
            os.close(named)
        if self._temporary is not None:
            folder.unlink(self._temporary)
            self._temporary = None

    def _keep_attributes(self, source: str | int) -> None:
        if self._old is not None:
            _keep_attributes(source, self._old, self._file)

    def _commit(self) -> None:
        if self._folder is None:
            if self._fsync and can_sync(self._file):
                os.fsync(self._file)
            self._close()
            return
        if self._fsync:
            os.fsync(self._file)
        if self._temporary is None:
            self._give_name(self._folder)
        self._close()
        assert self._temporary is not None
        self._folder.replace(self._temporary, self._base)
        self._temporary = None
        if self._fsync:
            self._folder.fsync()
        self._folder.close()

    def _give_name(self, folder: Folder) -> None:
        """Make a nameless file a named one, or write it to one where that is forbidden (or /proc is not there)."""
        self._temporary = temporary_name(self._base)
        try:
            folder.link(self._file, self._temporary)
        except OSError:
            self._unlink(folder)  # the link may be there all the same
            nameless, self._file = self._file, self._open_named(folder)
            try:
                _copy(nameless, self._file)
                self._keep_attributes(nameless)
            finally:
                os.close(nameless)
        if self._fsync:
            os.fsync(self._file)  # btrfs passes over what has no name, since a crash would remove it anyway

    def _abort(self) -> None:
        # The exception on its way is the one to see; what fails while cleaning up would only hide it.
        with contextlib.suppress(OSError):
            self._close()
        if self._folder is not None:
            self._unlink(self._folder)
            self._folder.close()

    def _unlink(self, folder: Folder) -> None:
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                folder.unlink(self._temporary)
            self._temporary = None

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _named(self, error: OSError) -> OSError:
        """The error with the user's path in place of the temporary's or of none; with figures if it is about space."""
        if error.errno is None or (error.filename == self.name and error.filename2 is None):
            return error
        text = error.strerror
        if self._folder is not None and self._expected is not None and text == os.strerror(error.errno):
            text = explained(error.errno, self._file, self._expected)
        return OSError(error.errno, text, self.name)


def _error(number: int, path: str) -> OSError:
    """What the system would raise: Python picks the subclass by the number."""
    return OSError(number, os.strerror(number), path)


def _is_open_file(link: str) -> bool:
    """Whether a symlink stands for a file that this process has open (/dev/stdout, /proc/self/fd/1).

    Replacing what that is redirected to would leave the open file without its bytes.
    """
    folder = os.path.dirname(os.path.abspath(link))
    return folder == "/dev" or folder.startswith(("/dev/fd", "/proc/"))


def _keep_attributes(source: str | int, old: os.stat_result, file: int) -> None:
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
            keys = os.listxattr(source)
        except OSError:
            keys = []
        for key in keys:
            with contextlib.suppress(OSError):
                os.setxattr(file, key, os.getxattr(source, key))
    if hasattr(os, "fchmod"):
        os.fchmod(file, stat.S_IMODE(old.st_mode))


def _copy(source: int, target: int) -> None:
    """All that one open file has, to another, inside the system."""
    done, size = 0, os.fstat(source).st_size
    while done < size:
        copied = os.sendfile(target, source, done, size - done)
        if not copied:
            raise OSError(errno.EIO, "the system copied no bytes")
        done += copied

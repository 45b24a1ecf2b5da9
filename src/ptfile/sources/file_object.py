"""A seekable binary file object as a source."""

from __future__ import annotations

import errno
import io
import os
import threading
from typing import cast

from ptfile._types import Readable
from ptfile.errors import UnsupportedError
from ptfile.sources.base import Closing, check_range, closed_error, cut_off
from ptfile.sources.local import READ_MAX


class FileObjectSource(Closing):
    """A file object from where it stands to its end: byte 0 of the source is `file.tell()` when this is made.

    The file's position is put back after the size is measured, and is wherever the last read left it later on. The
    file is the caller's: closing the source doesn't close it.
    """

    __slots__ = ("_file", "_is_closed", "_lock", "_start", "name", "size")

    def __init__(self, file: Readable) -> None:
        """Measure it. Raises UnsupportedError if it cannot seek, TypeError if it is a text file."""
        if isinstance(cast("object", file), io.TextIOBase):
            raise TypeError(f"{name_of(file)} is open as text: open it with mode 'rb'")
        self._file = file
        self._lock = threading.Lock()
        self._is_closed = False
        self.name = name_of(file)
        try:
            self._start = file.tell()
            end = file.seek(0, os.SEEK_END)
            # Some file-likes answer None to seek, as Python 2's did.
            self.size = max(0, (file.tell() if end is None else end) - self._start)
            file.seek(self._start)
        except (AttributeError, OSError) as error:
            if (
                isinstance(error, OSError)
                and not isinstance(error, io.UnsupportedOperation)
                and error.errno != errno.ESPIPE
            ):
                raise
            raise UnsupportedError(
                "the file object cannot seek",
                fix="Read it into memory first: load(io.BytesIO(file.read()))",
                file=self.name,
            ) from error

    def read(self, offset: int, length: int) -> memoryview:
        check_range(self.name, self.size, offset, length)
        target = memoryview(bytearray(length))
        self.read_into(offset, target)
        return target.toreadonly()

    def read_into(self, offset: int, target: memoryview) -> None:
        length = target.nbytes
        check_range(self.name, self.size, offset, length)
        with self._lock:
            if self._is_closed:
                raise closed_error(self.name)
            self._file.seek(self._start + offset)
            done = 0
            while done < length:
                got = self._read_some(target[done : done + READ_MAX])
                if got == 0:
                    raise cut_off(self.name, offset + done, offset + length)
                done += got

    def close(self) -> None:
        self._is_closed = True

    def leave_at(self, offset: int) -> None:
        """Put the file's own position at an offset of the source, for whoever reads on behind the checkpoint."""
        with self._lock:
            self._file.seek(self._start + offset)

    def _read_some(self, target: memoryview) -> int:
        """The number of bytes put into `target`, from the file's position; 0 at its end."""
        readinto = getattr(self._file, "readinto", None)
        if readinto is not None:
            try:
                got = readinto(target)
            except (io.UnsupportedOperation, NotImplementedError):
                pass  # `io.RawIOBase` gives every subclass the name, not the deed
            else:
                return count_of(self.name, got, target.nbytes)
        # None where a raw file is in non-blocking mode, whatever the annotation says.
        data = cast("bytes | None", self._file.read(target.nbytes))
        if data is None:
            return count_of(self.name, None, 0)
        count = count_of(self.name, memoryview(data).nbytes, target.nbytes)
        target[:count] = data
        return count


def count_of(name: str, got: object, most: int) -> int:
    """How many bytes a file object says it has read. Raises OSError for None, and for what cannot be."""
    if got is None:
        raise BlockingIOError(f"{name}: the file object is in non-blocking mode and has no bytes now")
    if not isinstance(got, int) or not 0 <= got <= most:
        raise OSError(f"{name}: asked for {most} bytes, the file object gave {got!r}")
    return got


def name_of(file: object) -> str:
    """A file object's own name, if it is text, or else its class's."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name else type(file).__name__

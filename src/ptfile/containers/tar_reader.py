"""Members of a tar file: where in the source each one's bytes are. Nothing is extracted.

PyTorch up to 0.1 wrote checkpoints as tar files; nothing else here has to do with tar, so Python's own module reads it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ptfile.errors import FormatError, LimitError, PtfileError
from ptfile.limits import Limits
from ptfile.sources import Source
from ptfile.sources.read_ahead import near

_PLAIN_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_LARGEST_HEADER = 512
"""Bytes of an extended header. PyTorch's tar files say in one of 30 bytes when a member was written."""
_SURPRISES = (tarfile.TarError, ValueError, LookupError, ArithmeticError, EOFError, RecursionError, TypeError)
"""What `tarfile` raises for headers that lie."""


@dataclass(frozen=True, slots=True)
class Member:
    """A run of bytes with a name."""

    name: str
    offset: int
    size: int


def read_members(source: Source, limits: Limits) -> Mapping[str, Member]:
    """All members by name.

    Raises FormatError for a damaged tar file, names that are there twice, and members that are no regular files or end
    behind the source; LimitError for too many.
    """
    found: dict[str, Member] = {}
    try:
        with tarfile.open(fileobj=AsFile(source), mode="r:", tarinfo=_Info) as tar:
            for info in tar:
                _add(found, _checked(info, source), source, limits)
    except PtfileError as error:
        error.file = source.name
        raise
    except _SURPRISES as error:
        raise FormatError(f"the tar file is damaged ({error})", file=source.name) from error
    return found


def list_files(source: Source, limits: Limits) -> Iterator[Member]:
    """The regular files of any tar file, one by one, also of one that is no checkpoint: folders and links are left out.

    Raises FormatError where it is damaged or cut off, LimitError for too many.
    """
    count = 0
    try:
        with tarfile.open(fileobj=AsFile(source), mode="r:", tarinfo=_Info) as tar:
            for info in tar:
                if info.type in _PLAIN_FILES:
                    yield _checked(info, source)
                    count += 1
                if count > limits.records:
                    problem = "too many members in a tar file"
                    raise LimitError(problem, limit="records", allowed=limits.records, actual=count)
    except PtfileError:
        raise
    except _SURPRISES as error:
        raise FormatError(f"the tar file is damaged ({error})", file=source.name) from error


def _add(found: dict[str, Member], member: Member, source: Source, limits: Limits) -> None:
    if member.name in found:
        raise FormatError(f"{member.name[:80]!r} is twice in the tar file", file=source.name)
    found[member.name] = member
    if len(found) > limits.records:
        problem = "too many members in a tar file"
        raise LimitError(problem, limit="records", allowed=limits.records, actual=len(found))


def _checked(info: tarfile.TarInfo, source: Source) -> Member:
    if info.type not in _PLAIN_FILES:
        raise FormatError(f"{info.name[:80]!r} in the tar file is no regular file", file=source.name)
    if info.size < 0 or info.offset_data + info.size > source.size:
        raise FormatError(
            f"{info.name[:80]!r} in the tar file ends behind it: the file is cut off",
            fix="Copy or download the file again",
            file=source.name,
        )
    return Member(info.name, info.offset_data, info.size)


class _Info(tarfile.TarInfo):
    """A header that is not parsed if it is large: before 3.12.6 and 3.11.10 Python takes quadratic time for it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Info:
        info = super().frombuf(buf, encoding, errors)
        if info.type not in _PLAIN_FILES and info.size > _LARGEST_HEADER:
            raise FormatError(f"a header of {info.size} bytes in the tar file, more than PyTorch ever wrote")
        return info


class AsFile(io.RawIOBase):
    """A source as the file object that Python's own modules want."""

    def __init__(self, source: Source) -> None:
        self._source = near(source)
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        # Not by way of `readinto`, for which Python sets memory aside first, however much a header asks for.
        rest = max(0, self._source.size - self._position)
        length = rest if size < 0 else min(size, rest)
        data = bytes(self._source.read(self._position, length)) if length else b""
        self._position += length
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("before the start")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

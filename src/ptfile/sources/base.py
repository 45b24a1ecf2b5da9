"""What a source is: bytes of a known size, read at any offset, and nothing about what they mean.

A source of another kind (an object store, a block cache) needs only these methods; the formats above ask for no more.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from ptfile._types import Buffer
from ptfile.errors import FormatError

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.11 has it in `typing`


class Source(Protocol):
    """Bytes in, random access. Reads may come from several threads at once and don't disturb each other."""

    @property
    def name(self) -> str:
        """What to call it in errors: the path, or the kind of object the bytes came from."""

    @property
    def size(self) -> int:
        """Bytes in all. Fixed when the source is made."""

    def read(self, offset: int, length: int) -> Buffer:
        """Exactly `length` bytes from `offset` on. Raises FormatError where the source ends before that."""

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill all of `target`, a writable view of bytes, from `offset` on. Raises FormatError as `read` does."""

    def close(self) -> None:
        """Give back what the source holds. Views that were handed out stay valid. Closing twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class ViewSource:
    """What a source is besides whose bytes are in memory already: those who can make use of that ask for it."""

    __slots__ = ()

    @property
    def is_mapped(self) -> bool:
        """Whether bytes come from a file when they are first looked at: to look at all for a checksum is too much."""
        return False

    def view(self, offset: int, length: int) -> memoryview:
        """The same bytes as `read`, without a copy, for as long as the view lives."""
        raise NotImplementedError

    def read_many(self, offsets: Sequence[int], length: int) -> bytes:
        """As many bytes from each of these places, one behind the other."""
        return b"".join([self.view(offset, length) for offset in offsets])


class ConcurrentSource:
    """What a source is besides that reads faster when several threads ask at once."""

    __slots__ = ()


class DistantSource:
    """What a source is besides where each read is a journey: those who know what they will read say so first."""

    __slots__ = ()

    def will_read(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch these runs of bytes (first, behind the last) at once; they are going to be read in rising order.

        No more than a hint: anything can be read, announced or not.
        """
        raise NotImplementedError


def announce(source: Source, ranges: Iterable[tuple[int, int]]) -> None:
    """Tell a source what will be read of it, if that is of use to it."""
    if isinstance(source, DistantSource):
        source.will_read(ranges)


class Closing:
    """A context manager that closes at the end, whatever happened."""

    __slots__ = ()

    def close(self) -> None:
        """Nothing to give back, unless a source says otherwise."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def closed_error(name: str) -> OSError:
    """The error for reading what has been closed."""
    return OSError(errno.EBADF, "the file is closed: read what you need of it before", name)


def check_range(name: str, size: int, offset: int, length: int) -> None:
    """Raise FormatError unless bytes `offset` to `offset + length` are inside a source of `size` bytes."""
    if offset < 0 or length < 0:
        raise FormatError(f"it points at byte {offset}, {length} bytes long, which cannot be", file=name)
    if offset + length > size:
        raise cut_off(name, size, offset + length)


class CutShortError(FormatError):
    """A source ends before what is wanted of it."""

    def __init__(self, problem: str, *, missing: int, **place: Any) -> None:
        super().__init__(problem, **place)
        self.missing = missing
        """How many bytes too few there are."""


def cut_off(name: str, size: int, needed: int) -> CutShortError:
    """The error for a source that has `size` bytes where `needed` are called for."""
    missing = needed - size
    return CutShortError(
        f"cut off at byte {size} of {needed}: {missing} bytes are missing",
        missing=missing,
        fix="Copy or download the file again",
        file=name,
    )

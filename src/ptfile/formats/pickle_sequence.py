"""Pickles that stand one behind the other, with raw bytes between them: what the formats before zip are made of.

Nothing in such a file says where a pickle ends; its opcodes do. So they are walked first, in a window that grows as
they need it: a file of ten gigabytes is not read to parse the megabyte at its start, and a stream gives no byte more
than the pickle has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias, cast

from ptfile.errors import FormatError, LimitError, PtfileError
from ptfile.limits import Limits
from ptfile.machine.decoder import find_end
from ptfile.machine.opcodes import CutOffError
from ptfile.machine.policy import Meaning, Policy
from ptfile.machine.vm import Machine
from ptfile.sources import Source, StreamSource
from ptfile.sources.base import cut_off

_FIRST_WINDOW = 4 << 10
_LARGEST_WINDOW = 1 << 20

Run: TypeAlias = Callable[[bytes], "tuple[Any, int]"]
"""Runs a pickle: returns its value and the position behind it."""


@dataclass(frozen=True, slots=True)
class CutPickle:
    """The bytes of one pickle. If it has no end, they are what there is of it, and `fault` says why."""

    data: bytes
    start: int
    """Where it stands in the part of the source that it was cut from."""
    rest: int
    """Bytes from there to the end of that part."""
    limits: Limits
    fault: PtfileError | None = None

    def run(self, run: Run) -> Any:
        """Its value. Errors tell their offset from the start of that part.

        A pickle without an end is run too: if it asks for what it must not before it breaks off, that is the error.
        """
        with _counted_from(self.start):
            try:
                value, _ = run(self.data)
            except CutOffError as error:
                raise self.fault or error from None
            except PtfileError:
                raise
            except Exception as error:  # of an unpickler that is not ours
                if self.fault is None:
                    raise
                raise self.fault from error
        if self.fault is not None:
            raise self.fault
        return value

    def plain(self, names: Mapping[tuple[str, str], Meaning] | None = None) -> Any:
        """Its value, where it holds only numbers, texts, containers and some names. Raises UnsafeError for others."""
        # A file can have any number of these, and each would have what is fixed in its limits. They share nothing.
        limits = replace(self.limits, shared=0)
        machine = Machine(Policy(names or {}, {}), _no_persistent_id, limits=limits)
        return self.run(machine.run)


def _no_persistent_id(_: object) -> NoReturn:
    raise FormatError("a persistent id outside of the object's own pickle")


@contextmanager
def _counted_from(start: int) -> Iterator[None]:
    try:
        yield
    except PtfileError as error:
        if error.offset is not None and error.file is None:
            error.offset += start
        raise


class PickleSequence:
    """A cursor over a part of a source."""

    def __init__(self, source: Source, limits: Limits, start: int = 0, end: int | None = None) -> None:
        self.position = start
        """Of the next byte in the source."""
        self._start = start
        self._source = source
        self._limits = limits
        self._end = source.size if end is None else end
        self._stream = source if isinstance(source, StreamSource) else None
        self._ahead = bytearray()  # of the source, from `position` on
        self._taken = 0  # how many of those bytes are off the stream

    @property
    def rest(self) -> int:
        """Bytes up to the end."""
        return self._end - self.position

    def next(self) -> CutPickle:
        """Cut out the pickle at the position, and go behind it. One that is broken is told by what runs it."""
        reached = 0
        fault: PtfileError | None = None
        while True:
            try:
                # A bytearray reads as bytes do, and grows in linear time.
                end = find_end(cast("bytes", self._ahead), reached)
                break
            except CutOffError as error:
                reached = error.offset or 0
                try:
                    self._fetch(error.needed)
                except PtfileError as no_more:
                    end, fault = len(self._ahead), no_more
                    break
            except FormatError as error:
                # Found again, with what comes before it, when the pickle is run.
                end, fault = len(self._ahead), error
                break
        start, rest = self.position, self.rest
        return CutPickle(self._consume(end), start - self._start, rest, self._limits, fault)

    def take(self, length: int) -> bytes:
        """The next bytes. Raises FormatError if there are not as many."""
        while len(self._ahead) < length:
            self._fetch(length)
        return self._consume(length)

    def skip(self, length: int) -> None:
        """Go on behind bytes that are not wanted now. Raises FormatError if there are not as many."""
        assert self._stream is None  # what has gone by on a stream is gone
        if length > self.rest:
            raise self._no_more(length)
        del self._ahead[:length]
        self.position += length

    def _consume(self, length: int) -> bytes:
        with memoryview(self._ahead) as ahead:
            data = bytes(ahead[:length])
        if self._stream is not None:
            self._take_off(length)
            self._taken = 0
        del self._ahead[:length]
        self.position += length
        return data

    def _fetch(self, needed: int | None) -> None:
        """Have more bytes: `needed` from the position on, or up to the next line break (None), or a part of that."""
        have = len(self._ahead)
        wanted = have + 1 if needed is None else needed
        if wanted > self._limits.pickle_size:
            allowed = self._limits.pickle_size
            raise LimitError("a pickle is too large", limit="pickle_size", allowed=allowed, actual=wanted)
        if wanted > self.rest:
            raise self._no_more(wanted)
        if self._stream is not None:
            self._fetch_from_stream(needed)
        else:
            window = min(max(wanted - have, have, _FIRST_WINDOW), max(wanted - have, _LARGEST_WINDOW), self.rest - have)
            self._ahead += self._source.read(self.position + have, window)

    def _fetch_from_stream(self, needed: int | None) -> None:
        """Take nothing off the stream that the pickle does not need, though look at what has arrived."""
        assert self._stream is not None
        self._take_off(len(self._ahead))
        arrived = self._stream.look()
        self._ahead += arrived
        if arrived:
            return
        self._read(1 if needed is None else needed - len(self._ahead))
        while needed is None and self._ahead[-1:] != b"\n" and len(self._ahead) <= self._limits.pickle_size:
            self._read(1)

    def _read(self, length: int) -> None:
        self._ahead += self._source.read(self.position + len(self._ahead), length)
        self._taken = len(self._ahead)

    def _take_off(self, length: int) -> None:
        """Have the first of the bytes ahead off the stream."""
        if length > self._taken:
            self._source.read(self.position + self._taken, length - self._taken)
            self._taken = length

    def _no_more(self, needed: int) -> FormatError:
        return cut_off(self._source.name, self._end, self.position + needed)

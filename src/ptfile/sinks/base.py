"""What a sink is: a place that takes bytes in order and keeps all of them or none."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from ptfile._types import Buffer

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.11 has it in `typing`

_PIECE = 1 << 20


class Sink(Protocol):
    """Bytes out, in order. Nothing is opened before the sink is entered.

    Leaving the `with` block without an exception commits: what was written takes its place. Leaving it with one
    aborts: what was there before stays, as far as the kind of sink can promise it.
    """

    @property
    def name(self) -> str:
        """What to call it in errors."""

    def expect(self, size: int) -> None:
        """Be told, before the first write, how many bytes `write` will get in all. What is skipped does not count.

        Raises OSError if there is clearly no room for them.
        """

    def write(self, data: Buffer) -> None:
        """Write all of `data`, a contiguous buffer. Raises OSError if that cannot be done."""

    def skip(self, length: int) -> None:
        """Leave bytes out that are to be written later: zeros, or what was there. Something has to follow them."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class CopyingSink:
    """What a sink is besides that can take bytes from an open file: those who have such bytes ask for it."""

    __slots__ = ()

    def copy_from(self, file: int, offset: int, length: int, advance: Callable[[int], None]) -> None:
        """Write bytes of another open file, where possible without having them in this process's memory.

        advance: gets how many further bytes have been written.

        Raises OSError, and EOFError if the file has not as many.
        """
        raise NotImplementedError


def write_zeros(sink: Sink, length: int) -> None:
    """Write zeros, for sinks that cannot leave a hole."""
    zeros = bytes(min(length, _PIECE))
    for start in range(0, length, _PIECE):
        sink.write(zeros[: length - start])


def can_sync(file: int) -> bool:
    """Whether fsync means anything for an open file: not for pipes, terminals and sockets."""
    mode = os.fstat(file).st_mode
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)

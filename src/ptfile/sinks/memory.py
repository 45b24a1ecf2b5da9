"""Bytes out, into memory: a file that is small enough to be made before it is written."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from ptfile._types import Buffer

if TYPE_CHECKING:
    from typing_extensions import Self


class MemorySink:
    """Keeps what it is given, in `content`."""

    __slots__ = ("content", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.content = bytearray()

    def expect(self, size: int) -> None:
        """Memory grows as it is needed."""

    def write(self, data: Buffer) -> None:
        self.content += data

    def skip(self, length: int) -> None:
        self.content += bytes(length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

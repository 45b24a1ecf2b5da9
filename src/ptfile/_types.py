"""Types that several layers speak of."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

Buffer: TypeAlias = "bytes | bytearray | memoryview"
"""Bytes in memory."""

Path: TypeAlias = "str | os.PathLike[str]"

Progress: TypeAlias = "Callable[[int, int], object]"
"""Is called with the bytes that are done so far, and all that there are to do."""


@runtime_checkable
class Writable(Protocol):
    """What PyTorch asks of a file-like object to save to."""

    def write(self, data: Buffer, /) -> object: ...

    def flush(self) -> object: ...


@runtime_checkable
class Readable(Protocol):
    """A binary file-like object to load from."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...

"""Storages as runs of bytes in a source, at whatever offset an unaligned format has put them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ptfile._lazy import np
from ptfile.errors import FormatError, UnsupportedError, brief
from ptfile.sources import Source, StreamSource, ViewSource, announce
from ptfile.sources.read_ahead import near
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Run, empty_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

_LONGEST_NAME = 64
"""Characters of what a number in `sys_info` is called."""
_UNKNOWN_ALIGNMENT = 8
"""Of an untyped storage: what the widest numbers want (complex ones are pairs)."""


class Ranges:
    """The bytes of a source, as elements and as the small numbers between them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._views = source if isinstance(source, ViewSource) else None
        self._is_stream = isinstance(source, StreamSource)
        # Small storages lie close together; the windows let large ones pass.
        self._near = source if self._is_stream else near(source)

    def number(self, offset: int, length: int) -> bytes:
        """The bytes of a number."""
        return bytes(self._near.read(offset, length))

    def elements(self, offset: int, nbytes: int, dtype: DType | None) -> npt.NDArray[np.uint8]:
        """The bytes of a storage, in the source's own memory if it has them there, aligned for the dtype."""
        if self._views is not None:
            mapped = np.frombuffer(self._views.view(offset, nbytes), np.uint8)
            alignment = min(dtype.itemsize, _UNKNOWN_ALIGNMENT) if dtype else _UNKNOWN_ALIGNMENT
            return mapped if mapped.ctypes.data % alignment == 0 else mapped.copy()
        if self._is_stream:  # it allocates as the bytes arrive: nobody knows how many it has
            return np.frombuffer(self._source.read(offset, nbytes), np.uint8)
        data = empty_bytes(nbytes)
        self.read_into(offset, data)
        return data

    def will_read(self, offset: int, runs: Iterable[Run]) -> None:
        """Say that these runs of a storage at `offset` are going to be read."""
        announce(self._source, ((offset + start, offset + stop) for start, stop in runs))

    def read_into(self, offset: int, target: npt.NDArray[np.uint8]) -> None:
        """Fill an array with the bytes of a storage."""
        self._near.read_into(offset, target.data)


def check_little_endian_machine() -> None:
    """Raise UnsupportedError on a big-endian machine: these formats keep elements little-endian wherever they are."""
    if sys.byteorder != "little":
        raise UnsupportedError(
            "files older than the zip format are read and written on little-endian machines only",
            fix="Convert it to the zip format on one",
        )


def about(sys_info: dict[Any, Any]) -> dict[str, str]:
    """The numbers in the dict with that name, as text; those of a dict in it by both names, with a dot between.

    >>> about({"protocol_version": 1001, "type_sizes": {"int": 4}})
    {'protocol_version': '1001', 'type_sizes.int': '4'}
    """
    found = [(name, value) for name, value in sys_info.items() if type(name) is str]
    for outer, inside in [pair for pair in found if type(pair[1]) is dict]:
        found += [(f"{outer}.{name}", value) for name, value in inside.items() if type(name) is str]
    return {name: brief(value) for name, value in found if isinstance(value, int) and len(name) <= _LONGEST_NAME}


def little_endian(sys_info: object) -> bool:
    """What the dict with that name says about the machine that wrote the file."""
    found = sys_info.get("little_endian", True) if type(sys_info) is dict else None
    if type(found) is not bool:
        raise FormatError("the pickle with the byte order is not a dict that says it")
    return found

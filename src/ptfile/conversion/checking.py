"""Whether a file says what it was made of: sums of all that is written, and a comparison with what is read again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from isal import isal_zlib

from ptfile._digest import Digester
from ptfile._threads import cores, share
from ptfile.conversion.placing import Entry, View, run_of, view_of
from ptfile.conversion.reading import Opened
from ptfile.conversion.report import Progress
from ptfile.errors import FormatError
from ptfile.formats.feeding import Feed, Part, sums
from ptfile.tensors.elements import element_bytes
from ptfile.tensors.quantized import QuantizedTensor
from ptfile.tensors.storage import Run, Storage
from ptfile.tensors.tensor import Tensor

_STEP = 1 << 20
"""Bytes that are worth telling how far it is."""

_Key: TypeAlias = "View | tuple[int, int, int]"
"""What tensors with the same elements have in common: the run of bytes of a storage, if they are just that."""


def _key(tensor: Tensor, run: Run | None) -> _Key:
    return view_of(tensor) if run is None else (id(tensor.untyped_storage()), *run)


class Watch:
    """Sees all bytes pass: sums them up, if they are to be compared, and says how far it is."""

    def __init__(self, progress: Progress | None, *, compares: bool) -> None:
        self.total = 0
        self.sums: dict[_Key, int] = {}
        """The CRC-32 of elements that have been written."""
        self._compares = compares
        self._progress = progress
        self._done = self._told = 0
        self._lock = threading.Lock()

    def feed(self, parts: Sequence[Part]) -> Feed:
        """The bytes of storages or elements of tensors, for who writes them."""
        return Feed(parts, seen=self._seen if self._compares else None, advance=self.advance)

    def _seen(self, part: Part, crc: int) -> None:
        if isinstance(part, Entry):
            self.sums[_key(part.tensor, part.run)] = crc
        elif part.whole is not None:
            self.sums[_whole(part.whole)] = crc

    def advance(self, nbytes: int) -> None:
        """Be told that so many bytes more have been written, or compared."""
        self._done += nbytes
        if self._progress is not None and self._done - self._told >= _STEP:
            self._told = self._done
            self._progress(min(self._done, self.total), self.total)

    def finish(self) -> None:
        """Be told that this was all."""
        if self._progress is not None:
            self._progress(self.total, self.total)

    def read(self, storages: Sequence[Storage]) -> dict[_Key, int]:
        """The CRC-32 of the bytes of each storage."""
        found: dict[_Key, int] = {}

        def task(sum_up: Callable[[], Sequence[tuple[Storage, int]]]) -> None:
            summed = sum_up()
            with self._lock:
                found.update((_whole(storage), crc) for storage, crc in summed)
                self.advance(sum(storage.nbytes() for storage, _ in summed))

        share((partial(task, sum_up) for sum_up in sums(storages)), cores())
        return found


def _whole(storage: Storage) -> _Key:
    return (id(storage), 0, storage.nbytes())


class _Sums(Digester):
    """Hashes a tree with the CRC-32 of tensors' elements, which are known of those that are whole storages."""

    def __init__(self, file_size: int, known: Mapping[_Key, int]) -> None:
        super().__init__(file_size)
        self._known = known

    def hash_of_elements(self, tensor: Tensor | QuantizedTensor) -> bytes:
        crc = None if isinstance(tensor, QuantizedTensor) else self._known.get(_key(tensor, run_of(tensor)))
        return super().hash_of_elements(tensor) if crc is None else crc.to_bytes(4, "little")

    def of_elements(self, tensor: Tensor | QuantizedTensor) -> bytes:
        """The CRC-32 of some bytes of a storage that has been read to its end, so that its checksum is right."""
        crc = 0
        for piece in self.counted(element_bytes(tensor)):
            crc = isal_zlib.crc32(piece, crc)
        return crc.to_bytes(4, "little")


def compare(expected: Any, found: Opened, watch: Watch, size: int) -> None:
    """Raise FormatError unless a tree and the file that it was written to say the same."""
    if _Sums(size, watch.sums).digest(expected) != _Sums(size, watch.read(found.storages)).digest(found.root):
        problem = "what was written is not what is read again, so the file was not put in place"
        raise FormatError(problem, fix="The disk may be at fault: try again, or another disk")

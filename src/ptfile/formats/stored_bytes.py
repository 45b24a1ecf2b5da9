"""The bytes of a storage in a zip file: all of them, checked, or a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ptfile._lazy import np
from ptfile.containers.zip_directory import Record
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_structs import STORED
from ptfile.errors import located
from ptfile.sources import ViewSource
from ptfile.tensors.storage import Run, Storage, empty_bytes

if TYPE_CHECKING:
    import numpy.typing as npt


class StoredBytes(NamedTuple):
    """The bytes of a storage in a zip file. (A tuple is made in half the time of a frozen dataclass.)"""

    reader: ZipReader
    views: ViewSource | None
    """The source, if it has its bytes in memory."""
    root: int
    """Letters of the root folder with its slash."""
    record: Record
    unit: int
    """Bytes of the numbers that have to be reversed; 1: none."""

    @property
    def name(self) -> str:
        """Of the record, inside the root folder."""
        return self.record.name[self.root :]

    @property
    def origin(self) -> StoredBytes:
        """These: a storage of them knows where they come from."""
        return self

    @property
    def has_parts(self) -> bool:
        """Whether parts of them can be read. A mapping reads no more than what is looked at in any case."""
        return self.record.method == STORED and not (self.views is not None and self.views.is_mapped)

    @property
    def offset(self) -> int:
        """Where the record begins, from the start of the file."""
        return self.record.header_offset

    @property
    def crc(self) -> int | None:
        """The CRC-32 of the bytes as they are read, if the file has it."""
        return self.record.crc if self.unit == 1 and (self.record.crc or not self.record.size) else None

    @property
    def start(self) -> int:
        """Where the bytes begin, from the start of the file."""
        return self.reader.locate(self.record)

    @property
    def end(self) -> int:
        """Where the bytes end, from the start of the file."""
        return self.start + self.record.compressed_size

    @property
    def threads(self) -> int:
        """How many threads read them fastest."""
        return self.reader.threads_for(self.record) if self.unit == 1 else 1

    def tasks(self, storage: Storage) -> Iterator[Callable[[], None]]:
        """Read them and give them to a storage, as tasks that several threads may share."""
        data = empty_bytes(self.record.size)
        return self.reader.tasks(self.record, data.data, partial(storage.provide, data))

    def read(self) -> npt.NDArray[np.uint8]:
        """The bytes as an array, in the source's own memory if it has them there; checked, unless they are mapped."""
        if self.views is not None and self.record.method == STORED and self.unit == 1:
            # Each says where, if it raises.
            if not self.views.is_mapped:
                return np.frombuffer(self.reader.read(self.record), np.uint8)
            return np.frombuffer(self.views.view(self.reader.locate(self.record), self.record.size), np.uint8)
        data = empty_bytes(self.record.size)
        self.read_into(data)
        return data

    def read_range(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """The bytes from `start` to `stop` of a record that is not deflated, read without the others: not checked."""
        if (start, stop) == (0, self.record.size):
            return self.read()
        first, last = start - start % self.unit, stop + -stop % self.unit
        with located(file=self.reader.source.name, record=self.name):
            self.will_read([(start, stop)])
            place = self.reader.locate(self.record) + first
            if self.views is not None:
                data = np.frombuffer(self.views.view(place, last - first), np.uint8)
            else:
                data = empty_bytes(last - first)
                self.reader.source.read_into(place, data.data)
        return self._in_our_order(data)[start - first : stop - first]

    def will_read(self, runs: Iterable[Run]) -> None:
        """Say that `read_range` is going to be called for all of these."""
        whole = ((start - start % self.unit, stop + -stop % self.unit) for start, stop in runs)
        self.reader.will_read_parts(self.record, whole)

    def pieces(self) -> Iterator[npt.NDArray[np.uint8]]:
        """The bytes a piece at a time, checked when the last has been read."""
        if self.unit != 1:
            yield self.read()
            return
        with located(file=self.reader.source.name, record=self.name):
            for piece in self.reader.pieces(self.record):
                yield np.frombuffer(piece, np.uint8)

    def read_into(self, target: npt.NDArray[np.uint8]) -> None:
        """Fill an array with the bytes, and check them."""
        self.reader.read_into(self.record, target.data)
        if self.unit != 1:
            target[:] = self._in_our_order(target)

    def _in_our_order(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The numbers in this machine's byte order."""
        return data if self.unit == 1 else data.reshape(-1, self.unit)[:, ::-1].copy().reshape(-1)

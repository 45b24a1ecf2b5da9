"""The bytes of many storages on their way to a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from isal import isal_zlib

from ptfile.errors import FormatError
from ptfile.formats import feeding
from ptfile.formats.feeding import Feed, Part, Whole
from ptfile.tensors.storage import Bytes, Storage

MIB = 1 << 20


@dataclass
class Stored:
    """Where storages come from here: it remembers who was read when."""

    number: int
    nbytes: int
    log: list[int]
    offset: int = 0
    crc: int | None = None
    error: Exception | None = None

    def read(self) -> Bytes:
        self.log.append(self.number)
        if self.error is not None:
            raise self.error
        return np.full(self.nbytes, self.number, np.uint8)

    def pieces(self) -> Iterator[Bytes]:
        self.log.append(self.number)
        for start in range(0, self.nbytes, MIB):
            yield np.full(min(MIB, self.nbytes - start), self.number, np.uint8)
        if self.error is not None:
            raise self.error

    @property
    def storage(self) -> Storage:
        return Storage.deferred(self.nbytes, self.read, origin=self)


def all_of(feed: Feed) -> bytes:
    with feed:
        return b"".join(piece.data for batch in feed for piece in batch)


@pytest.mark.parametrize("sizes", [[3, 1, 0, 2], [100, 40 * MIB, 5, 70_000, 7], [3 * MIB + 1]])
def test_all_bytes_come_in_order_and_are_summed_up(sizes: list[int]) -> None:
    """Small and large ones, with another thread at work and without."""
    log: list[int] = []
    storages = [Stored(number, size, log).storage for number, size in enumerate(sizes)]
    sums: dict[int, int] = {}
    told: list[int] = []

    def seen(part: Part, crc: int) -> None:
        sums[id(part.whole)] = crc

    data = all_of(Feed([Whole(storage) for storage in storages], seen=seen, advance=told.append))
    expected = [bytes([number]) * size for number, size in enumerate(sizes)]
    assert data == b"".join(expected)
    assert [sums[id(storage)] for storage in storages] == [isal_zlib.crc32(part) for part in expected]
    assert sum(told) == len(data)
    assert not any(storage.is_loaded for storage in storages)


def test_small_storages_are_read_in_the_order_of_the_file() -> None:
    """A file may have them in another order than they are written in, and its neighbours are read together."""
    log: list[int] = []
    storages = [Stored(number, 4, log, offset=offset).storage for number, offset in enumerate([30, 10, 20])]
    assert all_of(Feed([Whole(storage) for storage in storages])) == bytes([0] * 4 + [1] * 4 + [2] * 4)
    assert log == [1, 2, 0]


@pytest.mark.parametrize("nbytes", [8, 2 * MIB])
def test_a_checksum_that_the_file_has_is_not_computed_again(nbytes: int) -> None:
    """Whoever reads the bytes compares them with it."""
    sums: list[int] = []
    parts = [Whole(Stored(1, nbytes, [], crc=1234).storage)]
    all_of(Feed(parts, seen=lambda _, crc: sums.append(crc)))
    assert sums == [1234]


@pytest.mark.parametrize("size", [10, MIB, 40 * MIB])
def test_what_is_wrong_is_said_before_the_feed_is_left(size: int) -> None:
    """Also if it is found behind the last piece, as a wrong checksum is, and in another thread."""
    parts = [Whole(Stored(1, size, [], error=FormatError("wrong")).storage)]
    with pytest.raises(FormatError, match="wrong"):
        all_of(Feed(parts))


def test_who_cannot_write_leaves_no_thread_behind() -> None:
    """A full disk ends the reading too."""
    log: list[int] = []
    parts = [Whole(Stored(number, 20 * MIB, log).storage) for number in range(20)]
    feed = Feed(parts)
    with pytest.raises(OSError, match="full"), feed:  # noqa: PT012 - that the block fails halfway is the point
        next(iter(feed))
        raise OSError("full")
    assert not [thread for thread in threading.enumerate() if thread.name == "ptfile"]
    assert len(log) < 3


def test_sums_are_those_of_the_bytes() -> None:
    """Of small storages, several in one task, and of large ones."""
    storages = [Stored(number, size, []).storage for number, size in enumerate([5, 0, 100_000, 7])]
    found = {id(storage): crc for task in feeding.sums(storages) for storage, crc in task()}
    assert found == {id(storage): isal_zlib.crc32(storage.read()) for storage in storages}

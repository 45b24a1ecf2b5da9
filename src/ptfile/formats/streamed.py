"""Saving storages that have not been read without having them in memory."""

from __future__ import annotations

import os
from collections.abc import Callable

from ptfile._types import Path
from ptfile.containers.zip_structs import STORED
from ptfile.containers.zip_writer import ZipWriter
from ptfile.formats.feeding import Feed, MakeFeed, Whole
from ptfile.formats.rebuild import plain_tensors
from ptfile.formats.reducers import REDUCERS
from ptfile.formats.storages import SavedStorages
from ptfile.formats.stored_bytes import StoredBytes
from ptfile.formats.zip_saving import ZipSave, root_for_path
from ptfile.sources import LocalSource
from ptfile.sources.base import cut_off
from ptfile.tensors.storage import Storage

_WORTH_COPYING = 64 << 10
"""Bytes from which it costs less to have the system copy a record than to read and write it."""


class StreamedStorages(SavedStorages):
    """The storages that a pickler meets. What has not been read goes to the file a piece at a time, and is not kept."""

    def __init__(self, feed: MakeFeed = Feed) -> None:
        """`feed` gives their bytes, for those who want to see them pass."""
        super().__init__()
        self._feed = feed

    def write(self, writer: ZipWriter) -> None:
        """Write the bytes of all of them as the next records of a zip file."""
        to_copy = [self._to_copy(storage, writer) for storage in self.storages]
        parts = [Whole(storage) for storage in self.storages]
        with self._feed([part for part, stored in zip(parts, to_copy, strict=True) if stored is None]) as feed:
            for part, stored in zip(parts, to_copy, strict=True):
                if stored is None:
                    feed.write(part, writer)
                else:
                    self._copy(part.whole, stored, writer)

    def _to_copy(self, _storage: Storage, _writer: ZipWriter) -> StoredBytes | None:
        """The bytes of a storage, if they are to be copied as they are."""
        return None

    def _copy(self, storage: Storage, stored: StoredBytes, writer: ZipWriter) -> None:
        """Copy them."""


class CopiedStorages(StreamedStorages):
    """The same, but whole records go from file to file without being looked at, and take their checksums with them."""

    def __init__(
        self,
        feed: MakeFeed = Feed,
        *,
        seen: Callable[[Storage, int], None] = lambda _storage, _crc: None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`feed` gives the bytes of all others.

        seen: gets the CRC-32 that came with a copied one; advance: how many further bytes have been copied.
        """
        super().__init__(feed)
        self._seen = seen
        self._advance = advance
        self._copied: list[Storage] = []

    @property
    def copied(self) -> int:
        """Bytes of such records."""
        return sum(storage.nbytes() for storage in self._copied)

    def check_copied(self) -> None:
        """Read what was copied where it came from. Raises FormatError if it is damaged there."""
        for storage in self._copied:
            for _ in storage.pieces():
                pass

    def _to_copy(self, storage: Storage, writer: ZipWriter) -> StoredBytes | None:
        if storage.nbytes() < _WORTH_COPYING or not writer.can_copy:
            return None
        stored = storage.origin
        if not isinstance(stored, StoredBytes) or not isinstance(stored.reader.source, LocalSource):
            return None
        # Without a checksum (0) it has to be computed, as `save` would.
        return stored if stored.record.method == STORED and stored.crc else None

    def _copy(self, storage: Storage, stored: StoredBytes, writer: ZipWriter) -> None:
        source, record = stored.reader.source, stored.record
        assert isinstance(source, LocalSource)
        try:
            writer.copy(source.fileno(), stored.start, record.crc, self._advance)
        except EOFError:
            raise cut_off(source.name, os.fstat(source.fileno()).st_size, stored.end) from None
        self._copied.append(storage)
        self._seen(storage, record.crc)


class _StreamedSave(ZipSave):
    """What is written a storage at a time, by the storages themselves."""

    def __init__(self, value: object, path: Path, storages: StreamedStorages) -> None:
        super().__init__(
            value, root_for_path(os.fspath(path)), storages=storages, reducers=REDUCERS, tensors=plain_tensors(storages)
        )
        self._streamed = storages

    def _write_storages(self, writer: ZipWriter) -> None:
        self._streamed.write(writer)


def streamed_save(value: object, path: Path, storages: StreamedStorages) -> ZipSave:
    """A value as `save` would write it to a path."""
    return _StreamedSave(value, path, storages)

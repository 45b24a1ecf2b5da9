"""Saving storages that have not been read without having them in memory."""

from __future__ import annotations

import os

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
                    self._copy(stored, writer)

    def _to_copy(self, _storage: Storage, _writer: ZipWriter) -> StoredBytes | None:
        """The bytes of a storage, if they are to be copied as they are."""
        return None

    def _copy(self, stored: StoredBytes, writer: ZipWriter) -> None:
        """Copy them."""


class CopiedStorages(StreamedStorages):
    """The same, but whole records go from file to file without being looked at, and take their checksums with them."""

    def __init__(self) -> None:
        super().__init__()
        self.copied = 0
        """Bytes of such records."""

    def _to_copy(self, storage: Storage, writer: ZipWriter) -> StoredBytes | None:
        if storage.nbytes() < _WORTH_COPYING or not writer.can_copy:
            return None
        stored = storage.origin
        if not isinstance(stored, StoredBytes) or not isinstance(stored.reader.source, LocalSource):
            return None
        # Without a checksum (0) it has to be computed, as `save` would.
        return stored if stored.record.method == STORED and stored.crc else None

    def _copy(self, stored: StoredBytes, writer: ZipWriter) -> None:
        source, record = stored.reader.source, stored.record
        assert isinstance(source, LocalSource)
        try:
            writer.copy(source.fileno(), stored.start, record.crc)
        except EOFError:
            raise cut_off(source.name, os.fstat(source.fileno()).st_size, stored.end) from None
        self.copied += record.size


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

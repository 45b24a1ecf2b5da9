"""Saving storages that have not been read without having them in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ptfile._types import Path
from ptfile.containers.zip_structs import STORED
from ptfile.containers.zip_writer import ZipWriter
from ptfile.formats.rebuild import plain_tensors
from ptfile.formats.reducers import REDUCERS
from ptfile.formats.storages import SavedStorages
from ptfile.formats.zip_records import StoredBytes
from ptfile.formats.zip_saving import ZipSave, root_for_path
from ptfile.sources import LocalSource
from ptfile.sources.base import cut_off
from ptfile.tensors.storage import Bytes, Storage

_WORTH_COPYING = 64 << 10
"""Bytes from which it costs less to have the system copy a record than to read and write it."""


class StreamedStorages(SavedStorages):
    """The storages that a pickler meets. What has not been read goes to the file a piece at a time, and is not kept."""

    def __init__(self, watch: Callable[[Storage], Iterator[Bytes]] = Storage.pieces) -> None:
        """`watch` gives the pieces of a storage, for those who want to see them pass."""
        super().__init__()
        self._watch = watch

    def write(self, storage: Storage, writer: ZipWriter) -> None:
        """Write the bytes of a storage as the next record of a zip file."""
        writer.write_pieces(piece.data for piece in self._watch(storage))


class CopiedStorages(StreamedStorages):
    """The same, but whole records go from file to file without being looked at, and take their checksums with them."""

    def __init__(self) -> None:
        super().__init__()
        self.copied = 0
        """Bytes of such records."""

    def write(self, storage: Storage, writer: ZipWriter) -> None:
        if not self._copy(storage, writer):
            super().write(storage, writer)

    def _copy(self, storage: Storage, writer: ZipWriter) -> bool:
        stored = storage.origin
        if not isinstance(stored, StoredBytes) or storage.nbytes() < _WORTH_COPYING:
            return False
        source, record = stored.reader.source, stored.record
        # Without a checksum (0) it has to be computed, as `save` would.
        if not isinstance(source, LocalSource) or record.method != STORED or stored.unit != 1 or not record.crc:
            return False
        try:
            copied = writer.copy(source.fileno(), stored.start, record.crc)
        except EOFError:
            raise cut_off(source.name, os.fstat(source.fileno()).st_size, stored.end) from None
        self.copied += record.size if copied else 0
        return copied


class _StreamedSave(ZipSave):
    """What is written a storage at a time, by the storages themselves."""

    def __init__(self, value: object, path: Path, storages: StreamedStorages) -> None:
        super().__init__(
            value, root_for_path(os.fspath(path)), storages=storages, reducers=REDUCERS, tensors=plain_tensors(storages)
        )
        self._streamed = storages

    def _write_storages(self, writer: ZipWriter) -> None:
        for storage in self._streamed.storages:
            self._streamed.write(storage, writer)


def streamed_save(value: object, path: Path, storages: StreamedStorages) -> ZipSave:
    """A value as `save` would write it to a path."""
    return _StreamedSave(value, path, storages)

"""Saving storages that have not been read without having them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ptfile.containers.zip_writer import ZipWriter
from ptfile.formats.storages import SavedStorages
from ptfile.tensors.storage import Bytes, Storage


class StreamedStorages(SavedStorages):
    """The storages that a pickler meets. What has not been read goes to the file a piece at a time, and is not kept."""

    def __init__(self, watch: Callable[[Storage], Iterator[Bytes]] = Storage.pieces) -> None:
        """`watch` gives the pieces of a storage, for those who want to see them pass."""
        super().__init__()
        self._watch = watch

    def write(self, storage: Storage, writer: ZipWriter) -> None:
        writer.write_pieces(piece.data for piece in self._watch(storage))

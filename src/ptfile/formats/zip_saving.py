"""The zip format, written; `zip_format` reads it. Laid out first: nothing is opened before all of a value is known."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ptfile._types import Buffer
from ptfile.containers.serialization_id import LENGTH, serialization_id
from ptfile.containers.zip_structs import ALIGNMENT
from ptfile.containers.zip_writer import ZipWriter, plan, small_file
from ptfile.formats.rebuild import plain_tensors
from ptfile.formats.reducers import REDUCERS, SHARED_WORD
from ptfile.formats.storages import SavedStorages, StoragesToSave
from ptfile.formats.zip_format import ARCHIVE_VERSION, PICKLE, STORAGE_ALIGNMENT, VERSION
from ptfile.formats.zip_records import BYTE_ORDER
from ptfile.machine.encoder import Encoder, Reducers
from ptfile.machine.plain import PLAIN_PROTOCOL, PlainTensors, encode_plain
from ptfile.sinks import Sink
from ptfile.sinks.small_file import SMALL
from ptfile.stores.urls import redacted

_SERIALIZATION_ID = ".data/serialization_id"
_FORMAT_VERSION = b"1"  # since 2.7: storages stand in the order of their numbers


class ZipOptions(NamedTuple):
    """How a file is written."""

    byte_order_first: bool = True
    """Left out by the caller, the byte order is recorded all the same, but at the end: so does PyTorch."""
    alignment: int = ALIGNMENT
    """Bytes to whose multiples the records are aligned."""
    checksum: bool = True
    """Without, every CRC in the file is 0."""
    contents: bool = True
    """Without, there is only room for the bytes of storages."""


DEFAULT_OPTIONS = ZipOptions()


def root_for_path(path: str) -> str:
    """The folder inside a file saved to `path`: its name up to the last dot.

    Raises ValueError for a path without a stem, such as `.hidden`, which PyTorch refuses as well.
    """
    if not path.isascii():
        return root_for_stream()  # PyTorch writes such files through a Python file object
    name = path.replace("\\", "/").rpartition("/")[2]
    stem = name.rpartition(".")[0] if "." in name else name
    if not stem:
        message = f"{redacted(path)!r} has no name before its dot, and the format needs one: choose another file name"
        raise ValueError(message)
    return stem


def root_for_stream() -> str:
    """The folder inside a file saved to a file-like object."""
    return "archive"


class ZipSave:
    """A value pickled and laid out, ready to be written in the zip format; nothing has been opened yet.

    What `pickle_module` raises for an object that it cannot pickle passes through.
    """

    def __init__(
        self,
        value: object,
        root: str,
        *,
        pickle_module: Any = pickle,
        pickle_protocol: int = 2,
        options: ZipOptions = DEFAULT_OPTIONS,
        storages: StoragesToSave | None = None,
        reducers: Reducers | None = None,
        tensors: PlainTensors | None = None,
    ) -> None:
        """`storages`, `reducers` and `tensors` say how the objects of a framework are saved; ptfile's if none is given.

        tensors: those that need no reducer.
        """
        if storages is None:
            storages = SavedStorages()
            reducers, tensors = REDUCERS, plain_tensors(storages)
        pickled = None
        if tensors is not None and pickle_module is pickle and pickle_protocol == PLAIN_PROTOCOL:
            pickled = encode_plain(value, tensors)
        if pickled is None:
            storages.forget()
            encoder = Encoder(
                REDUCERS if reducers is None else reducers,
                storages.persistent_id,
                pickle_module=pickle_module,
                protocol=pickle_protocol,
                shared_word=SHARED_WORD if isinstance(storages, SavedStorages) else None,
            )
            pickled = encoder.encode(value)
        self._pickle = pickled
        self._head = [
            (".format_version", _FORMAT_VERSION),
            (STORAGE_ALIGNMENT, str(options.alignment).encode()),
        ]
        self._tail = [(VERSION, ARCHIVE_VERSION)]
        (self._head if options.byte_order_first else self._tail).append((BYTE_ORDER, sys.byteorder.encode()))
        self.payloads: Iterable[Buffer] = map(storages.payload, storages.storages) if options.contents else ()
        """The bytes of the storages, read when their turn comes. Others may be put in their place until then."""
        sizes = [
            (PICKLE, sum(map(len, self._pickle))),
            *((name, len(payload)) for name, payload in self._head),
            *((f"data/{key}", storage.nbytes()) for key, storage in enumerate(storages.storages)),
            *((name, len(payload)) for name, payload in self._tail),
            (_SERIALIZATION_ID, LENGTH),
        ]
        self._names = [name for name, _ in sizes]
        self._layout = plan(root, sizes, alignment=options.alignment)
        self._checksum = options.checksum
        self._left_out = [] if options.contents else [storage.nbytes() for storage in storages.storages]

    @property
    def is_small(self) -> bool:
        """Whether it is better made in memory than written piece by piece."""
        return self._layout.size <= SMALL and not self._left_out

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._layout.size

    def write(self, sink: Sink) -> None:
        """Write it to a sink that has been entered. Once: the bytes of storages are not kept."""
        sink.expect(self._layout.size - sum(self._left_out))
        writer = ZipWriter(sink, self._layout, checksum=self._checksum)
        writer.write_pieces(self._pickle)
        for _, content in self._head:
            writer.write(content)
        self._write_storages(writer)
        for _ in self._left_out:
            writer.reserve()
        for _, content in self._tail:
            writer.write(content)
        writer.write(self._serialization_id(writer.checksums))
        writer.finish()

    def _write_storages(self, writer: ZipWriter) -> None:
        for payload in self.payloads:
            writer.write(payload)
            del payload  # before the next is asked for: it may be a copy that has to make room for it

    def small_file(self) -> bytes:
        """All of it, of one that is small. Once, like `write`."""
        checksums: list[int] = []
        return small_file(self._layout, self._contents(checksums), checksums, checksum=self._checksum)

    def _contents(self, checksums: list[int]) -> Iterator[Buffer]:
        """What the records hold, one after the other; `checksums` gets those of the ones before."""
        yield b"".join(self._pickle)
        for _, content in self._head:
            yield content
        yield from self.payloads
        for _, content in self._tail:
            yield content
        yield self._serialization_id(checksums)

    def _serialization_id(self, checksums: Sequence[int]) -> bytes:
        sizes = [record.size for record in self._layout.records[:-1]]
        return serialization_id(self._names[:-1], zip(sizes, checksums, strict=True))

"""The zip format: what `torch.save` writes since PyTorch 1.6.

One pickle, `data.pkl`, and one record for each storage; the rest says how they were written.
"""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ptfile._types import Buffer
from ptfile.containers.serialization_id import LENGTH, serialization_id
from ptfile.containers.zip_writer import ALIGNMENT, ZipWriter, plan
from ptfile.errors import FormatError, UnsupportedError, located
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.rebuild import plain_tensors
from ptfile.formats.storages import LoadedStorages, MapLocation, SavedStorages, StoragesToSave
from ptfile.formats.vocabulary import REDUCERS, SHARED_WORD
from ptfile.formats.zip_records import StoredBytes, ZipRecords
from ptfile.machine.encoder import Encoder, Reducers
from ptfile.machine.plain import PLAIN_PROTOCOL, PlainTensors, encode_plain
from ptfile.sinks import Sink
from ptfile.stores.urls import redacted
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

_PICKLE = "data.pkl"
_BYTE_ORDER = "byteorder"
_SERIALIZATION_ID = ".data/serialization_id"
_ALIGNMENT = ".storage_alignment"
_LARGEST_ALIGNMENT = 1 << 16
_FORMAT_VERSION = b"1"  # since 2.7: storages stand in the order of their numbers
_VERSION = "version"
NEWEST_VERSION = 10
"""kMaxSupportedFileFormatVersion, caffe2/serialize/versions.h; `torch.save` has written 3 since 1.6."""
_ARCHIVE_VERSION = b"3\n"  # kProducedFileFormatVersion, caffe2/serialize/versions.h


@dataclass(frozen=True, slots=True)
class ZipOptions:
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
            (_ALIGNMENT, str(options.alignment).encode()),
        ]
        self._tail = [(_VERSION, _ARCHIVE_VERSION)]
        (self._head if options.byte_order_first else self._tail).append((_BYTE_ORDER, sys.byteorder.encode()))
        self.payloads: Iterable[Buffer] = map(storages.payload, storages.storages) if options.contents else ()
        """The bytes of the storages, read when their turn comes. Others may be put in their place until then."""
        sizes = [
            (_PICKLE, sum(map(len, self._pickle))),
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
        sizes = [record.size for record in self._layout.records[:-1]]
        writer.write(serialization_id(self._names[:-1], zip(sizes, writer.checksums, strict=True)))
        writer.finish()

    def _write_storages(self, writer: ZipWriter) -> None:
        for payload in self.payloads:
            writer.write(payload)
            del payload  # before the next is asked for: it may be a copy that has to make room for it


class ZipFormatReader:
    """A zip-format file, open. Its pickle is read by `load`; its storages when someone asks for them."""

    format = "zip"

    def __init__(self, records: ZipRecords) -> None:
        self._records = records
        if not records.has_root or _PICKLE not in records:
            problem = "a zip file without data.pkl in a folder around all its records, so no checkpoint of PyTorch"
            raise FormatError(problem, file=records.source.name)
        with located(file=records.source.name, record=_VERSION):
            _check_version(records.text(_VERSION) if _VERSION in records else "1")

    def load(self, runner: PickleRunner, map_location: MapLocation) -> Any:
        """The value, with storages that have read nothing yet."""
        if _ALIGNMENT in self._records:
            with located(file=self._records.source.name, record=_ALIGNMENT):
                _check_alignment(self._records.text(_ALIGNMENT))
        storages = LoadedStorages(
            lambda key, nbytes, dtype: self._records.storage(self._name(key), nbytes, dtype), map_location
        )
        return self.run(runner, storages.load)

    def run(self, runner: PickleRunner, load_persistent: Callable[[Any], Any]) -> Any:
        """The value, with whatever `load_persistent` makes of the persistent ids of storages."""
        return self._records.pickle(_PICKLE, runner, load_persistent)

    @property
    def pickle_end(self) -> int:
        """Where the pickle ends, from the start of the file."""
        return self._records.end_of(_PICKLE)

    def stored(self, key: str, nbytes: int, dtype: DType | None) -> StoredBytes:
        """The bytes of a storage. Raises FormatError or TensorError if the file has not just these."""
        return self._records.stored(self._name(key), nbytes, dtype)

    def storages(self) -> Sequence[Storage]:
        """The storages that the value asked for, in the order in which they stand in the file."""
        return self._records.storages()

    def announce(self) -> None:
        """Say to a source far away that they are all going to be read, in that order."""
        self._records.announce()

    def fill(self) -> None:
        """Read them all, in that order."""
        self._records.fill()

    def about(self) -> dict[str, str]:
        """What the file says about itself."""
        return self._records.about()

    def _name(self, key: str) -> str:
        name, old = f"data/{key}", f"tensors/{key}"  # the latter in PyTorch 1.4
        return old if old in self._records and name not in self._records else name


def _check_alignment(text: str) -> None:
    """Raise FormatError for an alignment that the padding in a header, of 16 bits, cannot bring about."""
    if not re.fullmatch("0*[1-9][0-9]{0,4}", text[:100]) or int(text) > _LARGEST_ALIGNMENT:
        raise FormatError(f"{text[:20]!r} is no alignment of storages")


def _check_version(text: str) -> None:
    """Raise UnsupportedError for a version of the archive that PyTorch does not know, FormatError for what is none."""
    version = text.strip()
    if not re.fullmatch("0*[1-9][0-9]{0,3}", version[:100]):
        raise FormatError(f"{version[:20]!r} is no version of the archive format")
    if int(version) > NEWEST_VERSION:
        problem = f"it has version {version} of the archive format, and this ptfile knows 1 to {NEWEST_VERSION}"
        raise UnsupportedError(problem, fix="Update ptfile, or save the file with another PyTorch")

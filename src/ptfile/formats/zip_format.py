"""The zip format: what `torch.save` writes since PyTorch 1.6.

One pickle, `data.pkl`, and one record for each storage; the rest says how they were written.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ptfile.containers.serialization_id import serialization_id
from ptfile.containers.zip_directory import Record
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_structs import STORED
from ptfile.containers.zip_writer import ALIGNMENT, ZipWriter, plan
from ptfile.errors import FormatError, LimitError, TensorError, UnsupportedError, located
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.storages import LoadedStorages, MapLocation, SavedStorages
from ptfile.formats.vocabulary import REDUCERS
from ptfile.limits import Limits
from ptfile.machine.encoder import Encoder
from ptfile.sinks import Sink
from ptfile.sources import Source, ViewSource
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

_PICKLE = "data.pkl"
_BYTE_ORDER = "byteorder"
_SERIALIZATION_ID = ".data/serialization_id"
_SERIALIZATION_ID_SIZE = 40
_FORMAT_VERSION = b"1"  # since 2.7: storages stand in the order of their numbers
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
        message = f"{path!r} has no name before its dot, and the format needs one: choose another file name"
        raise ValueError(message)
    return stem


def root_for_stream() -> str:
    """The folder inside a file saved to a file-like object."""
    return "archive"


class PreparedSave:
    """A value pickled and laid out, ready to be written; nothing has been opened yet.

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
    ) -> None:
        storages = SavedStorages()
        encoder = Encoder(REDUCERS, storages.persistent_id, pickle_module=pickle_module, protocol=pickle_protocol)
        self._head: list[tuple[str, bytes | bytearray]] = [
            (_PICKLE, encoder.encode(value)),
            (".format_version", _FORMAT_VERSION),
            (".storage_alignment", str(options.alignment).encode()),
        ]
        self._tail: list[tuple[str, bytes | bytearray]] = [("version", _ARCHIVE_VERSION)]
        (self._head if options.byte_order_first else self._tail).append((_BYTE_ORDER, sys.byteorder.encode()))
        self._storages = storages.storages
        sizes = [
            *((name, len(payload)) for name, payload in self._head),
            *((f"data/{key}", storage.nbytes()) for key, storage in enumerate(self._storages)),
            *((name, len(payload)) for name, payload in self._tail),
            (_SERIALIZATION_ID, _SERIALIZATION_ID_SIZE),
        ]
        self._names = [name for name, _ in sizes]
        self._layout = plan(root, sizes, alignment=options.alignment)
        self._checksum = options.checksum

    def write(self, sink: Sink) -> None:
        """Write it to a sink that has been entered."""
        writer = ZipWriter(sink, self._layout, checksum=self._checksum)
        for _, payload in self._head:
            writer.write(payload)
        for storage in self._storages:
            writer.write(storage.data.data)
        for _, payload in self._tail:
            writer.write(payload)
        sizes = [record.size for record in self._layout.records]
        writer.write(serialization_id(self._names[:-1], list(zip(sizes, writer.checksums, strict=False))))
        writer.finish()


class ZipFormatReader:
    """A zip-format file, open. Its pickle is read by `load`; its storages when someone asks for them."""

    def __init__(self, source: Source, limits: Limits, reader: ZipReader | None = None) -> None:
        """`reader`: of the same source, if there is one already."""
        self._source = source
        self._views = source if isinstance(source, ViewSource) else None
        self._limits = limits
        with located(file=source.name):
            self._zip = reader or ZipReader(source, limits)
            self._root = self._zip.root
            self._check_kind()
            self._byte_order = self._read_byte_order()
        self._unread: list[tuple[Record, Storage]] = []

    def load(self, runner: PickleRunner, map_location: MapLocation) -> Any:
        """The value, with storages that have read nothing yet."""
        pickle = self._record(_PICKLE)
        if pickle.size > self._limits.pickle_size:
            allowed = self._limits.pickle_size
            raise LimitError(f"{_PICKLE} is too large", limit="pickle_size", allowed=allowed, actual=pickle.size)
        storages = LoadedStorages(self._deferred, map_location)
        with located(file=self._source.name, record=_PICKLE):
            data = bytes(self._zip.read(pickle))
            value, end = runner.run(data, storages.load)
            if end != len(data):
                raise FormatError(f"{len(data) - end} bytes follow the end of the pickle", offset=end)
            return value

    def fill(self) -> None:
        """Read all storages that the pickle asked for, in the order in which they stand in the file."""
        with located(file=self._source.name):
            for _, storage in sorted(self._unread, key=lambda pair: pair[0].header_offset):
                storage.load()
        self._unread.clear()

    def _deferred(self, key: str, nbytes: int, dtype: DType | None) -> Storage:
        with located(file=self._source.name):
            record = self._storage_record(key)
            unit = self._unit_to_swap(dtype, nbytes)
            if record.size != nbytes:
                problem = f"the record has {record.size} bytes, and the pickle asks for {nbytes}"
                raise TensorError(problem, file=self._source.name, record=self._short(record))
        storage = Storage.deferred(nbytes, lambda: self._read(record, unit))
        self._unread.append((record, storage))
        return storage

    def _storage_record(self, key: str) -> Record:
        old = self._zip.records.get(f"{self._root}/tensors/{key}")  # PyTorch 1.4
        return old or self._record(f"data/{key}")

    def _unit_to_swap(self, dtype: DType | None, nbytes: int) -> int:
        """Bytes of the numbers that have to be reversed; 1: none."""
        if self._byte_order == sys.byteorder:
            return 1
        if dtype is None and nbytes:
            problem = f"an untyped storage in a {self._byte_order}-endian file, which does not say what to reverse"
            raise UnsupportedError(problem, fix="Save the file again on a machine of the other byte order")
        return 1 if dtype is None else dtype.itemsize // (2 if dtype.is_complex else 1)

    def _read(self, record: Record, unit: int) -> npt.NDArray[np.uint8]:
        with located(file=self._source.name, record=self._short(record)):
            if self._views is not None and record.method == STORED and unit == 1:
                return np.frombuffer(self._views.view(self._zip.locate(record), record.size), np.uint8)
            data = np.empty(record.size, np.uint8)
            self._zip.read_into(record, data.data)
            return data if unit == 1 else data.reshape(-1, unit)[:, ::-1].reshape(-1)

    def _short(self, record: Record) -> str:
        return record.name.removeprefix(self._root + "/")

    def _record(self, name: str) -> Record:
        record = self._zip.records.get(f"{self._root}/{name}")
        if record is None:
            fix = "" if name == _PICKLE else "The file was changed after it was saved"
            raise FormatError(f"it has no record {name}", record=name, fix=fix)
        return record

    def _check_kind(self) -> None:
        if f"{self._root}/{_PICKLE}" not in self._zip.records:
            raise FormatError("a zip file without data.pkl, so no checkpoint of PyTorch")

    def _read_byte_order(self) -> str:
        record = self._zip.records.get(f"{self._root}/{_BYTE_ORDER}")
        if record is None:
            return "little"  # PyTorch 2.0 and earlier say nothing
        text = bytes(self._zip.read(record))
        if text not in (b"little", b"big"):
            raise FormatError(f"the byte order is {text[:20]!r} instead of little or big", record=_BYTE_ORDER)
        return text.decode()

"""The records of a zip file, as the formats inside zip files need them.

Pickles and JSON are read whole; storages when someone asks for their bytes; files inside the file where they stand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from ptfile._threads import share
from ptfile.containers.zip_directory import Record
from ptfile.containers.zip_reader import LARGE, ZipReader
from ptfile.containers.zip_runs import SMALL
from ptfile.containers.zip_structs import STORED
from ptfile.errors import FormatError, LimitError, TensorError, UnsupportedError, located
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.stored_bytes import StoredBytes
from ptfile.limits import Limits
from ptfile.machine.fast import BuildTensor
from ptfile.sources import MemorySource, Source, ViewSource
from ptfile.sources.part import part_of
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

MakeStorage: TypeAlias = "Callable[[str, int, DType | None], Storage]"
"""From a name or a key, a number of bytes, and the dtype of the elements (None: untyped)."""

BYTE_ORDER = "byteorder"
_OURS = sys.byteorder.encode()
_ABOUT = (
    *("archive_format", "archive_version", "version", ".data/version", ".format_version", BYTE_ORDER),
    *(".storage_alignment", ".data/python_version", ".data/serialization_id"),
)
"""Records of a few letters that say what the file is and how it was written, in the various dialects."""
_MOST_ABOUT = 256
"""Bytes of such a record."""
_MANY = 16
"""Storages that are worth being read together."""
STORAGES = ("data/", "tensors/", "constants/")
"""Folders of storages."""
_SMALL = 64 << 10
"""Bytes of a record that is no storage which are worth no request of their own."""


def root_of(reader: ZipReader) -> str:
    """The one folder that all records are in, with its slash; empty if there is no such folder."""
    try:
        return f"{reader.root}/"
    except FormatError:
        return ""


class MissingRecordError(FormatError):
    """A file lacks a record that another part of it speaks of."""


class ZipRecords:
    """The records in the root folder of a zip file (at its top, if there is no one folder), by their short names."""

    def __init__(self, reader: ZipReader, limits: Limits) -> None:
        """Raises FormatError for a byte order that does not exist, and for records whose headers disagree."""
        self.limits = limits
        self._zip = reader
        self._records = reader.records
        self._source = source = reader.source
        self._views = source if isinstance(source, ViewSource) else None
        self._root = root_of(reader)
        self._asked: list[tuple[int, Storage, StoredBytes]] = []
        self._largest = 0
        if not reader.is_compared:
            self._check_names()
        self._swap = self._is_swapped()

    @property
    def source(self) -> Source:
        return self._source

    @property
    def has_root(self) -> bool:
        """Whether all records are in one folder."""
        return bool(self._root)

    @property
    def names(self) -> Iterable[str]:
        """Short names, in the order of the bytes in the file."""
        return (name.removeprefix(self._root) for name in self._records)

    @property
    def asked(self) -> Sequence[tuple[int, Storage]]:
        """The storages that were asked for, each with the offset of its record's header."""
        return [(offset, storage) for offset, storage, _ in self._asked]

    def __contains__(self, name: object) -> bool:
        return f"{self._root}{name}" in self._records

    def size(self, name: str) -> int:
        """Bytes of content. Raises FormatError if there is no such record."""
        return self._record(name).size

    def header_offset(self, name: str) -> int:
        """Where a record begins, from the start of the file: as in `asked`."""
        return self._record(name).header_offset

    def read(self, name: str) -> bytes:
        """The content. Raises FormatError if there is no such record or its checksum is wrong."""
        return bytes(self._zip.read(self._record(name)))

    def says(self, name: str, content: bytes) -> bool:
        """Whether there is such a record with just this content. Raises FormatError for a wrong checksum."""
        record = self._records.get(f"{self._root}{name}")
        return record is not None and record.size == len(content) and self._zip.read(record) == content

    def text(self, name: str) -> str:
        """The content as UTF-8, of what is to be read as a whole: a pickle's limit holds.

        Raises FormatError, LimitError.
        """
        record = self._record_within_limits(name)
        with located(file=self._source.name, record=name):
            try:
                return bytes(self._zip.read(record)).decode()
            except UnicodeDecodeError as error:
                raise FormatError("it is no UTF-8 text", offset=error.start) from error

    def json(self, name: str) -> Any:
        """The value of a JSON record. Raises FormatError for what is no JSON, LimitError for what is too deep."""
        text = self.text(name)
        with located(file=self._source.name, record=name):
            return read_json(text, self.limits)

    def pickle(
        self,
        name: str,
        runner: PickleRunner,
        load_persistent: Callable[[object], object],
        prepare: Callable[[bytes], bytes] | None = None,
        tensor: BuildTensor | None = None,
    ) -> Any:
        """The value of a pickle that fills its record. `prepare` gets its bytes first."""
        record = self._record_within_limits(name)
        with located(file=self._source.name, record=name):
            data = bytes(self._zip.read(record))
            data = prepare(data) if prepare else data
            value, end = runner.run(data, load_persistent, tensor=tensor)
            if end != len(data):
                raise FormatError(f"{len(data) - end} bytes follow the end of the pickle", offset=end)
            return value

    def storage(self, name: str, nbytes: int, dtype: DType | None) -> Storage:
        """A storage whose bytes are a record, not read yet. Raises what `stored` raises."""
        stored = self.stored(name, nbytes, dtype)
        storage = Storage.provided(stored, nbytes)
        self._asked.append((stored.offset, storage, stored))
        self._largest = max(self._largest, nbytes)
        return storage

    def storages_in(self, folder: str, otherwise: MakeStorage) -> MakeStorage:
        """What makes the storages that have their records in a folder, by their names there: very many in little time.

        otherwise: makes those that have no record there, or one that is not as usual.
        """
        if self._swap:
            return otherwise
        inside = self._root + folder
        find, made, new, provided = self._records.get, self._asked.append, tuple.__new__, Storage.provided
        reader, views, root = self._zip, self._views, len(self._root)

        def storage(name: str, nbytes: int, dtype: DType | None) -> Storage:
            record = find(inside + name)
            if record is None or record.size != nbytes:
                return otherwise(name, nbytes, dtype)
            stored = new(StoredBytes, (reader, views, root, record, 1))
            storage = provided(stored, nbytes)
            made((record.header_offset, storage, stored))
            self._largest = max(self._largest, nbytes)
            return storage

        return storage

    def stored(self, name: str, nbytes: int, dtype: DType | None) -> StoredBytes:
        """The bytes of a storage in a record. Raises TensorError if the record has not so many of them.

        dtype: of its elements, which is what a file of the other byte order has to be read by.
        """
        record, unit = self._record(name), 1
        if record.size != nbytes or self._swap:
            with located(file=self._source.name, record=name):
                if record.size != nbytes:
                    raise TensorError(f"the record has {record.size} bytes, and the pickle asks for {nbytes}")
                unit = self._unit_to_swap(dtype, nbytes)
        return StoredBytes(self._zip, self._views, len(self._root), record, unit)

    def end_of(self, name: str) -> int:
        """Where a record's bytes end, from the start of the file."""
        record = self._record(name)
        return self._zip.locate(record) + record.compressed_size

    def part(self, name: str) -> Source:
        """A record that is a file itself, as a source.

        Where it stands in the file uncompressed, its bytes are not read, nor its checksum checked: its own records
        have checksums of theirs.
        """
        with located(file=self._source.name, record=name):
            record = self._record(name)
            called = f"{self._source.name}, {name}"
            if record.method == STORED:
                return part_of(self._source, self._zip.locate(record), record.size, called)
            return MemorySource(self._zip.read(record), called)

    def storages(self) -> list[Storage]:
        """The storages that were asked for, in the order in which they stand in the file."""
        return [storage for _, storage, _ in sorted(self._asked, key=lambda entry: entry[0])]

    def announce(self) -> None:
        """Say to a source far away that they are all going to be read, in that order."""
        self._asked.sort(key=lambda entry: entry[0])
        self._zip.will_read(offset for offset, _, _ in self._asked)

    def fill(self) -> None:
        """Read them all, in that order."""
        self.announce()
        if self._views is not None and self._views.is_mapped:  # nothing is read but what is deflated
            for _, storage, stored in self._asked:
                if not storage.is_loaded:
                    storage.settle(stored.read())
            return
        self._fill_small()
        # Very many small ones need not be asked one by one.
        threads = max((stored.threads for _, _, stored in self._asked), default=1) if self._largest >= LARGE else 1
        if threads > 1:
            share(self._tasks(), threads)
        else:
            for _, storage, _ in self._asked:
                storage.load()

    def _fill_small(self) -> None:
        """Read together what there is of many small ones, and is as it should be."""
        small = [(storage, stored.record) for _, storage, stored in self._asked if stored.record.size <= SMALL]
        if self._swap or len(small) < _MANY:
            return
        for (storage, _), data in zip(small, self._zip.read_rows([record for _, record in small]), strict=True):
            if data is not None:
                storage.settle(data)

    def about(self) -> dict[str, str]:
        """What the records say that are there to say what the file is, without white space around it."""
        there = [name for name in _ABOUT if name in self and self.size(name) <= _MOST_ABOUT]
        return {name: self.read(name).decode(errors="backslashreplace").strip() for name in there}

    def _tasks(self) -> Iterator[Callable[[], None]]:
        """What `fill` does, for several threads."""
        for _, storage, stored in self._asked:
            if storage.is_loaded or stored.threads == 1:
                yield storage.load
            else:
                yield from stored.tasks(storage)

    def _record(self, name: str) -> Record:
        record = self._records.get(f"{self._root}{name}")
        if record is None:
            fix = "The file was changed after it was saved"
            place: dict[str, Any] = {"file": self._source.name, "record": name[:80]}
            raise MissingRecordError(f"it has no record {name[:80]}", fix=fix, **place)
        return record

    def _record_within_limits(self, name: str) -> Record:
        """What is to be read as a whole."""
        record, allowed = self._record(name), self.limits.pickle_size
        if record.size > allowed:
            raise LimitError(f"{name} is too large", limit="pickle_size", allowed=allowed, actual=record.size)
        return record

    def _check_names(self) -> None:
        """Compare the names of all records but storages with their headers.

        Which of them are there decides what kind of file it is, and a name may have changed in the directory alone.
        That of a storage is compared when it is read.
        """
        storages = tuple(f"{self._root}{folder}" for folder in STORAGES)
        records = [self._records[name] for name in self._records if not name.startswith(storages)]
        soon = (record for record in records if record.size <= _SMALL or record.name == f"{self._root}data.pkl")
        self._zip.will_read(record.header_offset for record in soon)
        for record in records:
            self._zip.locate(record)

    def _is_swapped(self) -> bool:
        """Whether the numbers in storages are in the other byte order. PyTorch 2.0 and earlier say nothing of it."""
        if self.says(BYTE_ORDER, _OURS):
            return False
        if BYTE_ORDER not in self:
            return sys.byteorder != "little"
        text = self.read(BYTE_ORDER)
        if text not in (b"little", b"big"):
            raise FormatError(f"the byte order is {text[:20]!r} instead of little or big", record=BYTE_ORDER)
        return True

    def _unit_to_swap(self, dtype: DType | None, nbytes: int) -> int:
        """Bytes of the numbers that have to be reversed; 1: none."""
        if not self._swap:
            return 1
        if dtype is None and nbytes:
            problem = "an untyped storage in a file of the other byte order, which does not say what to reverse"
            raise UnsupportedError(problem, fix="Save the file again on a machine of this byte order")
        return 1 if dtype is None else dtype.itemsize // (2 if dtype.is_complex else 1)


def read_json(text: str, limits: Limits) -> Any:
    """The value of a JSON text. Raises FormatError for what is no JSON, LimitError for what is too deep."""
    import json  # for the formats that have some: a checkpoint of torch.save has none

    try:
        integer = partial(_integer, digits=limits.integer_digits)
        return json.loads(text, object_pairs_hook=_object, parse_int=integer)
    except RecursionError as error:
        depth = limits.depth
        raise LimitError("it is nested too deep", limit="depth", allowed=depth, actual=depth + 1) from error
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"it is no JSON ({error})") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. A name that stands in it twice would be one thing to one reader and another to the next."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise FormatError("a JSON object has one name twice")
    return made


def _integer(text: str, digits: int) -> int:
    if len(text) > digits:
        problem = f"an integer of {len(text)} digits"
        raise LimitError(problem, limit="integer_digits", allowed=digits, actual=len(text))
    return int(text)

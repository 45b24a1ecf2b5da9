"""The zip format, written; `zip_format` reads it. Laid out first: nothing is opened before all of a value is known."""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from ptfile._types import Buffer
from ptfile.containers.serialization_id import LENGTH, serialization_id
from ptfile.containers.zip_form import Form, fill, plan_form
from ptfile.containers.zip_structs import ALIGNMENT
from ptfile.containers.zip_writer import Layout, ZipWriter, plan
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

_Records: TypeAlias = "list[tuple[str, bytes]]"
_FEW = 100
"""Storages of a file that is made in memory."""
_BESIDE = 6
"""Records of a file that are no storages."""
_AROUND = 256
"""Bytes around a small payload, at most, but for the padding and the name of the root folder, which is there twice."""


def _constants(options: ZipOptions) -> tuple[_Records, _Records]:
    """What says how the file was written: the records between the pickle and the storages, and those behind."""
    head = [(".format_version", _FORMAT_VERSION), (STORAGE_ALIGNMENT, str(options.alignment).encode())]
    tail = [(VERSION, ARCHIVE_VERSION)]
    (head if options.byte_order_first else tail).append((BYTE_ORDER, sys.byteorder.encode()))
    return head, tail


def _sized(pickle_size: int, storages: Iterable[int], options: ZipOptions) -> list[tuple[str, int | bytes]]:
    """All records in their order, each with its size in bytes, or with its content if that is the same each time."""
    head, tail = _constants(options)
    data = ((f"data/{key}", size) for key, size in enumerate(storages))
    return [(PICKLE, pickle_size), *head, *data, *tail, (_SERIALIZATION_ID, LENGTH)]


@functools.lru_cache(maxsize=32)  # programs save checkpoints of the same few sizes again and again
def _form(root_length: int, pickle_size: int, storages: tuple[int, ...], options: ZipOptions) -> tuple[Form, list[str]]:
    """A small file but for its root, its pickle, its storages and its last record; and the names of all before that."""
    records = _sized(pickle_size, storages, options)
    form = plan_form(root_length, records, alignment=options.alignment, checksum=options.checksum)
    return form, [name for name, _ in records[:-1]]


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
        self._root = root
        self._options = options
        self._storages = tuple([storage.nbytes() for storage in storages.storages])
        self.payloads: Iterable[Buffer] = map(storages.payload, storages.storages) if options.contents else ()
        """The bytes of the storages, read when their turn comes. Others may be put in their place until then."""
        self._pickle_size = sum(map(len, pickled))
        around = (len(self._storages) + _BESIDE) * (_AROUND + 2 * len(root) + options.alignment)
        self.is_small = (
            options.contents
            and options.alignment > 0
            and len(self._storages) <= _FEW
            and self._pickle_size + sum(self._storages) + around <= SMALL
        )
        """Whether it is better made in memory than written piece by piece."""
        self._planned = None if self.is_small else self._plan()

    @property
    def _layout(self) -> Layout:
        if self._planned is None:
            self._planned = self._plan()
        return self._planned

    def _plan(self) -> Layout:
        """Raises ValueError for what no zip file can say."""
        records = _sized(self._pickle_size, self._storages, self._options)
        sizes = [(name, content if isinstance(content, int) else len(content)) for name, content in records]
        return plan(self._root, sizes, alignment=self._options.alignment)

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._layout.size

    def write(self, sink: Sink) -> None:
        """Write it to a sink that has been entered. Once: the bytes of storages are not kept."""
        layout, options = self._layout, self._options
        left_out = () if options.contents else self._storages
        sink.expect(layout.size - sum(left_out))
        writer = ZipWriter(sink, layout, checksum=options.checksum)
        head, tail = _constants(options)
        writer.write_pieces(self._pickle)
        for _, content in head:
            writer.write(content)
        self._write_storages(writer)
        for _ in left_out:
            writer.reserve()
        for _, content in tail:
            writer.write(content)
        names = [record.name.removeprefix(f"{self._root}/") for record in layout.records[:-1]]
        sizes = [record.size for record in layout.records[:-1]]
        writer.write(serialization_id(names, zip(sizes, writer.checksums, strict=True)))
        writer.finish()

    def _write_storages(self, writer: ZipWriter) -> None:
        for payload in self.payloads:
            writer.write(payload)
            del payload  # before the next is asked for: it may be a copy that has to make room for it

    def small_file(self) -> bytearray:
        """All of it, of one that is small. Once, like `write`."""
        form, names = _form(len(self._root), self._pickle_size, self._storages, self._options)
        checksums: list[int] = []

        def payloads() -> Iterator[Buffer]:
            yield b"".join(self._pickle)
            yield from self.payloads
            yield serialization_id(names, zip(form.sizes[:-1], checksums[:-1], strict=True))

        return fill(form, self._root, payloads(), checksums)

"""numpy's .npz: a zip file of .npy files, which `numpy.load` reads, and a note of ptfile's beside them.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Nothing is compressed. Elements that numpy has
no type for (bfloat16 and the like) are unsigned integers of their width, and the note says what they are.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ptfile.containers.zip_directory import Record
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_runs import SMALL
from ptfile.containers.zip_structs import STORED
from ptfile.containers.zip_writer import Layout, ZipWriter, plan
from ptfile.conversion.placing import Entry
from ptfile.errors import FormatError, TensorError, UnsupportedError, located
from ptfile.formats.feeding import MakeFeed
from ptfile.formats.zip_records import read_json
from ptfile.limits import Limits
from ptfile.sinks import Sink
from ptfile.tensors import dtypes, strides
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Bytes, Storage
from ptfile.tensors.tensor import Tensor

NAME = "npz"
NOTE = "__ptfile__.json"
"""The record that has ptfile's note. `numpy.load` gives it as bytes."""
_ENDING = ".npy"
_LARGEST_HEAD = 1 << 16
"""Bytes of a .npy file in which its header has to end. numpy itself reads no header of more than 10,000."""
_DTYPES = "dtypes"
_LONGEST_NAME = 1 << 15
"""Bytes. A record's may have 65,535, with the ending."""


def objection(dtype: DType) -> str:
    """What is to be said against tensors of a dtype; nothing, since any can be written as integers."""
    return "" if dtype.can_be_saved and not dtype.is_quantized else f"a tensor of {dtype}"


def allows(name: str) -> bool:
    """Whether a tensor can have this name: Windows and its zip programs see folders behind a backslash."""
    return "\\" not in name and len(name.encode()) < _LONGEST_NAME


def one_name(name: str) -> str:
    """What is equal for names of which a file has one only: some file systems make one file of `a` and `A`."""
    return name.lower()


@dataclass(frozen=True, slots=True)
class NpzFile:
    """A file that is laid out and not written yet."""

    entries: Sequence[Entry]
    heads: Sequence[bytes]
    note: bytes
    layout: Layout

    @property
    def nbytes(self) -> int:
        return self.layout.size

    def write(self, sink: Sink, feed: MakeFeed) -> None:
        """Write it to a sink that has been entered."""
        sink.expect(self.nbytes)
        writer = ZipWriter(sink, self.layout)
        with feed(self.entries) as elements:
            for entry, head in zip(self.entries, self.heads, strict=True):
                elements.write(entry, writer, head)
        writer.write(self.note)
        writer.finish()


def lay_out(entries: Sequence[Entry], note: Mapping[str, Any]) -> NpzFile:
    """The file for these tensors. Raises UnsupportedError for names that no zip file can have."""
    widths = {entry.name: entry.tensor.dtype.name for entry in entries if _numpy_type(entry.tensor.dtype) is None}
    text = json.dumps({**note, _DTYPES: widths} if widths else note, separators=(",", ":")).encode()
    heads = [npy_head(entry.tensor, bits=True) for entry in entries]
    sizes = [
        (f"{entry.name}{_ENDING}", len(head) + entry.tensor.nbytes) for entry, head in zip(entries, heads, strict=True)
    ]
    try:
        layout = plan("", [*sizes, (NOTE, len(text))])
    except ValueError as error:
        raise UnsupportedError(f"it cannot be a .npz file: {error}") from error
    return NpzFile(entries, heads, text, layout)


def _numpy_type(dtype: DType) -> np.dtype[Any] | None:
    """Numpy's own type for a dtype, if it has one without the help of ml_dtypes."""
    return None if dtype.numpy_name is None or "." in dtype.numpy_name else dtype.numpy


def npy_head(tensor: Tensor, *, bits: bool = False) -> bytes:
    """The magic and the header of a .npy file.

    bits: whether elements that numpy itself has no type for shall be integers; else they are an UnsupportedError.
    """
    return _npy_head(tensor.dtype, tensor.shape, bits)


@lru_cache(maxsize=100)
def _npy_head(dtype: DType, shape: tuple[int, ...], bits: bool) -> bytes:
    element = _numpy_type(dtype)
    if element is None and not bits:
        fix = "Have it converted: dtype='float32', --dtype float32" if dtype.is_floating_point else ""
        raise UnsupportedError(f"numpy itself has no elements of {dtype}", fix=fix)
    said = {
        "descr": np.lib.format.dtype_to_descr((element or np.dtype(f"u{dtype.itemsize}")).newbyteorder("<")),
        "fortran_order": False,
        "shape": shape,
    }
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, said)
    return buffer.getvalue()


# reading


def is_npz(reader: ZipReader) -> bool:
    """Whether a zip file is one of numpy's."""
    names = reader.records
    return bool(names) and all(name.endswith(_ENDING) or name == NOTE for name in names)


@dataclass(frozen=True, slots=True)
class _Elements:
    """The elements in a .npy file in a zip file."""

    reader: ZipReader
    record: Record
    start: int
    """Bytes of the header, which is in front of them."""
    crc: None = None

    @property
    def offset(self) -> int:
        return self.record.header_offset

    def read(self) -> Bytes:
        return np.frombuffer(self.reader.read(self.record), np.uint8)[self.start :]

    def range(self, start: int, stop: int) -> Bytes:
        made = np.empty(stop - start, np.uint8)
        place = self.reader.locate(self.record) + self.start + start
        self.reader.source.read_into(place, made.data)
        return made

    def pieces(self) -> Iterator[Bytes]:
        before = self.start
        for piece in self.reader.pieces(self.record):
            skipped = min(before, len(piece))
            before -= skipped
            if skipped < len(piece):
                yield np.frombuffer(piece, np.uint8)[skipped:]


def read(reader: ZipReader, limits: Limits) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The arrays as tensors, not read yet, and ptfile's note, if there is one.

    Raises FormatError, TensorError for elements that no tensor has, and what `ZipReader.read` raises.
    """
    if sys.byteorder != "little":
        raise UnsupportedError(".npz files are read and written on little-endian machines only")
    note = None
    if NOTE in reader.records:
        with located(record=NOTE):
            note = read_json(_utf8(bytes(reader.read(reader.records[NOTE]))), limits)
    named = note.pop(_DTYPES, {}) if type(note) is dict else {}
    tensors = {}
    for name, record in reader.records.items():
        if name != NOTE:
            with located(record=name):
                short = name.removesuffix(_ENDING)
                tensors[short] = _tensor(reader, record, named.get(short) if type(named) is dict else None)
    return tensors, note


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("it is no UTF-8 text", offset=error.start) from error


def _tensor(reader: ZipReader, record: Record, named: Any) -> Tensor:
    shape, fortran, element, start = _parse(_start_of(reader, record))
    if record.size - start != strides.numel(shape) * element.itemsize:
        raise TensorError(f"it has {record.size - start} bytes for an array of {element}, shape {shape}")
    dtype = _dtype(element, named)
    elements = _Elements(reader, record, start)
    parts = elements.range if record.method == STORED else None
    storage = Storage.deferred(record.size - start, elements.read, fetch_range=parts, origin=elements)
    stride = strides.contiguous(shape[::-1])[::-1] if fortran else strides.contiguous(shape)
    return Tensor(storage, dtype, 0, shape, stride)


def _start_of(reader: ZipReader, record: Record) -> bytes:
    if record.method != STORED:
        return bytes(reader.read(record)[:_LARGEST_HEAD])
    if record.size <= SMALL:  # those that lie together are read together
        content = bytearray(record.size)
        reader.read_into(record, memoryview(content))
        return bytes(content)
    return bytes(reader.source.read(reader.locate(record), min(record.size, _LARGEST_HEAD)))


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""By the version of the .npy format. Version 3 is for the names of fields, which no tensor has."""


def _parse(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether it is in Fortran order, dtype, and the length of the header, of a .npy file."""
    # Many arrays have the same header, and numpy takes its time for one. Version 1 says how long it is in two bytes.
    end = 10 + int.from_bytes(head[8:10], "little") if head[6:8] == b"\1\0" else len(head)
    return _parse_header(head[:end])


@lru_cache(maxsize=100)
def _parse_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    buffer = io.BytesIO(head)
    try:
        read_header = _HEADERS[np.lib.format.read_magic(buffer)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 2 wrote `3L`, which numpy reads and complains of
            shape, fortran, element = read_header(buffer)
    except Exception as error:  # numpy's parser has many ways to fail on a damaged text
        raise FormatError(f"it is no .npy file ({error})") from error
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise FormatError(f"it is an array of shape {sizes}, which cannot be")
    return sizes, fortran, element, buffer.tell()


def _dtype(element: np.dtype[Any], named: Any) -> DType:
    if named is None:
        return dtypes.from_numpy_dtype(element)
    dtype = dtypes.BY_NAME.get(named) if type(named) is str else None
    if dtype is None or element != np.dtype(f"u{dtype.itemsize}"):
        raise FormatError(f"ptfile's note has a dtype for it that it cannot have, and numpy's is {element}")
    return dtype

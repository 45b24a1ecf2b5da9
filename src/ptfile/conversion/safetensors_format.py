"""Safetensors: 8 bytes with the length of a JSON header, the header, and the tensors' bytes without gaps.

https://github.com/huggingface/safetensors#format. Files are written here, since the library wants all tensors in memory
at once; what it writes for the same tensors are the same bytes. Files that are read, the library checks first.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptfile.conversion.placing import Entry
from ptfile.errors import FormatError, UnsupportedError
from ptfile.formats.zip_records import read_json
from ptfile.limits import Limits
from ptfile.sinks import Sink
from ptfile.sources import LocalSource, Source
from ptfile.tensors import dtypes, strides
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Bytes, Storage
from ptfile.tensors.tensor import Tensor

NAME = "safetensors"
METADATA = "__metadata__"
NOTE = "ptfile"
"""The entry of the metadata that has ptfile's note."""
FORMAT = {"format": "pt"}
"""What `transformers` wants to see in the metadata of a file for PyTorch."""
_LENGTH = 8
_ALIGNMENT = 8
_LARGEST_HEADER = 100_000_000
"""MAX_HEADER_SIZE in safetensors/src/tensor.rs."""
_PIECE = 1 << 20

CODES: Mapping[str, DType] = {
    "U64": dtypes.uint64,
    "I64": dtypes.int64,
    "F64": dtypes.float64,
    "C64": dtypes.complex64,
    "F32": dtypes.float32,
    "U32": dtypes.uint32,
    "I32": dtypes.int32,
    "BF16": dtypes.bfloat16,
    "F16": dtypes.float16,
    "U16": dtypes.uint16,
    "I16": dtypes.int16,
    "F8_E5M2FNUZ": dtypes.float8_e5m2fnuz,
    "F8_E4M3FNUZ": dtypes.float8_e4m3fnuz,
    "F8_E8M0": dtypes.float8_e8m0fnu,
    "F8_E4M3": dtypes.float8_e4m3fn,
    "F8_E5M2": dtypes.float8_e5m2,
    "I8": dtypes.int8,
    "U8": dtypes.uint8,
    "F4": dtypes.float4_e2m1fn_x2,
    "BOOL": dtypes.bool,
}
"""In the order in which the library puts the tensors of a file."""
_RANKS = {dtype: (rank, code) for rank, (code, dtype) in enumerate(CODES.items())}
_HALF_BYTES = "F4"
"""Its shapes count numbers, of which a byte holds two; PyTorch's count bytes."""


def objection(dtype: DType) -> str:
    """What is to be said against tensors of a dtype; nothing for those that safetensors has."""
    return "" if dtype in _RANKS else f"a tensor of {dtype}, which safetensors does not have"


def allows(name: str) -> bool:
    """Whether a tensor can have this name."""
    return name != METADATA


@dataclass(frozen=True, slots=True)
class SafetensorsFile:
    """A file that is laid out and not written yet."""

    entries: Sequence[Entry]
    """In the order of the file."""
    header: bytes

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(entry.tensor.nbytes for entry in self.entries)

    def write(self, sink: Sink, pieces: Callable[[Entry], Iterable[Bytes]]) -> None:
        """Write it to a sink that has been entered; `pieces` gives the elements of a tensor."""
        sink.expect(self.nbytes)
        sink.write(self.header)
        for entry in self.entries:
            for piece in pieces(entry):
                sink.write(piece.data)


def lay_out(entries: Sequence[Entry], note: Mapping[str, Any]) -> SafetensorsFile:
    """The file for these tensors: by dtype, so that all are aligned, and by name. Raises UnsupportedError."""
    in_order = sorted(entries, key=lambda entry: (_RANKS[entry.tensor.dtype][0], entry.name.encode()))
    metadata = {**FORMAT, NOTE: json.dumps(note, separators=(",", ":"))}
    return SafetensorsFile(in_order, header(in_order, metadata))


def header(entries: Sequence[Entry], metadata: Mapping[str, str]) -> bytes:
    """What stands in front of the tensors' bytes, of entries that are in order. Raises UnsupportedError."""
    said: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end = 0
    for entry in entries:
        tensor = entry.tensor
        code = _RANKS[tensor.dtype][1]
        shape = list(tensor.shape)
        if code == _HALF_BYTES:
            if not shape:
                raise UnsupportedError(f"{entry.name} has no dimension to count its half bytes in")
            shape[-1] *= 2
        start, end = end, end + tensor.nbytes
        said[entry.name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > _LARGEST_HEADER:
        problem = f"the names and values take {len(text)} bytes, and safetensors files have room for {_LARGEST_HEADER}"
        raise UnsupportedError(problem, fix="Keep the .pt format, or convert to .npz")
    return len(text).to_bytes(_LENGTH, "little") + text


@dataclass(frozen=True, slots=True)
class _Range:
    """Bytes of a source."""

    source: Source
    start: int
    nbytes: int

    def read(self) -> Bytes:
        return self.range(0, self.nbytes)

    def range(self, start: int, stop: int) -> Bytes:
        made = np.empty(stop - start, np.uint8)
        self.source.read_into(self.start + start, made.data)
        return made

    def pieces(self) -> Iterator[Bytes]:
        return (self.range(start, min(start + _PIECE, self.nbytes)) for start in range(0, self.nbytes, _PIECE))


def read(source: Source, limits: Limits) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, not read yet, in the order of the file, and the metadata.

    Raises FormatError for what the library says is none, UnsupportedError if it is not installed.
    """
    if sys.byteorder != "little":
        raise UnsupportedError("safetensors files are read and written on little-endian machines only")
    length = int.from_bytes(bytes(source.read(0, _LENGTH)), "little")
    if length > _LARGEST_HEADER:
        raise FormatError(f"it is no sound safetensors file (a header of {length} bytes)")
    head = bytes(source.read(0, _LENGTH + length))
    _check(source, head)
    said = read_json(head[_LENGTH:].decode(), limits)
    metadata = said.pop(METADATA, None) or {}
    start = _LENGTH + length
    tensors = {}
    for name, facts in sorted(said.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = facts["data_offsets"]
        stored = _Range(source, start + first, last - first)
        storage = Storage.deferred(stored.nbytes, stored.read, fetch_range=stored.range, origin=stored)
        dtype, shape = _type_of(name, facts["dtype"], facts["shape"])
        tensors[name] = Tensor(storage, dtype, 0, shape, strides.contiguous(shape))
    return tensors, metadata


def _type_of(name: str, code: str, shape: list[int]) -> tuple[DType, tuple[int, ...]]:
    dtype = CODES.get(code)
    if dtype is None:
        raise UnsupportedError(f"the tensor {name[:80]!r} is of {code}, which PyTorch does not have")
    if code == _HALF_BYTES:
        if not shape or shape[-1] % 2:
            raise UnsupportedError(f"the tensor {name[:80]!r} has rows that end in the middle of a byte")
        shape = [*shape[:-1], shape[-1] // 2]
    return dtype, tuple(shape)


def _check(source: Source, head: bytes) -> None:
    """Have the library look at the file: header, dtypes, sizes, offsets without gaps."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        problem = "reading safetensors files takes the library of that name"
        raise UnsupportedError(problem, fix="pip install 'ptfile[safetensors]'") from error

    def look(path: str) -> None:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:
            raise FormatError(f"it is no sound safetensors file ({error})") from error

    if isinstance(source, LocalSource):
        look(source.name)
        return
    import tempfile

    # It reads by path. Of a file that is elsewhere it gets the header, and a hole in place of the tensors.
    with tempfile.TemporaryDirectory(prefix="ptfile") as folder:
        path = os.path.join(folder, "header")  # noqa: PTH118
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(head)
            file.truncate(source.size)
        look(path)

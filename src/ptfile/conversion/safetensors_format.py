"""Safetensors: 8 bytes with the length of a JSON header, the header, and the tensors' bytes without gaps.

https://github.com/huggingface/safetensors#format. Files are written here, since the library wants all tensors in memory
at once; what it writes for the same tensors are the same bytes. They are read by `formats.safetensors_format`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptfile.conversion.placing import Entry
from ptfile.errors import UnsupportedError
from ptfile.formats.feeding import MakeFeed
from ptfile.formats.safetensors_format import CODES, HALF_BYTES, LENGTH_SIZE
from ptfile.sinks import Sink
from ptfile.tensors.dtypes import DType

NAME = "safetensors"
METADATA = "__metadata__"
NOTE = "ptfile"
"""The entry of the metadata that has ptfile's note."""
FORMAT = {"format": "pt"}
"""What `transformers` wants to see in the metadata of a file for PyTorch."""
_ALIGNMENT = 8
_LARGEST_HEADER = 100_000_000
"""MAX_HEADER_SIZE in safetensors/src/tensor.rs."""

_RANKS = {dtype: (rank, code) for rank, (code, dtype) in enumerate(CODES.items())}


def objection(dtype: DType) -> str:
    """What is to be said against tensors of a dtype; nothing for those that safetensors has."""
    return "" if dtype in _RANKS else f"a tensor of {dtype}, which safetensors does not have"


def allows(name: str) -> bool:
    """Whether a tensor can have this name."""
    return name != METADATA


def one_name(name: str) -> str:
    """What is equal for names of which a file has one only."""
    return name


@dataclass(frozen=True, slots=True)
class SafetensorsFile:
    """A file that is laid out and not written yet."""

    entries: Sequence[Entry]
    """In the order of the file."""
    header: bytes

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(entry.nbytes for entry in self.entries)

    def write(self, sink: Sink, feed: MakeFeed) -> None:
        """Write it to a sink that has been entered."""
        sink.expect(self.nbytes)
        sink.write(self.header)
        with feed(self.entries) as batches:
            for pieces in batches:
                sink.write(pieces[0].data if len(pieces) == 1 else b"".join([piece.data for piece in pieces]))


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
        if code == HALF_BYTES:
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
    return len(text).to_bytes(LENGTH_SIZE, "little") + text

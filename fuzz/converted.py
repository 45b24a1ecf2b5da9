"""Target: safetensors files and numpy's, with ptfile's note and without, as `convert` reads them."""

from __future__ import annotations

import io
import json
import pickle
from functools import cache
from importlib import import_module
from random import Random
from typing import Any

import numpy as np

import ptfile
from fuzz import containers, notes
from fuzz.load import scratch
from fuzz.oracle import attempt, require, require_same
from ptfile._tree import storage_of, walk
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.conversion.npz_format import NOTE as NPZ_NOTE
from ptfile.conversion.reading import read_tree
from ptfile.conversion.safetensors_format import METADATA, NOTE
from ptfile.formats.safetensors_format import CODES, LENGTH_SIZE
from ptfile.machine.vm import Python2Text
from ptfile.sources import MemorySource

_LIMITS = ptfile.Limits(inflated=1 << 20)
_NAMES = ("a", "b", "x.y", "tensor")
_LARGEST = 1 << 20
"""Bytes of a tree that is written again: a note may describe gigabytes of zeros."""


def generate(rng: Random) -> bytes:
    """A file with a few tensors, as ptfile or as another program would write it."""
    if rng.random() < 0.3:
        return _npz(rng)
    header: dict[str, Any] = {}
    end = 0
    for name in rng.sample(_NAMES, rng.randrange(len(_NAMES))):
        code, dtype = rng.choice(list(CODES.items()))
        shape = rng.choice(([2, 2], [4], [], [0, 3], [1, 2, 2]))
        count = 1
        for size in shape:
            count *= size
        start, end = end, end + count * dtype.itemsize // (2 if code == "F4" else 1)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    if rng.random() < 0.7:
        header[METADATA] = {"format": "pt", NOTE: notes.generated(rng, _NAMES).decode()}
    return _safetensors(header, bytes(end))


def _npz(rng: Random) -> bytes:
    """A .npz file that ptfile has written."""
    tensors = {name: ptfile.arange(rng.randrange(4), dtype=rng.choice(list(CODES.values())[:7])) for name in "ab"}
    value: Any = {"x": tensors, "y": [tensors["a"][1:], rng.random(), {1: (2,)}]}
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    buffer.seek(0)
    ptfile.convert(buffer, scratch(), to="npz", verify=False)
    return scratch().read_bytes()


def _safetensors(header: Any, rest: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(LENGTH_SIZE, "little") + text + rest


def mutate(rng: Random, data: bytes, donor: bytes) -> bytes:
    """The header or the note changed by its values, or the file by its bytes."""
    if sniff(data[:HEAD_SIZE], len(data)) is Kind.ZIP:
        records = containers.records_of(data)
        place = next((n for n, (name, _) in enumerate(records) if name == NPZ_NOTE), None)
        if place is None or rng.random() < 0.3:
            return containers.mutated_zip(rng, data, donor)
        donated = dict(containers.records_of(donor)).get(NPZ_NOTE, b"")
        records[place] = (NPZ_NOTE, notes.mutated(rng, records[place][1], donated, _NAMES))
        return containers.zip_of(records)
    header, rest = _cut(data)
    if header is None or rng.random() < 0.15:
        return containers.mutated_bytes(rng, data, donor)
    other, _ = _cut(donor)
    metadata = header.get(METADATA)
    note = metadata.get(NOTE) if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(note, str) and rng.random() < 0.6:
        metadata[NOTE] = notes.mutated(rng, note.encode("utf-8", "replace"), b"{}", _NAMES).decode("utf-8", "replace")
        return _safetensors(header, rest)
    return _safetensors(notes.mutated(rng, json.dumps(header).encode(), json.dumps(other).encode(), _NAMES), rest)


def _cut(data: bytes) -> tuple[dict[str, Any] | None, bytes]:
    end = LENGTH_SIZE + int.from_bytes(data[:LENGTH_SIZE], "little")
    try:
        header = json.loads(data[LENGTH_SIZE:end])
    except (ValueError, RecursionError):
        return None, b""
    return (header if isinstance(header, dict) else None), data[end:]


def check(data: bytes) -> None:
    """Raise Violation where a file is not read as its own library reads it, or says something else once written."""
    _warm()
    if sniff(data[:HEAD_SIZE], len(data)) is Kind.SAFETENSORS:
        _check_beside_the_library(data)
    opened = attempt("convert", lambda: read_tree(MemorySource(data, "memory"), _LIMITS, Python2Text()).root)
    if not opened.loaded:
        return
    written = attempt("save", lambda: _written(opened.value))
    if written.loaded and written.value:
        again = attempt("load", lambda: ptfile.load(io.BytesIO(written.value)))
        if again.loaded:
            require_same("what a converted file says, and the .pt file that is made of it,", opened.value, again.value)


@cache
def _warm() -> None:
    """Have all modules imported that reading such a file takes, whatever is in it."""
    made = _safetensors({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"\0")
    ptfile.load(io.BytesIO(made))


def _check_beside_the_library(data: bytes) -> None:
    library: Any = import_module("safetensors")  # its stubs have no types

    ours = attempt("load", lambda: ptfile.load(io.BytesIO(data), limits=_LIMITS))
    try:
        theirs = dict(library.deserialize(data))
    except library.SafetensorError:
        require(not ours.loaded, "ptfile loads what the safetensors library refuses")
        return
    if ours.loaded:
        require(ours.value.keys() == theirs.keys(), f"ptfile has the tensors {list(ours.value)[:5]}")
        for name, tensor in ours.value.items():
            require(tensor.raw_array().tobytes() == bytes(theirs[name]["data"]), f"{name!r} has other bytes")


def _written(value: Any) -> bytes:
    """The bytes of a .pt file of a tree, if it is small."""
    leaves = [leaf.value for leaf in walk(value, _LIMITS)]
    sizes = [storage.nbytes() for storage in map(storage_of, leaves) if storage is not None]
    arrays = [leaf.nbytes for leaf in leaves if isinstance(leaf, np.ndarray)]
    if sum(sizes) + sum(arrays) > _LARGEST:
        return b""
    buffer = io.BytesIO()
    try:
        ptfile.save(value, buffer)
    except (RecursionError, pickle.PicklingError):  # Python's own pickler gives up; what it raises passes through
        return b""
    return buffer.getvalue()

"""Target: `ptfile.load` from end to end, on files of every format."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import ptfile
from fuzz import containers
from fuzz.oracle import Outcome, attempt, require, require_same, require_same_outcome
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.zip_reader import ZipReader
from ptfile.sources import MemorySource

_LIMITS = ptfile.Limits(inflated=1 << 20)
_NEWOBJ_EX = b"\x92"
_FLIPS = 3
"""Flipped bytes that are tried on a file that loads."""

generate = containers.generated_file


def mutate(rng: Random, data: bytes, donor: bytes) -> bytes:
    """A change that suits the format."""
    kind = sniff(data[:HEAD_SIZE], len(data))
    if kind is Kind.ZIP:
        return containers.mutated_zip(rng, data, donor)
    if kind is Kind.LEGACY:
        return containers.mutated_sequence(rng, data, donor)
    return containers.mutated_bytes(rng, data, donor)


def check(data: bytes) -> None:
    """Raise Violation for a promise that does not hold for this file."""
    safe = read(data)
    inert = read(data, unknown="inert")
    if safe.loaded:
        require_same_outcome("what loads with and without unknown='inert'", safe, inert)
    if inert.loaded:
        require_same_outcome("two loads of one file", inert, read(data, unknown="inert"))
        # With the default protocol, Python's own pickler writes NEWOBJ_EX as another call.
        _check_saved_again(inert.value, 4 if _NEWOBJ_EX in data else 2)
        if has_checksums(data):
            _check_flipped(data, inert.value)
    _check_mapped(data, inert)


def read(data: bytes, **options: Any) -> Outcome:
    """What `load` makes of the bytes."""
    return attempt("load", lambda: ptfile.load(io.BytesIO(data), limits=_LIMITS, **options))


def _check_saved_again(value: Any, protocol: int) -> None:
    """What was loaded is saved, if it can be, to a file from which it is loaded again."""
    buffer = io.BytesIO()
    saved = attempt("save", lambda: _saved(value, buffer, protocol))
    if saved.loaded and saved.value:
        again = read(buffer.getvalue(), unknown="inert")
        require(again.loaded, f"what was loaded and saved again gives {again}")
        require_same("what was loaded, and what was loaded after saving it again,", value, again.value)


def _saved(value: Any, buffer: io.BytesIO, protocol: int) -> bool:
    try:
        ptfile.save(value, buffer, pickle_protocol=protocol)
    except (RecursionError, pickle.PicklingError):  # Python's own pickler gives up; what it raises passes through
        return False
    return True


def _check_flipped(data: bytes, value: Any) -> None:
    """One flipped byte gives an error, or the value as it was."""
    rng = Random(zlib.crc32(data))
    for _ in range(_FLIPS):
        place = rng.randrange(len(data))
        flipped = bytearray(data)
        flipped[place] ^= rng.randrange(1, 256)
        damaged = read(bytes(flipped), unknown="inert")
        if damaged.loaded:
            require_same(f"a file and the same with byte {place} set to {flipped[place]}", value, damaged.value)


def has_checksums(data: bytes) -> bool:
    """Whether it is a zip file in which every record with content has a checksum."""
    try:
        reader = ZipReader(MemorySource(data, "memory"))
    except ptfile.PtfileError:
        return False
    return all(record.crc or not record.size for record in reader.records.values())


def _check_mapped(data: bytes, eager: Outcome) -> None:
    """A map gives the same; but checksums of storages it does not look at."""
    path = scratch()
    path.write_bytes(data)
    name = str(path)
    from_path = attempt("load of a path", _loader(name, mmap=False), name)
    require_same_outcome("what loads from a stream and from a path", eager, from_path)
    mapped = attempt("load with mmap", _loader(name, mmap=True), name)
    if not is_checksum(eager.error):  # of which a map knows nothing
        require_same_outcome("what loads with and without mmap", eager, mapped)


def _loader(path: str, *, mmap: bool) -> Callable[[], Any]:
    return lambda: ptfile.load(path, mmap=mmap, unknown="inert", limits=_LIMITS)


def is_checksum(error: Exception | None) -> bool:
    """Whether an error says that the bytes of a storage have changed."""
    record = getattr(error, "record", None) or ""
    return "checksum" in str(error) and record.rpartition("/")[0].rpartition("/")[2] in ("data", "tensors", "constants")


@cache
def scratch() -> Path:
    """A file of this process's own, in memory where the system has a place for that."""
    memory = Path("/dev/shm")
    handle, name = tempfile.mkstemp(".pt", "ptfile-fuzz-", memory if memory.is_dir() else None)
    os.close(handle)
    import atexit

    atexit.register(lambda: Path(name).unlink(missing_ok=True))
    return Path(name)

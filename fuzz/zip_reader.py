"""Target: the zip container by itself. Records are read one way, or an error; the same from memory and from a file."""

from __future__ import annotations

import io
import warnings
import zipfile
from random import Random

from fuzz import containers
from fuzz.oracle import Outcome, attempt, require, require_same_outcome
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_structs import STORED
from ptfile.limits import Limits
from ptfile.sources import FileObjectSource, MemorySource, Source

_LIMITS = Limits(inflated=1 << 20)


def generate(rng: Random) -> bytes:
    """A file around a generated pickle."""
    return containers.generated_file(rng)


mutate = containers.mutated_zip


def check(data: bytes) -> None:
    """Raise Violation for a promise that does not hold for this file."""
    eager = attempt("the zip reader", lambda: _records(MemorySource(data, "memory")))
    streamed = attempt("the zip reader on a file object", lambda: _records(FileObjectSource(io.BytesIO(data))))
    require_same_outcome("the records in memory and of a file object", eager, streamed)
    if eager.loaded:
        _check_against_zipfile(data, eager)


def _records(source: Source) -> dict[str, bytes | str]:
    """The content of every record, or the kind of error that reading it is."""
    reader = ZipReader(source, _LIMITS)
    stored = 0
    found: dict[str, bytes | str] = {}
    for name, record in reader.records.items():
        outcome = attempt(f"reading {name!r}", lambda: bytes(reader.read(record)))  # noqa: B023  (called at once)
        found[name] = outcome.value if outcome.loaded else type(outcome.error).__name__
        if outcome.loaded and record.method == STORED:
            stored += record.size
            payload = reader.locate(record)
            require(found[name] == source.read(payload, record.size), f"{name!r} is not where it was located")
    require(stored <= source.size, "records overlap")
    return found


def _check_against_zipfile(data: bytes, outcome: Outcome) -> None:
    """What Python's own reader makes of a record is the same, where it reads it too."""
    theirs: dict[str, bytes] = {}
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as file:
            warnings.simplefilter("ignore")
            for info in file.infolist():
                if info.file_size <= 1 << 20:
                    theirs[info.filename] = file.read(info)
    except Exception:
        pass
    for name, content in theirs.items():
        ours = outcome.value.get(name)
        if isinstance(ours, bytes):
            require(ours == content, f"the record {name!r} has other bytes than for zipfile")

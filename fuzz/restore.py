"""Target: ptfile's note in converted files. The tree that it describes, or an error; and that tree has such a note."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import ptfile
from fuzz import notes
from fuzz.oracle import attempt, require
from ptfile._digest import content_hash
from ptfile.conversion.describing import describe
from ptfile.conversion.restoring import restore
from ptfile.formats.zip_records import read_json
from ptfile.tensors.tensor import Tensor

_LIMITS = ptfile.Limits()
_NAMES = ("a", "b", "c", "d")
_FEW = 1 << 16
"""Bytes of a storage or array that is looked at: a note may describe gigabytes of zeros."""


def generate(rng: Random) -> bytes:
    """A note."""
    return notes.generated(rng, _NAMES)


def mutate(rng: Random, data: bytes, donor: bytes) -> bytes:
    """The note with other values in it."""
    return notes.mutated(rng, data, donor, _NAMES)


def check(data: bytes) -> None:
    """Raise Violation for a note that gives something other than a tree which can be described again."""
    text = data.decode("utf-8", "replace")
    parsed = attempt("read_json", lambda: read_json(text, _LIMITS))
    if not parsed.loaded:
        return
    tensors = _tensors(parsed.value)
    if not attempt("what is said of the storages", lambda: _are_small(parsed.value)).value:
        return
    made = attempt("restore", lambda: restore(parsed.value, tensors, _LIMITS))
    if not made.loaded:
        return
    again = attempt("describe", lambda: _again(made.value))
    is_too_much = isinstance(again.error, ptfile.LimitError) or "nested too deep" in str(again.error)
    require(again.loaded or is_too_much, f"what was restored cannot be described: {again}")
    if again.loaded:
        hashes = [attempt("hash", lambda: content_hash(value)) for value in (made.value, again.value)]  # noqa: B023
        same = hashes[0].value == hashes[1].value
        require(same, "what was restored is not what it is when it was described and restored again")


def _tensors(note: Any) -> dict[str, Tensor]:
    """Those of the file: as many as the note speaks of, since it has to speak of all."""
    file = {
        "a": ptfile.arange(6),
        "b": ptfile.arange(6, dtype=ptfile.float32).reshape(2, 3),
        "c": ptfile.zeros(0, 2),
        "d": ptfile.tensor([True, False, True]),
    }
    said = json.dumps(note)
    return {name: tensor for name, tensor in file.items() if f'"{name}"' in said}


def _are_small(note: Any) -> bool:
    """Whether nothing takes more memory than is good for a fuzzer."""
    numbers: list[int] = []
    waiting = [note]
    while waiting:
        value = waiting.pop()
        if type(value) is int:
            numbers.append(value)
        waiting.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    return not any(_FEW < number < 1 << 40 for number in numbers)


def _again(value: Any) -> Any:
    found = describe(value, objection=lambda _: "", allows=lambda _: True, one_name=lambda name: name, leave_out=False)
    tensors = {entry.name: entry.alone() for entry in found.entries}
    return restore(read_json(json.dumps(found.note), _LIMITS), tensors, _LIMITS)

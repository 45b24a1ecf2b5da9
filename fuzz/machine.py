"""Target: the bytes of one pickle, run by the machine under the policy, over five small storages."""

from __future__ import annotations

import pickletools
import time
from random import Random
from typing import Any, Literal

from fuzz import pickles
from fuzz.oracle import Outcome, attempt, require, require_same, require_same_outcome
from fuzz.values import SIZES
from ptfile.errors import PtfileError, TensorError
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.storages import LoadedStorages
from ptfile.limits import Limits
from ptfile.machine.decoder import decode, find_end
from ptfile.machine.vm import Python2Text
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

SECONDS = 3.0
"""Processor time that the longest of inputs may take, several times over."""
_LIMITS = Limits()

generate = pickles.generated
mutate = pickles.mutated


def check(data: bytes) -> None:
    """Raise Violation for a promise that does not hold for this pickle."""
    start = time.process_time()
    plain = _run(data, "error")
    inert = _run(data, "inert")
    if plain.loaded:
        require_same_outcome("what a pickle loads to with and without unknown='inert'", plain, inert)
        require_same("two runs of one pickle", plain.value, _run(data, "error").value)
    elif inert.loaded:
        require_same("two runs of one pickle", inert.value, _run(data, "inert").value)
    _run(data, "inert", "bytes")
    require(time.process_time() - start < SECONDS, f"{len(data)} bytes took {time.process_time() - start:.1f} s")
    _check_decoder(data)


def _run(data: bytes, unknown: Literal["error", "inert"], encoding: str = "utf-8") -> Outcome:
    runner = SafeRunner(_LIMITS, unknown, Python2Text(encoding))
    return attempt(f"the machine (unknown={unknown})", lambda: runner.run(data, small_storages().load))


def small_storages() -> LoadedStorages:
    """In place of a file: five storages, named by their numbers."""
    return LoadedStorages(_storage, None)


def _storage(key: str, nbytes: int, _: DType | None) -> Storage:
    if key not in map(str, range(len(SIZES))) or nbytes != SIZES[int(key)]:
        raise TensorError(f"there is no storage {key} of {nbytes} bytes")
    return Storage(bytes(range(nbytes)))


def _check_decoder(data: bytes) -> None:
    """Opcodes are where CPython's `pickletools` sees them, where both accept the pickle."""
    ours: list[tuple[str, int]] = []
    try:
        ours = [(opcode.name, position) for position, opcode, _ in decode(data)]
    except PtfileError:
        return
    require(find_end(data) == ours[-1][1] + 1, "the end of the pickle is found in two places")
    theirs = _genops(data)
    require(theirs is None or ours == theirs, "the decoder disagrees with pickletools about where opcodes are")


def _genops(data: bytes) -> list[tuple[str, int]] | None:
    try:
        found: list[tuple[Any, Any, Any]] = list(pickletools.genops(data))
    except Exception:
        return None
    return [(opcode.name, position) for opcode, _, position in found]


def seeds(rng: Random) -> list[bytes]:
    """Pickles that the generator makes."""
    return [generate(rng) for _ in range(64)]

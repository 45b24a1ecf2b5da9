"""The table of what is fuzzed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz import converted, lazy, load, machine, parts, proof, restore, scan, strides, zip_reader

CORPUS = Path(__file__).parent / "corpus"
"""Folders with a file for each input."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that takes bytes from outside."""

    check: Callable[[bytes], None]
    """Raises `Violation` for an input for which a promise does not hold."""
    generate: Callable[[Random], bytes]
    """A new input."""
    mutate: Callable[[Random, bytes, bytes], bytes]
    """From an input, and another to take parts from, to a changed one."""
    largest: int
    """Bytes of the largest input that the fuzzer tries."""
    corpus: str
    """The folder with its committed inputs: targets that take the same kind of bytes share one."""


TARGETS: Mapping[str, Target] = {
    "machine": Target(machine.check, machine.generate, machine.mutate, 4_096, "machine"),
    "proof": Target(proof.check, proof.generate, proof.mutate, 4_096, "machine"),
    "zip_reader": Target(zip_reader.check, zip_reader.generate, zip_reader.mutate, 8_192, "load"),
    "load": Target(load.check, load.generate, load.mutate, 8_192, "load"),
    "lazy": Target(lazy.check, lazy.generate, lazy.mutate, 8_192, "load"),
    "scan": Target(scan.check, scan.generate, scan.mutate, 8_192, "load"),
    "strides": Target(strides.check, strides.generate, strides.mutate, 128, "strides"),
    "parts": Target(parts.check, parts.generate, parts.mutate, 128, "strides"),
    "converted": Target(converted.check, converted.generate, converted.mutate, 8_192, "converted"),
    "restore": Target(restore.check, restore.generate, restore.mutate, 4_096, "restore"),
}


def inputs(name: str) -> list[Path]:
    """The committed inputs of a target."""
    return sorted(path for path in (CORPUS / TARGETS[name].corpus).iterdir() if path.is_file())

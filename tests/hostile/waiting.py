"""Cases whose right answer ptfile does not give yet, with the reason: the tests expect them to fail, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    reason: str
    ways: tuple[str, ...] = ("path", "file", "mmap", "lazy", "inert", "inspect", "torch")


WAITING: Mapping[str, Waiting] = {}


def waits(case: str, way: str) -> str | None:
    """Why a way does not answer rightly yet; None if it does."""
    found = WAITING.get(case)
    return found.reason if found and way in found.ways else None

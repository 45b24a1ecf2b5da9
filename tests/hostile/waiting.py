"""Cases whose right answer ptfile does not give yet, with the reason: the tests expect them to fail, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.hostile import cases_pickles


@dataclass(frozen=True, slots=True)
class Waiting:
    reason: str
    ways: tuple[str, ...] = ("path", "file", "mmap", "lazy", "inert", "inspect", "torch")


_DEPTH = "nesting without marks is not limited"
_COLLISIONS = "keys that collide are not counted"
_OF_PTFILE = ("path", "file", "mmap", "lazy", "inert", "inspect")
_RECORDS = ("inert", "inspect")
_UNKNOWN_TO_PYTORCH = (
    "22-in a defaultdict", "22-as Decimals", "22-as Fractions", "24-deques", "24-defaultdicts", "24-states", "24-calls",
)  # fmt: skip
"""The drop-in refuses their names."""

WAITING: Mapping[str, Waiting] = {
    **{case.id: Waiting(_COLLISIONS) for case in cases_pickles.COLLISIONS},
    **{case.id: Waiting(_DEPTH) for case in cases_pickles.DEEP if "marks" not in case.name and not case.but},
    **{name: Waiting(_COLLISIONS if name.startswith("22") else _DEPTH, _OF_PTFILE) for name in _UNKNOWN_TO_PYTORCH},
    **{case.id: Waiting(_DEPTH, _RECORDS) for case in cases_pickles.DEEP if case.but},
    "29-FLOAT of a million digits": Waiting("the text of a float may have any length"),
}


def waits(case: str, way: str) -> str | None:
    """Why a way does not answer rightly yet; None if it does."""
    found = WAITING.get(case)
    return found.reason if found and way in found.ways else None

"""Bounds on what a file may make ptfile do, far above what any honest checkpoint needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one checkpoint may cost. Every number that a file states is held against these first."""

    pickle_size: int = 1 << 30
    """Bytes of one pickle. The pickle of a million tensors is about 120 MB."""
    depth: int = 1_000
    """Marks that a pickle has open at once: containers inside containers, as picklers write them. PyTorch's own pickler
    gives up at about 500, by Python's recursion limit."""
    integer_digits: int = 4_300
    """Decimal digits of one integer in JSON: Python's own default, to which pickles are held by Python itself."""
    records: int = 1 << 24
    """Records of one container."""
    inflated: int = 64 << 20
    """Bytes that one deflated record may inflate to when it inflates more than `inflate_ratio` times."""
    inflate_ratio: int = 200
    """Bytes out for each byte in, above which `inflated` holds."""

"""Bounds on what a file may make ptfile do, far above what any honest checkpoint needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one checkpoint may cost. Every number that a file states is held against these first.

    The defaults are such that what a file costs, in time and in memory, is at most proportional to its size, but for a
    fixed sum of about a second and a gigabyte. What comes nearest to them among honest files is in `docs/limits.md`.
    """

    pickle_size: int = 1 << 30
    """Bytes of one pickle. The pickle of a million tensors is about 120 MB."""
    opcodes: int = 1 << 28
    """Opcodes of one pickle."""
    memo: int = 1 << 26
    """Entries in the memo of one pickle."""
    names: int = 1 << 16
    """Different names of classes and functions in one pickle."""
    text_size: int = 1 << 28
    """Bytes of one text, or of one bytes object, in a pickle."""
    integer_digits: int = 4_300
    """Decimal digits of one integer: Python's own default for text."""
    depth: int = 1_000
    """Containers inside containers. PyTorch's own pickler gives up at about 500, by Python's recursion limit."""
    shared: int = 1 << 24
    """What naming one thing in a pickle again and again may come to, beyond 16 for each byte of the pickle: values that
    a walk through the object meets, elements and bytes that calls are given, parts of keys that are hashed."""
    records: int = 1 << 24
    """Records of one container."""
    inflated: int = 64 << 20
    """Bytes that one deflated record may inflate to when it inflates more than `inflate_ratio` times."""
    inflate_ratio: int = 200
    """Bytes out for each byte in, above which `inflated` holds."""

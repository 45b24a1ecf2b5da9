"""A file cut off at a hundred places: what is salvaged of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ptfile
from ptfile.containers.zip_directory import read_directory
from ptfile.limits import Limits
from ptfile.sources import MemorySource

TENSORS = 40
PLACES = 100
_ELEMENTS = 300


@dataclass(frozen=True)
class Cut:
    """One file cut off, and what came of it."""

    length: int
    """Bytes that are left."""
    whole: int
    """Tensors whose bytes lie before the cut."""
    salvaged: int
    """Tensors in the repaired file that are equal to what was saved."""
    said: str
    """What `load` says."""


def checkpoint() -> dict[str, dict[str, ptfile.Tensor]]:
    """Forty tensors of other numbers each, two of them on one storage."""
    tensors = {f"layer.{number}": ptfile.arange(_ELEMENTS) + 1000 * number for number in range(TENSORS - 1)}
    return {"model": {**tensors, "tied": tensors["layer.7"]}}


def as_bytes(value: object) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    return buffer.getvalue()


def places(data: bytes) -> list[int]:
    """A hundred lengths over the whole file, its very end among them."""
    return [len(data) * number // PLACES for number in range(1, PLACES)] + [len(data) - 1]


def storage_ends(data: bytes) -> list[int]:
    """Where the bytes of each storage end in a whole file, in the order of the keys."""
    directory = read_directory(MemorySource(data), Limits())
    ends = []
    for name, record in directory.records.items():
        if "/data/" in name:
            start = data.index(name.encode(), record.header_offset) + len(name)
            ends.append(start + 4 + int.from_bytes(data[start + 2 : start + 4], "little") + record.size)
    return ends


def cuts(folder: Path) -> Iterator[Cut]:
    """Cut, load, repair, compare. Raises AssertionError if a tensor comes back that is not equal."""
    tree = checkpoint()
    data, expected = as_bytes(tree), {name: tensor.numpy() for name, tensor in tree["model"].items()}
    ends = storage_ends(data)
    for length in places(data):
        broken, out = folder / "broken.pt", folder / "out.pt"
        broken.write_bytes(data[:length])
        said = ""
        try:
            ptfile.load(broken)
        except ptfile.FormatError as error:
            said = str(error)
        salvaged = repaired(broken, out)
        for name, tensor in salvaged.items():
            np.testing.assert_array_equal(tensor.numpy(), expected[name])
        whole = sum(end <= length for end in ends)
        yield Cut(length, whole + (whole > 7), len(salvaged), said)


def repaired(broken: Path, out: Path) -> dict[str, ptfile.Tensor]:
    """The tensors in what a file is repaired to; none if its pickle is cut off."""
    try:
        ptfile.repair(broken, out)
    except ptfile.FormatError as error:
        if error.record != "data.pkl":
            raise
        return {}
    found: dict[str, ptfile.Tensor] = ptfile.load(out)["model"]
    return found

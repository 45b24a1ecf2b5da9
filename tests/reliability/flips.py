"""Every bit of a small file flipped, one at a time: what each way to read it makes of that."""

from __future__ import annotations

import io
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import ptfile
from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_directory import read_directory
from ptfile.limits import Limits
from ptfile.sources import MemorySource

Outcome: TypeAlias = Literal["error", "same", "different", "found", "missed"]
Counts: TypeAlias = "Mapping[tuple[str, str], Counter[Outcome]]"
"""By part of the file and way to read it."""

LOCAL = ("signature", "version", "flags", "method", "time", "date", "crc", "size", "size", "lengths", "lengths")
CENTRAL = (
    "signature", "version", "version", "flags", "method", "time", "date", "crc", "size", "size", "lengths", "lengths",
    "lengths", "disk", "attributes", "attributes", "offset",
)  # fmt: skip
END64 = ("signature", "length", "version", "version", "disk", "disk", "count", "count", "size", "offset")
LOCATOR = ("signature", "disk", "offset", "disk")
END = ("signature", "disk", "disk", "count", "count", "size", "offset", "lengths")

NOT_READ = (".format_version", ".storage_alignment", ".data/serialization_id")
"""Records that no load reads."""

MEANINGLESS = frozenset({"padding", "version", "time", "date", "attributes"})
"""Fields of a zip file that tell a reader of checkpoints nothing."""
ALMOST = {
    # A flag says that a descriptor follows, which its signature says as well; two are about deflating, which nobody
    # does; and one says that a name is UTF-8, as any ASCII name is.
    "flags": "flags about what is not there, or is plain without them",
    # What the header may leave out to the descriptor it may also say; one bit makes 1 of 0, and the size may be 1.
    "size": "a size that was left out, now said, and rightly",
    "disk": "0 disks or 1",
}
"""Fields in which some bits tell nothing, and why."""
LAZY = frozenset({"storages", "header: crc", "directory: crc", "descriptor: crc"})
"""Parts of a file about which the ways to read differ: not all of them check the checksum of a storage."""


def parts(data: bytes) -> list[str]:
    """For each byte of a zip file written by PyTorch or ptfile, what it is: `header: crc`, `data.pkl`, `storages`."""
    directory = read_directory(MemorySource(data), Limits())
    what = [""] * len(data)

    def name(at: int, layout: Any, fields: tuple[str, ...], heading: str) -> int:
        for kind, field in zip(_formats(layout), fields, strict=True):
            size = struct.calcsize("<" + kind)
            what[at : at + size] = [f"{heading}: {field}"] * size
            at += size
        return at

    def fill(at: int, length: int, text: str) -> int:
        what[at : at + length] = [text] * length
        return at + length

    for record in directory.records.values():
        fields = zs.LOCAL.unpack_from(data, record.header_offset)
        at = name(record.header_offset, zs.LOCAL, LOCAL, "header")
        at = fill(at, fields[9], "header: name")
        at = fill(at, 2, "header: padding")  # the two letters that say that it is padding
        at = fill(at, 2, "header: lengths")
        at = fill(at, fields[10] - zs.EXTRA.size, "header: padding")
        at = fill(at, record.size, _content(record.name.partition("/")[2]))
        if record.size:
            name(at, zs.DESCRIPTOR, ("signature", "crc", "size", "size"), "descriptor")
    at = directory.offset
    for _ in directory.records:
        fields = zs.CENTRAL.unpack_from(data, at)
        at = fill(name(at, zs.CENTRAL, CENTRAL, "directory"), fields[10], "directory: name")
    at = name(at, zs.END64, END64, "end")
    at = name(at, zs.LOCATOR, LOCATOR, "end")
    at = name(at, zs.END, END, "end")
    assert at == len(data)
    assert all(what)
    return what


def _formats(layout: Any) -> Iterator[str]:
    digits = ""
    for character in layout.format.lstrip("<"):
        digits += character
        if character.isalpha():
            yield digits
            digits = ""


def _content(record: str) -> str:
    if record.startswith("data/"):
        return "storages"
    return "records that load never reads" if record in NOT_READ else record


def bytes_of(value: object) -> bytes:
    """What a value is saved to. Byte identity of what is saved is what tells that two values are the same."""
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    return buffer.getvalue()


def flips(data: bytes) -> Iterator[tuple[int, int]]:
    """(place in bytes, mask) of every bit."""
    return ((place, 1 << bit) for place in range(len(data)) for bit in range(8))


class Flipper:
    """One file in memory and on a disk, with one bit flipped at a time."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.whole = data
        self.value = bytes_of(ptfile.load(io.BytesIO(data)))
        self.path = path
        path.write_bytes(data)
        self._file = os.open(path, os.O_WRONLY)

    def count(self) -> Counts:
        """The outcomes of all flips, by what was flipped and the way to read."""
        what = parts(self.whole)
        counts: dict[tuple[str, str], Counter[Outcome]] = {}
        for place, mask in flips(self.whole):
            for way, outcome in self.outcomes(place, mask, lazy=what[place] in LAZY).items():
                counts.setdefault((what[place], way), Counter())[outcome] += 1
        return counts

    def outcomes(self, place: int, mask: int, *, lazy: bool) -> dict[str, Outcome]:
        """By the way to read; those that leave storages for later only if wanted."""
        flipped = bytearray(self.whole)
        flipped[place] ^= mask
        data = bytes(flipped)
        found: dict[str, Outcome] = {
            "load": self._outcome(lambda: ptfile.load(io.BytesIO(data))),
            "verify": "missed" if ptfile.verify(io.BytesIO(data)).ok else "found",
        }
        if lazy:
            os.pwrite(self._file, data[place : place + 1], place)
            found["open"] = self._outcome(lambda: ptfile.open(io.BytesIO(data)).root)
            found["mmap"] = self._outcome(lambda: ptfile.load(self.path, mmap=True))
            os.pwrite(self._file, self.whole[place : place + 1], place)
        return found

    def close(self) -> None:
        os.close(self._file)

    def _outcome(self, read: Callable[[], Any]) -> Outcome:
        try:
            value = bytes_of(read())  # lazy tensors are read here
        except ptfile.PtfileError:
            return "error"
        return "same" if value == self.value else "different"


def small_files() -> dict[str, bytes]:
    """Files of one or two KiB, by what is in them."""
    shared = ptfile.tensor([1.5, -2.5, 3.0])
    tree = {
        "a": shared,
        "more": {"view": shared[1:], "half": ptfile.ones(3, dtype=ptfile.float16)},
        "flags": [ptfile.tensor([True, False])],
        "epoch": 3,
    }
    return {"one tensor": bytes_of(ptfile.tensor([0, 1, 2, 3, 4])), "a dict": bytes_of(tree)}

"""Files changed as files: taken apart into records, changed in one of them or in what is around, and put together."""

from __future__ import annotations

import dataclasses
import io
import pickletools
import zipfile
from random import Random
from typing import Any

from tests.formats.old_files import MAGIC, legacy, pickled
from tests.hostile.zip_builder import Entry, Zip

from fuzz import pickles
from fuzz.values import NUMBERS, TEXTS, any_value
from ptfile.containers import zip_structs as zs

_NAMES = ("data.pkl", "version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
_ODD_NAMES = (
    "constants.pkl",
    "model.json",
    "extern_modules",
    "archive_format",
    "code/a.py",
    "data/0",
    "tensors/0",
    "../x",
    "",
)
_CONTENTS = (
    b"",
    b"little",
    b"big",
    b"1",
    b"3\n",
    b"10",
    b"64",
    b"{}",
    b"[]",
    b"\x80\x02}.",
    b"\x80\x02).",
    b"\xff" * 9,
)
_FIELDS = (b"\0", b"\0\0\0\0", b"\x01\0\x08\0", b"PK\x05\x06", b"FB\x02\0ZZ", b"\x01\0\x10\0" + b"\xff" * 16)


def mutated_zip(rng: Random, data: bytes, donor: bytes) -> bytes:
    """A zip file with another record, another pickle in it, or one field that lies."""
    records = records_of(data)
    if not records or rng.random() < 0.15:
        return mutated_bytes(rng, data, donor)
    kind = rng.randrange(10)
    place = rng.randrange(len(records))
    if kind < 6:
        place = next((n for n, (name, _) in enumerate(records) if name.endswith(".pkl")), place)
        others = [content for name, content in records_of(donor) if name.endswith(".pkl")]
        changed = pickles.mutated(rng, records[place][1], rng.choice(others or [b""]))
        records[place] = (records[place][0], changed)
    elif kind == 6:
        records[place] = (records[place][0], mutated_bytes(rng, records[place][1], rng.choice(_CONTENTS)))
    elif kind == 7:
        root = records[0][0].partition("/")[0]
        name, content = rng.choice(_NAMES + _ODD_NAMES), rng.choice((*_CONTENTS, pickles.generated(rng)))
        records.insert(place, (f"{root}/{name}", content))
    elif kind == 8:
        del records[place]
    else:
        return _lying(rng, records)
    return zip_of(records, rng.random() < 0.1)


def records_of(data: bytes) -> list[tuple[str, bytes]]:
    """The records of a zip file; none if it is not one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            if sum(info.file_size for info in file.infolist()) > 1 << 20:
                return []
            return [(info.filename, file.read(info)) for info in file.infolist()]
    except Exception:
        return []


def zip_of(records: list[tuple[str, bytes]], deflated: bool = False) -> bytes:
    """A sound zip file of these records."""
    return Zip(_entries(records, deflated)).build()


def _entries(records: list[tuple[str, bytes]], deflated: bool = False) -> list[Entry]:
    method = zs.DEFLATED if deflated else zs.STORED
    return [Entry(name.encode("utf-8", "replace")[:60_000], content, method) for name, content in records]


def _lying(rng: Random, records: list[tuple[str, bytes]]) -> bytes:
    """A zip file that lies in one to three fields."""
    entries = _entries(records, rng.random() < 0.2)
    archive = Zip(entries, zip64=rng.random() < 0.5)
    for _ in range(rng.randrange(1, 4)):
        target: Any = rng.choice((archive, rng.choice(entries)))
        field = rng.choice(dataclasses.fields(target))
        if field.name not in ("entries", "content", "in_file"):
            old = getattr(target, field.name)
            setattr(target, field.name, _lie(rng, field.name, old))
    try:
        return archive.build()
    except Exception:
        return zip_of(records)


def _lie(rng: Random, name: str, old: Any) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, bytes) or name in ("payload", "descriptor", "local_name"):
        return rng.choice(
            (*_FIELDS, (old or b"")[:-1], (old or b"") + b"\0", rng.choice(TEXTS).encode("utf-8", "replace"))
        )
    number = rng.choice((*NUMBERS[:26], rng.randrange(300)))
    return number if rng.random() < 0.8 or old is None else old + rng.choice((-1, 1))


def mutated_bytes(rng: Random, data: bytes, donor: bytes) -> bytes:
    """Some bytes changed, dropped or put in."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(changed) + 1)
        kind = rng.randrange(5)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place < len(changed):
            changed[place] = rng.randrange(256)
        elif kind == 2:
            del changed[place : place + rng.choice((1, 4, 64))]
        elif kind == 3:
            start = rng.randrange(len(donor) + 1)
            changed[place:place] = donor[start : start + rng.choice((1, 4, 64))]
        else:
            changed[place : place + 4] = rng.choice(NUMBERS).to_bytes(40, "little", signed=True)[:4]
    return bytes(changed)


def mutated_sequence(rng: Random, data: bytes, donor: bytes) -> bytes:
    """A legacy file: five pickles, of which one is changed, and what follows."""
    ends = [0]
    try:
        while len(ends) < 6:
            stops = [position for opcode, _, position in pickletools.genops(data[ends[-1] :]) if opcode.name == "STOP"]
            ends.append(ends[-1] + (stops[0] or 0) + 1)
    except Exception:
        pass
    if len(ends) < 2 or rng.random() < 0.2:
        return mutated_bytes(rng, data, donor)
    number = rng.choice((len(ends) - 1, len(ends) - 2, min(4, len(ends) - 1)))
    start, end = ends[max(number, 1) - 1], ends[max(number, 1)]
    return data[:start] + pickles.mutated(rng, data[start:end], donor) + data[end:]


def generated_file(rng: Random) -> bytes:
    """A file of the zip or the legacy format around a pickle that the generator makes."""
    body = pickles.generated(rng)
    storages = [bytes(range(size)) for size in (0, 4, 8, 24, 64)]
    if rng.random() < 0.8:
        records = [("a/data.pkl", body), ("a/version", b"3\n")]
        return zip_of(records + [(f"a/data/{key}", content) for key, content in enumerate(storages)])
    head = pickled(MAGIC) + pickled(1001) + pickled({"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    return head + b"\x80\x02" + any_value(rng, 3) + b"." + pickled([]) if rng.random() < 0.5 else legacy([1, "a"])

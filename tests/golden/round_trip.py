"""Save what was loaded from a file of the corpus, and compare the bytes."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ptfile
from tests.golden.walk import Node

_PICKLE = "data.pkl"
_STREAM_ROOT = "archive"
"""The folder inside a file that was saved to a stream, not to a path."""
_OPTIONS = {"pickle_protocol", "_disable_byteorder_record"}
"""Arguments of `save` that the corpus tells; the pickle module is not among them, for inert records need Python's."""
_OPTIONS_OF_CASES = {"no_byteorder_record": {"_disable_byteorder_record": True}}
"""Options that only the name of a case tells."""
_NUMPY_NAMES = (b"cnumpy._core.", b"cnumpy.core.")
"""How numpy 2 and numpy 1 name their modules in a pickle."""


def save_again(value: Any, path: Path, description: Node, folder: Path) -> bytes:
    """The bytes that a value is saved to, under the name and with the options that the file at `path` has."""
    options = {name: option for name, option in (description.get("save_kwargs") or {}).items() if name in _OPTIONS}
    options |= _OPTIONS_OF_CASES.get(description["case"], {})
    if "storage_alignment" in description:
        options["storage_alignment"] = description["storage_alignment"]
    if "crc32" in description:
        options["checksum"] = description["crc32"]
    root = _root(path)
    if root == _STREAM_ROOT:
        buffer = io.BytesIO()
        ptfile.save(value, buffer, **options)
        return buffer.getvalue()
    # The corpus has renamed some files after they were saved.
    target = folder / (path.name if path.name.startswith(f"{root}.") else f"{root}.pt")
    ptfile.save(value, target, **options)
    return target.read_bytes()


def _root(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()[0].partition("/")[0]


def pickle_record(data: bytes) -> bytes:
    """The pickle inside a file. Names of numpy 2 are given as those of numpy 1: ours depend on the numpy that runs."""
    start, size = _place_of_pickle(data)
    return data[start : start + size].replace(*_NUMPY_NAMES)


def _place_of_pickle(data: bytes) -> tuple[int, int]:
    # Not by reading it with zipfile, which would want a checksum where PyTorch was told to leave it out.
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        record = next(info for info in archive.infolist() if info.filename.rpartition("/")[2] == _PICKLE)
    lengths = data[record.header_offset + 26 : record.header_offset + 30]  # of the name and the extra field
    start = record.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    return start, record.file_size


def without_keys(pickle: bytes) -> list[tuple[str, str]]:
    """The pickle's opcodes, the keys of storages replaced by the order in which they come.

    PyTorch up to 1.8 writes addresses for keys, as a new string each time; whether a string is written again or
    referred to is left out, and so are frames, whose size depends on it.
    """
    opcodes = [(name, argument) for name, argument in _without_memo_of_strings(pickle) if name != "FRAME"]
    keys: dict[str, str] = {}
    for place, (_, text) in enumerate(opcodes):
        if text == "storage":  # ("storage", class, key, …), where the class is one opcode or three
            after = range(place + 1, min(place + 5, len(opcodes)))
            for key_place in (later for later in after if _is_key(opcodes[later][1])):
                name, key = opcodes[key_place]
                opcodes[key_place] = (name, keys.setdefault(str(key), f"key {len(keys)}"))
    return [(name, repr(argument)) for name, argument in opcodes]


def _is_key(argument: object) -> bool:
    return isinstance(argument, str) and argument.isdecimal()


def _without_memo_of_strings(pickle: bytes) -> Iterator[tuple[str, object]]:
    """Opcodes, in which strings stand for the references to them, and other references count only what is no string."""
    memo: dict[object, tuple[str, object]] = {}
    last: tuple[str, object] = ("", None)
    others = 0
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in ("BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT"):
            index = len(memo) if opcode.name == "MEMOIZE" else argument
            if "UNICODE" not in last[0]:
                last = ("GET", others)
                others += 1
            memo[index] = last
            continue
        last = memo[argument] if opcode.name in ("BINGET", "LONG_BINGET", "GET") else (opcode.name, argument)
        yield last

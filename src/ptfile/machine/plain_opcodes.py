"""The opcodes of plain values and of tensors as `plain` puts them together: bytes, without a memo."""

from __future__ import annotations

import functools
import pickle
import struct
import sys
from _compat_pickle import REVERSE_IMPORT_MAPPING, REVERSE_NAME_MAPPING
from typing import Any

from ptfile.machine.names import Global

_LONG_TEXT = 1 << 16
"""Characters of a text that is not worth copying."""

COUNT = struct.Struct("<I")
FLOAT = struct.Struct(">cd")
_INT = struct.Struct("<ci")
_SHORT = struct.Struct("<cH")
_TEXT = struct.Struct("<cI")
BYTES = tuple(b"K%c" % number for number in range(1 << 8))
PUTS = tuple(b"q%c" % number for number in range(1 << 8))
SHORT_MEMO = len(PUTS)
"""Objects in the memo whose number takes one byte."""
CLOSE_TUPLE = {1: b"\x85", 2: b"\x86", 3: b"\x87"}
"""TUPLE1 to TUPLE3; longer ones stand between a mark and TUPLE."""


class NotPlainError(Exception):
    """Something is in the tree that is not written here."""


class Pattern:
    """The bytes of tensors that are alike but for the key of their storage, and for their numbers in the memo."""

    __slots__ = ("_before", "_key_to_hooks", "_rest")

    def __init__(self, before: bytes, key_to_hooks: tuple[bytes, bytes, bytes, bytes]) -> None:
        """`before`: what stands before the key. `key_to_hooks`: what stands before each of the next four numbers."""
        self._before = before + b"X"
        self._key_to_hooks = tuple(piece + b"r" for piece in key_to_hooks)
        self._rest = struct.Struct("<sI" + "".join(f"{len(piece)}sI" for piece in self._key_to_hooks) + "2sI2sI")

    def filled(self, key: str, n: int) -> bytes:
        """`n`: the first of the numbers."""
        text = key.encode()
        a, b, c, d = self._key_to_hooks
        rest = self._rest.pack(b"r", n, a, n + 1, b, n + 2, c, n + 3, d, n + 4, b"tr", n + 5, b"Rr", n + 6)
        return b"".join((self._before, COUNT.pack(len(text)), text, rest))


def name_opcode(obj: Any) -> bytes:
    """The name of a `Global`, or of a class or function that can be imported."""
    if type(obj) is Global:
        module, name = obj.module, obj.name
    else:
        module, name = obj.__module__, obj.__qualname__
        if getattr(sys.modules.get(module), name, None) is not obj:
            raise NotPlainError
    return _name_opcode(module, name)


@functools.lru_cache(maxsize=64)
def _name_opcode(module: str, name: str) -> bytes:
    old = module in REVERSE_IMPORT_MAPPING or (module, name) in REVERSE_NAME_MAPPING  # it goes by Python 2's name
    if old or "." in name or not (module.isascii() and name.isascii()):
        raise NotPlainError
    return f"c{module}\n{name}\n".encode()


def text_opcode(value: str) -> bytes:
    if len(value) >= _LONG_TEXT:
        raise NotPlainError
    data = value.encode("utf-8", "surrogatepass")
    return _TEXT.pack(b"X", len(data)) + data


def bool_opcode(value: bool) -> bytes:
    return b"\x88" if value else b"\x89"


def counts_opcodes(counts: tuple[int, ...]) -> bytes:
    """A tuple of ints."""
    if not counts:
        return b")"
    close = CLOSE_TUPLE.get(len(counts))
    return b"".join([b"" if close else b"(", *map(int_opcode, counts), close or b"t"])


def int_opcode(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return BYTES[value]
    if 0 <= value < 1 << 16:
        return _SHORT.pack(b"M", value)
    if -(1 << 31) <= value < 1 << 31:
        return _INT.pack(b"J", value)
    data = pickle.encode_long(value)
    if len(data) >= 1 << 8:
        raise NotPlainError
    return b"\x8a%c" % len(data) + data

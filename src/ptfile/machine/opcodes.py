"""The table of pickle opcodes, protocols 0 to 5: the code, the name, how the argument is read, and what it does.

The facts are those of CPython's `pickletools`; a test holds this table against it.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias, cast

from ptfile.errors import FormatError

Argument: TypeAlias = "int | float | str | bytes | bytearray | tuple[str, str] | None"
ReadArgument: TypeAlias = Callable[[bytes, int], "tuple[Argument, int]"]
"""From a pickle and a position behind an opcode to the argument and the position behind it."""


class CutOffError(FormatError):
    """The bytes end inside the pickle: with more of them it could go on."""

    def __init__(self, problem: str, *, needed: int | None, offset: int) -> None:
        super().__init__(problem, offset=offset)
        self.needed = needed
        """Bytes that there must be, from the start of the data, to get any further; None: up to the next line break."""


@dataclass(frozen=True, slots=True)
class Opcode:
    code: int
    name: str
    read: ReadArgument | None
    """None: the opcode has no argument."""
    doc: str


def _take(data: bytes, start: int, length: int) -> bytes:
    taken = data[start : start + length]
    if len(taken) != length:
        needed = start + length
        problem = f"the pickle ends {needed - len(data)} bytes before the end of an opcode's argument"
        raise CutOffError(problem, needed=needed, offset=start)
    return taken


def _line(data: bytes, start: int) -> tuple[bytes, int]:
    end = data.find(b"\n", start)
    if end < 0:
        raise CutOffError("the pickle ends inside a line of text", needed=None, offset=start)
    return data[start:end], end + 1


def _fixed(layout: str) -> ReadArgument:
    """An argument of one number in a fixed layout (a `struct` format)."""
    number = struct.Struct(layout)

    def read(data: bytes, start: int) -> tuple[Argument, int]:
        end = start + number.size
        value: int | float = number.unpack(_take(data, start, number.size))[0]
        return value, end

    return read


def _counted(layout: str, convert: Callable[[bytes], Argument]) -> ReadArgument:
    """An argument of a length in a fixed layout and that many bytes."""
    number = struct.Struct(layout)

    def read(data: bytes, start: int) -> tuple[Argument, int]:
        body = start + number.size
        length: int = number.unpack(_take(data, start, number.size))[0]
        if length < 0:
            raise FormatError(f"an opcode's argument has the negative length {length}", offset=start)
        return convert(_take(data, body, length)), body + length

    return read


def _text_line(convert: Callable[[bytes], Argument]) -> ReadArgument:
    """An argument of one line of text (protocol 0)."""

    def read(data: bytes, start: int) -> tuple[Argument, int]:
        line, end = _line(data, start)
        return convert(line), end

    return read


def _global_lines(data: bytes, start: int) -> tuple[Argument, int]:
    module, middle = _line(data, start)
    name, end = _line(data, middle)
    return (_utf8(module), _utf8(name)), end


def _utf8(data: bytes) -> str:
    try:
        # Surrogates pass, as they do in Python's own pickles.
        return str(data, "utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise FormatError(f"text that is not UTF-8 ({error.reason})") from error


def _escaped(data: bytes) -> str:
    try:
        return str(data, "raw-unicode-escape")
    except UnicodeDecodeError as error:
        raise FormatError(f"text with a wrong escape ({error.reason})") from error


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _decimal(data: bytes) -> int:
    if len(data) > MOST_DIGITS + len("-"):  # Python itself counts them unless it is told not to
        raise FormatError(f"a number of {len(data)} digits")
    try:
        return int(data)
    except ValueError as error:
        raise FormatError(f"{data[:40]!r} is not a decimal number, or has too many digits") from error


def _decimal_or_bool(data: bytes) -> int:
    if data in (b"00", b"01"):  # how protocols 0 and 1 spell the booleans
        return data == b"01"
    return _decimal(data)


def _decimal_long(data: bytes) -> int:
    return _decimal(data.removesuffix(b"L"))


def _float_text(data: bytes) -> float:
    if len(data) > MOST_DIGITS:
        raise FormatError(f"a number of {len(data)} digits")
    try:
        return float(data)
    except ValueError as error:
        raise FormatError(f"{data[:40]!r} is not a number") from error


def _quoted(data: bytes) -> bytes:
    if len(data) < 2 or data[:1] not in (b'"', b"'") or data[-1:] != data[:1]:
        raise FormatError(f"{data[:40]!r} is not a quoted string")
    try:
        plain = codecs.escape_decode(data[1:-1])[0]
    except ValueError as error:
        raise FormatError(f"{data[:40]!r} has a wrong escape") from error
    return cast("bytes", plain)  # typeshed says str


MOST_DIGITS = 4_300
"""In the text of a number: what Python has as its default for integers."""
_UINT1, _UINT2, _INT4, _UINT4, _UINT8 = "<B", "<H", "<i", "<I", "<Q"

TABLE: tuple[Opcode, ...] = tuple(
    Opcode(code[0], name, read, doc)
    for code, name, read, doc in (
        # integers
        (b"I", "INT", _text_line(_decimal_or_bool), "push an integer, or a boolean spelt 00 or 01"),
        (b"J", "BININT", _fixed(_INT4), "push a signed 4-byte integer"),
        (b"K", "BININT1", _fixed(_UINT1), "push a 1-byte integer"),
        (b"M", "BININT2", _fixed(_UINT2), "push a 2-byte integer"),
        (b"L", "LONG", _text_line(_decimal_long), "push an integer of any size"),
        (b"\x8a", "LONG1", _counted(_UINT1, _long), "push an integer of up to 255 bytes"),
        (b"\x8b", "LONG4", _counted(_INT4, _long), "push an integer of any size"),
        # strings of Python 2, whose encoding the reader chooses
        (b"S", "STRING", _text_line(_quoted), "push a Python 2 str"),
        (b"T", "BINSTRING", _counted(_INT4, bytes), "push a Python 2 str"),
        (b"U", "SHORT_BINSTRING", _counted(_UINT1, bytes), "push a Python 2 str"),
        # bytes
        (b"B", "BINBYTES", _counted(_UINT4, bytes), "push bytes"),
        (b"C", "SHORT_BINBYTES", _counted(_UINT1, bytes), "push bytes"),
        (b"\x8e", "BINBYTES8", _counted(_UINT8, bytes), "push bytes"),
        (b"\x96", "BYTEARRAY8", _counted(_UINT8, bytearray), "push a bytearray"),
        (b"\x97", "NEXT_BUFFER", None, "push a buffer kept outside the pickle"),
        (b"\x98", "READONLY_BUFFER", None, "make the top buffer read-only"),
        # None, booleans
        (b"N", "NONE", None, "push None"),
        (b"\x88", "NEWTRUE", None, "push True"),
        (b"\x89", "NEWFALSE", None, "push False"),
        # text
        (b"V", "UNICODE", _text_line(_escaped), "push text"),
        (b"\x8c", "SHORT_BINUNICODE", _counted(_UINT1, _utf8), "push text"),
        (b"X", "BINUNICODE", _counted(_UINT4, _utf8), "push text"),
        (b"\x8d", "BINUNICODE8", _counted(_UINT8, _utf8), "push text"),
        # floats
        (b"F", "FLOAT", _text_line(_float_text), "push a float"),
        (b"G", "BINFLOAT", _fixed(">d"), "push a float"),
        # lists
        (b"]", "EMPTY_LIST", None, "push []"),
        (b"a", "APPEND", None, "append the top to the list below it"),
        (b"e", "APPENDS", None, "append what is above the mark to the list below it"),
        (b"l", "LIST", None, "make a list of what is above the mark"),
        # tuples
        (b")", "EMPTY_TUPLE", None, "push ()"),
        (b"t", "TUPLE", None, "make a tuple of what is above the mark"),
        (b"\x85", "TUPLE1", None, "make a tuple of the top"),
        (b"\x86", "TUPLE2", None, "make a tuple of the top two"),
        (b"\x87", "TUPLE3", None, "make a tuple of the top three"),
        # dicts
        (b"}", "EMPTY_DICT", None, "push {}"),
        (b"d", "DICT", None, "make a dict of the keys and values above the mark"),
        (b"s", "SETITEM", None, "store the top under the key below it in the dict below that"),
        (b"u", "SETITEMS", None, "store the keys and values above the mark in the dict below it"),
        # sets
        (b"\x8f", "EMPTY_SET", None, "push set()"),
        (b"\x90", "ADDITEMS", None, "add what is above the mark to the set below it"),
        (b"\x91", "FROZENSET", None, "make a frozenset of what is above the mark"),
        # stack
        (b"0", "POP", None, "drop the top, or the mark if that is the top"),
        (b"2", "DUP", None, "push the top again"),
        (b"(", "MARK", None, "push the mark"),
        (b"1", "POP_MARK", None, "drop the mark and all above it"),
        # memo
        (b"g", "GET", _text_line(_decimal), "push a memo entry"),
        (b"h", "BINGET", _fixed(_UINT1), "push a memo entry"),
        (b"j", "LONG_BINGET", _fixed(_UINT4), "push a memo entry"),
        (b"p", "PUT", _text_line(_decimal), "keep the top as a memo entry"),
        (b"q", "BINPUT", _fixed(_UINT1), "keep the top as a memo entry"),
        (b"r", "LONG_BINPUT", _fixed(_UINT4), "keep the top as a memo entry"),
        (b"\x94", "MEMOIZE", None, "keep the top as the next memo entry"),
        # names
        (b"\x82", "EXT1", _fixed(_UINT1), "push what an extension code stands for"),
        (b"\x83", "EXT2", _fixed(_UINT2), "push what an extension code stands for"),
        (b"\x84", "EXT4", _fixed(_INT4), "push what an extension code stands for"),
        (b"c", "GLOBAL", _global_lines, "push what a module calls by a name"),
        (b"\x93", "STACK_GLOBAL", None, "push what a module calls by a name, both on the stack"),
        # building objects
        (b"R", "REDUCE", None, "call what is below the top with the top as arguments"),
        (b"b", "BUILD", None, "give the object below the top the top as its state"),
        (b"i", "INST", _global_lines, "call a name with what is above the mark"),
        (b"o", "OBJ", None, "call what is just above the mark with the rest"),
        (b"\x81", "NEWOBJ", None, "make an instance of the class below the top with the top as arguments"),
        (b"\x92", "NEWOBJ_EX", None, "the same with keyword arguments"),
        # the frame around it all
        (b"\x80", "PROTO", _fixed(_UINT1), "say which protocol follows"),
        (b".", "STOP", None, "end: the top is the result"),
        (b"\x95", "FRAME", _fixed(_UINT8), "say how many bytes the next frame has"),
        # objects kept outside the pickle
        (b"P", "PERSID", _text_line(_utf8), "push the object that an id stands for"),
        (b"Q", "BINPERSID", None, "push the object that the top stands for"),
    )
)

BY_CODE: Mapping[int, Opcode] = MappingProxyType({opcode.code: opcode for opcode in TABLE})
HIGHEST_PROTOCOL = 5

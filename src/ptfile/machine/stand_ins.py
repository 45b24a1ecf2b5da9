"""Take the marks of stand-ins out of a pickle of protocol 4 or 5, and cut it into frames again as picklers do.

A stand-in is a string that the pickler wrote in place of another as if it were a persistent id.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from ptfile.machine.decoder import decode

_FRAME = struct.Struct("<cQ")
_FRAME_ENDS_FROM = 64 * 1024
"""Bytes from which a frame ends as soon as another value begins; and from which bytes or text are in no frame."""
_SMALLEST_FRAME = 4

_STRINGS = frozenset({"SHORT_BINUNICODE", "BINUNICODE"})
_GETS = frozenset({"BINGET", "LONG_BINGET"})
_DROPS = frozenset({"POP", "POP_MARK"})
_CLOSE_VALUE = frozenset({"TUPLE", "FROZENSET"})
"""What closes a mark with which a value begins."""
_CLOSE_BATCH = frozenset({"APPENDS", "SETITEMS", "ADDITEMS"})
"""What closes a mark that comes behind the list, dict or set."""
_GO_ON = frozenset({"MEMOIZE", "APPEND", "SETITEM", "TUPLE1", "TUPLE2", "TUPLE3", "STACK_GLOBAL", "REDUCE", "BUILD"})
_GO_ON |= {"NEWOBJ", "NEWOBJ_EX", "BINPERSID", "STOP"} | _DROPS | _CLOSE_VALUE | _CLOSE_BATCH
"""Opcodes with which no value begins; it does with all others that a pickler writes, but for those above."""


class _Piece(NamedTuple):
    """One opcode with its argument."""

    name: str
    data: memoryview
    framed: bool


def without_stand_ins(data: bytes) -> bytes:
    """The pickle as if each stand-in were an ordinary string."""
    header, *pieces = _pieces(data)
    kept = [piece for number, piece in enumerate(pieces) if not _marks_stand_in(pieces, number)]
    begins = _value_begins(kept)
    frames = [bytes(header.data)]
    frame: list[memoryview] = []
    size = 0
    for piece, begin in zip(kept, begins, strict=True):
        if not piece.framed or (begin and size >= _FRAME_ENDS_FROM):
            frames.append(_framed(frame))
            frame, size = [], 0
        if piece.framed:
            frame.append(piece.data)
            size += len(piece.data)
        else:
            frames.append(bytes(piece.data))
    return b"".join([*frames, _framed(frame)])


def _pieces(data: bytes) -> Iterator[_Piece]:
    """All opcodes but FRAME."""
    view = memoryview(data)
    opcodes = [(position, opcode.name) for position, opcode, _ in decode(data)]
    frame_end = 0
    for (position, name), (end, _) in pairwise([*opcodes, (len(data), "")]):
        if name == "FRAME":
            frame_end = end + _FRAME.unpack_from(data, position)[1]
        else:
            large = end - position > _FRAME_ENDS_FROM
            yield _Piece(name, view[position:end], framed=position < frame_end or not large)


def _marks_stand_in(pieces: list[_Piece], number: int) -> bool:
    """Whether this is the mark behind a string. Persistent ids of PyTorch's are tuples."""
    if pieces[number].name != "BINPERSID":
        return False
    before = pieces[number - 1].name
    return before in _GETS or (before == "MEMOIZE" and pieces[number - 2].name in _STRINGS)


def _value_begins(pieces: list[_Piece]) -> list[bool]:
    begins: list[bool] = []
    marks: list[int] = []
    for number, (name, _, _) in enumerate(pieces):
        begins.append(name not in _GO_ON)
        if name == "MARK":
            marks.append(number)
        elif name in _CLOSE_VALUE or name == "POP_MARK":
            marks.pop()
        elif name in _CLOSE_BATCH:
            begins[marks.pop()] = False
        elif name in _GETS and pieces[number - 1].name in _DROPS:  # a tuple that contains itself
            begins[-1] = False
    return begins


def _framed(frame: list[memoryview]) -> bytes:
    data = b"".join(frame)
    return _FRAME.pack(b"\x95", len(data)) + data if len(data) >= _SMALLEST_FRAME else data

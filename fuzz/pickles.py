"""Pickles changed as pickles: by opcodes and whole values, with a model of the stack and the memo.

Bytes flipped at random rarely stay a pickle. Here a pickle is cut into opcodes, and the model says which run of them
makes each value, so that one value can take another's place.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from fuzz.values import OPCODES, any_name, any_value, argument

_HEAD = (b"", b"\x80\x02", b"\x80\x02", b"\x80\x04", b"\x80\x05")
_MOST_PIECES = 3_000


@dataclass(frozen=True, slots=True)
class Piece:
    """One opcode with its argument."""

    opcode: Any
    data: bytes


Change = Callable[[Random, list[Piece], "Sequence[Piece]"], list[Piece]]


def pieces_of(data: bytes) -> list[Piece]:
    """The opcodes, without frames (whose lengths would lie after any change), up to where it is a pickle no more."""
    found: list[tuple[Any, int]] = []
    end = len(data)
    try:
        for opcode, _, position in pickletools.genops(data):
            found.append((opcode, position or 0))
            if opcode.name == "STOP":
                end = (position or 0) + 1
    except Exception:
        pass
    ends = [position for _, position in found[1:]] + [end]
    return [
        Piece(opcode, data[position:end])
        for (opcode, position), end in zip(found, ends, strict=False)
        if opcode.name != "FRAME"
    ]


def joined(pieces: Sequence[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces)


def spans(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """(first, behind the last) of the opcodes that make each value, by a model of the stack."""
    found: list[tuple[int, int]] = []
    stack: list[tuple[int, bool]] = []  # where what lies there begins, and whether it is a mark
    for index, piece in enumerate(pieces):
        before, after = piece.opcode.stack_before, piece.opcode.stack_after
        start = index
        if pickletools.markobject in before:
            while stack:
                start, is_mark = stack.pop()
                if is_mark:
                    break
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            if stack:
                start = stack.pop()[0]
        for made in after:
            stack.append((start, made is pickletools.markobject))
            found.append((start, index + 1))
    return [span for span in found if pieces[span[0]].opcode.name not in ("PROTO", "STOP")]


def mutated(rng: Random, data: bytes, donor: bytes = b"") -> bytes:
    """The pickle with one to a few changes; parts may come from a second one."""
    pieces = pieces_of(data)[:_MOST_PIECES] or pieces_of(b"N.")
    others = pieces_of(donor)[:_MOST_PIECES] or pieces
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        pieces = rng.choice(_CHANGES)(rng, pieces, others)
    return joined(pieces)


def generated(rng: Random) -> bytes:
    """A pickle of some values, most of which make sense."""
    head = rng.choice(_HEAD)
    if rng.random() < 0.5:
        return head + any_value(rng, rng.randrange(1, 5)) + b"."
    values = b"".join(any_value(rng, rng.randrange(4)) for _ in range(rng.randrange(1, 6)))
    return head + b"(" + values + rng.choice((b"t", b"l")) + b"."


# changes


def _somewhere(rng: Random, pieces: Sequence[Piece]) -> int:
    return rng.randrange(len(pieces)) if pieces else 0


def _span(rng: Random, pieces: Sequence[Piece]) -> tuple[int, int]:
    return rng.choice(spans(pieces) or [(0, len(pieces))])


def _replaced_by_new(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    start, end = _span(rng, pieces)
    return pieces[:start] + _parsed(any_value(rng, rng.randrange(4))) + pieces[end:]


def _replaced_by_other(rng: Random, pieces: list[Piece], others: Sequence[Piece]) -> list[Piece]:
    (start, end), (first, last) = _span(rng, pieces), _span(rng, others)
    return [*pieces[:start], *others[first:last], *pieces[end:]]


def _replaced_by_own(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    return _replaced_by_other(rng, pieces, pieces)


def _wrapped(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    """A value becomes an argument, a state, an item or a key."""
    start, end = _span(rng, pieces)
    before, after = rng.choice(_WRAPPINGS)
    head = any_name(rng) if before == b"name" else before
    return [*pieces[:start], *_parsed(head), *pieces[start:end], *_parsed(after), *pieces[end:]]


def _argument_changed(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    places = [index for index, piece in enumerate(pieces) if piece.opcode.arg is not None]
    if not places:
        return pieces
    place = rng.choice(places)
    opcode = pieces[place].opcode
    changed = Piece(opcode, opcode.code.encode("latin1") + argument(rng, opcode.arg.name))
    return [*pieces[:place], changed, *pieces[place + 1 :]]


def _inserted(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    place = _somewhere(rng, pieces)
    opcode = rng.choice(OPCODES)
    data = opcode.code.encode("latin1") + (argument(rng, opcode.arg.name) if opcode.arg else b"")
    return [*pieces[:place], Piece(opcode, data), *pieces[place:]]


def _dropped(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    place = _somewhere(rng, pieces)
    return pieces[:place] + pieces[place + 1 :]


def _repeated(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    start, end = _span(rng, pieces)
    return pieces[:end] + pieces[start:end] * rng.choice((1, 1, 2, 20)) + pieces[end:]


def _remembered(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    """A value goes into the memo, and takes another's place as well."""
    number = bytes([rng.choice((0, 1, 7, 200))])
    end = _span(rng, pieces)[1]
    kept = [*pieces[:end], *_parsed(b"q" + number), *pieces[end:]]
    start, end = _span(rng, kept)
    return [*kept[:start], *_parsed(b"h" + number), *kept[end:]]


def _cut(rng: Random, pieces: list[Piece], _: Sequence[Piece]) -> list[Piece]:
    data = bytearray(joined(pieces))
    if data:
        place = rng.randrange(len(data))
        data[place:] = rng.choice((b"", bytes([rng.randrange(256)]) + data[place + 1 :]))
    return pieces_of(bytes(data)) + [Piece(OPCODES[0], bytes(data[-3:]))] * (rng.random() < 0.1)


def _parsed(data: bytes) -> list[Piece]:
    return pieces_of(data + b".")[:-1]


_WRAPPINGS = (
    (b"name", b"\x85R"),
    (b"name", b"\x85\x81"),
    (b"name", b"\x85}\x92"),
    (b"name)R", b"b"),
    (b"]", b"a"),
    (b"}", b"Ns"),
    (b"}N", b"s"),
    (b"(", b"l"),
    (b"(", b"t"),
    (b"(", b"\x91"),
    (b"\x8f(", b"\x90"),
    (b"", b"\x85"),
    (b"", b"Q"),
    (b"", b"0N"),
    (b"ccollections\nOrderedDict\n)R", b"b"),
    (b"ccollections\nOrderedDict\n)RK\x01", b"s"),
)
_CHANGES: tuple[Change, ...] = (
    _replaced_by_new,
    _replaced_by_new,
    _replaced_by_other,
    _replaced_by_other,
    _replaced_by_own,
    _wrapped,
    _argument_changed,
    _argument_changed,
    _argument_changed,
    _inserted,
    _dropped,
    _repeated,
    _remembered,
    _cut,
)

"""Disassembling pickles: those of Python's own picklers, broken ones, and any bytes."""

from __future__ import annotations

import collections
import pickle
import pickletools
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile.machine.disasm import disassemble
from ptfile.machine.infamous import does
from ptfile.machine.opcodes import TABLE

VALUES: list[Any] = [
    None,
    [1, 2.5, "text", b"bytes", (1,), (1, 2), (1, 2, 3, 4), {1, 2}, frozenset([3]), {"a": [True, False]}],
    collections.OrderedDict(a=1, b=[1] * 1001),
    bytearray(b"x"),
    1 << 2000,
    [[], []] * 2,
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_it_agrees_with_pythons_own(protocol: int, value: Any) -> None:
    """About positions and opcodes; and a good pickle has no warning."""
    data = pickle.dumps(value, protocol)
    lines = list(disassemble(data))

    assert [(line.position, line.opcode) for line in lines] == [(at, op.name) for op, _, at in pickletools.genops(data)]
    assert not [line.warning for line in lines if line.warning]
    assert lines[0].depth == lines[-1].depth == 0


def told(data: bytes) -> list[tuple[int, str, str, str]]:
    """(position, opcode, note, warning) of each."""
    return [(line.position, line.opcode, line.note, line.warning) for line in disassemble(data, judge=does)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"cos\nsystem\n.", (0, "GLOBAL", "", "runs a shell command")),
        (b"\x8c\x02os\x8c\x06system\x93.", (12, "STACK_GLOBAL", "os.system", "runs a shell command")),
        (b"cos\nsystem\n)R.", (12, "REDUCE", "os.system()", "runs a shell command")),
        (b"(S'ls'\nios\nsystem\n.", (7, "INST", "os.system(b'ls')", "runs a shell command")),
        (b"(cos\nsystem\nI1\no.", (15, "OBJ", "os.system(1)", "runs a shell command")),
        (b"cos\nsystem\nq\x07h\x07)R.", (13, "BINGET", "os.system", "")),
        (b"cos\nsystem\nq\x07h\x07)R.", (16, "REDUCE", "os.system()", "runs a shell command")),
        (b"K\x01\x94h\x00.", (2, "MEMOIZE", "memo 0 = 1", "")),
        (b"K\x01K\x02\x93.", (4, "STACK_GLOBAL", "a name that is no text", "its module or name is no text")),
        (b"h\x09.", (0, "BINGET", "?", "nothing was kept there")),
        (b"R.", (0, "REDUCE", "?(*?)", "the stack is too short")),
        (b"e.", (0, "APPENDS", "0 items", "there is no mark on the stack")),
        (b"(K\x01(R.", (4, "REDUCE", "?(*?)", "the stack is too short")),
        (b"\x82\x01.", (0, "EXT1", "extension 1", "a number for a name that programs register")),
        (b"}K\x01b.", (3, "BUILD", "{} gets 1", "")),
        (b"K\x01Q.", (2, "BINPERSID", "persistent 1", "")),
        (b"K\x01", (2, "", "", "the pickle ends without STOP")),
        (b"K\x01\xff", (2, "", "", "0xff is no opcode of a pickle")),
        (b"\x95\x02\0\0\0\0\0\0\0K\x01K\x02.", (0, "FRAME", "", "")),
        (b"\x95\x03\0\0\0\0\0\0\0K\x01K\x02.", (11, "BININT1", "", "it reaches over the end of its frame")),
        (b"\x95\xff\0\0\0\0\0\0\0.", (0, "FRAME", "", "the frame is longer than the pickle")),
    ],
)  # fmt: skip
def test_what_is_said_of_an_opcode(data: bytes, expected: tuple[int, str, str, str]) -> None:
    """What it makes, and what is wrong with it."""
    assert expected in told(data)


def test_an_argument_that_is_cut_off_ends_it() -> None:
    """With the opcode's own name."""
    assert told(b"X\xff\0\0\0abc")[-1][:2] == (0, "BINUNICODE")
    assert "cannot be read on" in told(b"X\xff\0\0\0abc")[-1][3]


def test_it_begins_where_it_shall() -> None:
    """Positions count from the start of the data."""
    assert told(b"xxx" + b"N.")[0][0] == 0
    assert [line.position for line in disassemble(b"xxxN.", 3)] == [3, 4]


def test_long_arguments_are_cut() -> None:
    """Whatever a pickle holds, a line stays a line."""
    values = ["x" * 10**6, b"\xff" * 10**6, 1 << 10**6, tuple("y" * 1000 for _ in range(1000)), "\x00" * 1000]
    for line in disassemble(pickle.dumps(values, 2)):
        assert len(line.argument) < 300
        assert len(line.note) < 400


@given(st.binary(max_size=200) | st.lists(st.sampled_from(TABLE)).map(lambda ops: bytes(op.code for op in ops)))
def test_any_bytes_have_an_end(data: bytes) -> None:
    """Nothing is raised; the positions rise; the last line is STOP or says why there is none."""
    lines = list(disassemble(data, judge=does))

    assert lines[-1].opcode == "STOP" or lines[-1].warning
    assert all(one.position < other.position for one, other in pairwise(lines))


def test_names_and_tuples_do_not_grow() -> None:
    """What is remembered of a value is short, however it is put together: no time or memory for bombs."""
    nested = b"K\x01" + b"2\x86" * 50_000 + b"."
    named = b"c" + b"a" * 100_000 + b"\nb\nq\x00" + b"h\x00)R0" * 20_000 + b"."
    assert sum(1 for _ in disassemble(nested)) == 100_002
    assert sum(1 for _ in disassemble(named, judge=does)) > 80_000

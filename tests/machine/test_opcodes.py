"""The opcode table against CPython's own, and the decoder against `pickletools`."""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile.errors import FormatError
from ptfile.machine.decoder import decode
from ptfile.machine.opcodes import BY_CODE, TABLE
from ptfile.machine.vm import Machine

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.tuples(inner, inner)
        | st.lists(inner).map(tuple)
        | st.frozensets(st.integers())
        | st.sets(st.text())
    ),
)


def test_the_table_has_every_opcode_of_cpython_once() -> None:
    """Codes and names are those of `pickletools`, and none is there twice."""
    assert {(ord(op.code), op.name) for op in pickletools.opcodes} == {(row.code, row.name) for row in TABLE}
    assert len(BY_CODE) == len(TABLE)


def test_the_machine_has_an_action_for_every_opcode() -> None:
    """No opcode of the table lacks a method in the machine."""
    assert {row.name for row in TABLE} == set(Machine._actions)


@given(value=VALUES, protocol=st.integers(0, 5))
def test_the_decoder_agrees_with_pickletools(value: Any, protocol: int) -> None:
    """Positions, opcodes and arguments are the ones that CPython's own disassembler sees."""
    data = pickle.dumps(value, protocol)
    theirs = [(position, op.name) for op, _, position in pickletools.genops(data)]
    ours = [(position, opcode.name) for position, opcode, _ in decode(data)]
    assert ours == theirs


@pytest.mark.parametrize("length", range(1, 40))
def test_a_pickle_cut_off_anywhere_is_a_format_error(length: int) -> None:
    """Whatever byte a pickle ends at, the decoder says so instead of guessing."""
    data = pickle.dumps({"name": [1.5, b"bytes", 2**70, (True, None)]}, 4)[:length]
    with pytest.raises(FormatError) as caught:
        list(decode(data))
    assert caught.value.offset is not None


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"\x80\x06N.", 0),  # a protocol that does not exist
        (b"N\x80\x02.", 1),  # PROTO in the middle
        (b"\xff.", 0),  # no opcode
        (b"I12x\n.", 0),
        (b"F1.5.2\n.", 0),
        (b"\x8b\xff\xff\xff\xff.", 0),  # a negative length
        (b"T\xff\xff\xff\xff.", 0),
        (b"Sabc\n.", 0),  # no quotes
        (b"X\x02\x00\x00\x00\xff\xfe.", 0),  # not UTF-8
        (b"\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00K\x01K\x02.", 13),  # a frame that cuts an opcode
        (b"\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N.", 2),  # a frame beyond the end
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab.", 0),  # more bytes than there are
        (b"N", 1),  # no STOP
        (b"", 0),
    ],
)
def test_malformed_bytes_are_a_format_error_at_their_position(data: bytes, offset: int) -> None:
    """The error carries the position of the opcode that is wrong."""
    with pytest.raises(FormatError) as caught:
        list(decode(data))
    assert caught.value.offset == offset

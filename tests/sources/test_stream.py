"""Streams that cannot seek, as sources."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

import ptfile
from ptfile.sources import StreamSource


class Answers:
    """A file object that answers each read with the next of these."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def read(self, size: int = -1) -> Any:
        return self._answers.pop(0) if self._answers else b""


def test_bytes_come_in_order_and_not_one_too_many() -> None:
    """Whatever pieces they arrive in, and whether they have been peeked at or not."""
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as sender:
        sender.write(b"0123456789")
    with os.fdopen(read_end, "rb", buffering=0) as pipe:
        source = StreamSource(pipe)
        assert source.peek(3) == b"012"
        assert source.peek(2) == b"01"
        assert bytes(source.read(0, 2)) == b"01"
        target = bytearray(4)
        source.read_into(2, memoryview(target))
        assert target == b"2345"
        assert pipe.read() == b"6789"


def test_a_stream_that_ends_is_cut_off() -> None:
    """With how much is missing; peeking at the end gives what there is."""
    source = StreamSource(Answers(b"ab", b"c"))
    assert source.peek(9) == b"abc"
    with pytest.raises(ptfile.FormatError, match="cut off at byte 3 of 7: 4 bytes are missing"):
        source.read(0, 7)


def test_reading_anywhere_else_is_unsupported() -> None:
    """What has gone by is gone."""
    source = StreamSource(Answers(b"ab"))
    source.read(0, 2)
    with pytest.raises(ptfile.UnsupportedError, match="byte 0 is wanted"):
        source.read(0, 1)


def test_text_is_a_type_error() -> None:
    """Of a text stream, or of one that turns out to be one."""
    with pytest.raises(TypeError, match="binary"):
        StreamSource(io.StringIO("x"))
    with pytest.raises(TypeError, match="binary"):
        StreamSource(Answers("x")).read(0, 1)


@pytest.mark.parametrize(("answer", "error"), [(None, BlockingIOError), (b"too long", OSError)])
def test_streams_that_misbehave_are_os_errors(answer: Any, error: type[OSError]) -> None:
    """One in non-blocking mode, and one that gives more than it was asked for."""
    with pytest.raises(error):
        StreamSource(Answers(answer)).read(0, 2)

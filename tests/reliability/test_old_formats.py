"""Flipped bits in files of the formats without checksums: what cannot be told is said, and nothing worse happens."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import pytest

import ptfile
from tests.formats.tar_file import checkpoint
from tests.reliability.flips import bytes_of, flips

WEIGHT = ptfile.arange(8)
RAW = WEIGHT.numpy().tobytes()


def legacy_file() -> bytes:
    buffer = io.BytesIO()
    ptfile.save({"weight": WEIGHT, "n": 3}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def outcome(data: bytes, expected: bytes, unknown: Literal["error", "inert"] = "error") -> str:
    """Anything but ptfile's own errors fails the test."""
    try:
        value = ptfile.load(io.BytesIO(data), unknown=unknown)
    except ptfile.PtfileError:
        return "error"
    try:
        return "same" if bytes_of(value) == expected else "another"
    except ptfile.UnsupportedError:  # a name that no pickle can hold
        return "another"


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every bit of a small file; of a tar file, which is padded to 10 KiB, one bit of each byte that is not zero."""
    small = len(data) < 1000
    for place, mask in flips(data):
        if small or (data[place] and mask == 1 << place % 8):
            yield place, data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


@pytest.mark.parametrize("data", [legacy_file(), checkpoint()], ids=["legacy", "tar"])
def test_verify_says_ok_of_what_loads_and_that_there_are_no_checksums(data: bytes) -> None:
    """It is ok as far as anybody can know."""
    expected = bytes_of(ptfile.load(io.BytesIO(data)))
    for place, damaged in flipped(data):
        loads = outcome(damaged, expected, unknown="inert") != "error"
        try:
            result = ptfile.verify(io.BytesIO(damaged))
        except ptfile.LimitError:  # a length that is now too large
            assert not loads, place
            continue
        assert result.ok == loads, place
        assert not loads or "has no checksums" in result.unchecked[0], place


def test_a_changed_byte_of_a_tensor_cannot_be_told() -> None:
    """The numbers stand in docs/reliability.md."""
    data = legacy_file()
    expected = bytes_of(ptfile.load(io.BytesIO(data)))
    start = data.index(RAW)
    inside: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for place, damaged in flipped(data):
        result = outcome(damaged, expected)
        counts[result] += 1
        if start <= place < start + len(RAW):
            inside[result] += 1

    assert inside == {"another": 8 * len(RAW)}
    assert counts == {"error": 2124, "same": 611, "another": 593}

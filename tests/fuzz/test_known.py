"""What fuzzing has found and nobody has mended yet: each test fails, and says so when it no longer does."""

from __future__ import annotations

import contextlib
import time

import pytest

import ptfile
from tests.hostile.pickle_assembler import call, load, name, plain

_MERSENNE = (1 << 61) - 1
"""Python's hash of an int is its remainder by this."""


@pytest.mark.xfail(reason="the machine hashes keys without catching what their types raise", raises=ValueError)
def test_a_time_without_a_unit_as_a_key_is_an_error_of_ptfiles() -> None:
    """numpy cannot hash it, and says so by a ValueError."""
    dtype = call(name("numpy", "dtype"), plain("m8"), b"\x89", b"\x88")
    scalar = call(name("numpy._core.multiarray", "scalar"), dtype, plain(b"abcdefgh"))
    with pytest.raises(ptfile.PtfileError):
        load(b"}" + scalar + b"Ns")


@pytest.mark.xfail(reason="keys are not counted by their hashes", raises=AssertionError)
def test_keys_that_collide_take_linear_time() -> None:
    """Ints whose hashes are all 0."""

    def seconds(count: int) -> float:
        body = b"}(" + b"".join(plain(number * _MERSENNE) + b"N" for number in range(1, count)) + b"u"
        start = time.process_time()
        with contextlib.suppress(ptfile.PtfileError):
            load(body)
        return time.process_time() - start

    assert seconds(20_000) < 8 * seconds(5_000)

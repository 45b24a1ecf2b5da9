"""Every committed input of the fuzzer, and some that its generators make, keep all promises. Needs no fuzzer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

import fuzz.targets
import pytest
from fuzz.oracle import Violation, attempt, require_same
from fuzz.targets import TARGETS

MADE = 500
"""Inputs of each target that are made here, the same each time."""


@pytest.mark.parametrize("target", TARGETS)
def test_the_committed_inputs_keep_all_promises(target: str) -> None:
    """Those that once broke one among them."""
    inputs = fuzz.targets.inputs(target)
    assert len(inputs) >= 20
    broken = {}
    for path in inputs:
        try:
            TARGETS[target].check(path.read_bytes())
        except Violation as violation:
            broken[path.name] = str(violation)
    assert broken == {}


@pytest.mark.parametrize("target", TARGETS)
def test_generated_and_mutated_inputs_keep_all_promises(target: str) -> None:
    """From a fixed seed."""
    rng = Random(target)
    made = [path.read_bytes() for path in fuzz.targets.inputs(target)]
    for _ in range(MADE):
        data = TARGETS[target].mutate(rng, rng.choice(made), rng.choice(made))
        for one in (data, TARGETS[target].generate(rng)):
            TARGETS[target].check(one[: TARGETS[target].largest])


def test_an_error_of_another_kind_is_seen() -> None:
    """The oracle can fail."""
    with pytest.raises(Violation, match="KeyError"):
        attempt("this", lambda: {"a": 1}["key"])


def _import_in_silence() -> None:
    with contextlib.suppress(ImportError):
        __import__("there_is_no_such_module")


@pytest.mark.parametrize("does", [_import_in_silence, lambda: eval("1"), lambda: open(__file__).close()])
def test_an_import_code_and_a_file_are_seen(does: Callable[[], object]) -> None:
    """Even where the code that caused it swallows all errors."""
    with pytest.raises(Violation, match="caused"):
        attempt("this", does)


@pytest.mark.parametrize(
    ("first", "second"),
    [([1], [True]), ([1], (1,)), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (0.0, -0.0), ([[], []], [[]] * 2), ({1}, {2})],
)
def test_values_that_differ_are_told_apart(first: object, second: object) -> None:
    """In types, order, sign and sharing."""
    with pytest.raises(Violation, match="differ"):
        require_same("these", first, second)

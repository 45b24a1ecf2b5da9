"""The two ways to run a pickle, by proof and by the vm, give the same for hostile files."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest

import ptfile
from ptfile.formats import pickles
from ptfile.formats.vocabulary import ROLES
from ptfile.machine.fast import run_if_harmless
from ptfile.machine.proof import is_harmless
from tests.hostile import cases_proved
from tests.hostile.case import Case, Loads
from tests.hostile.sections import CASES


@pytest.mark.parametrize("case", cases_proved.CASES, ids=lambda case: case.id)
def test_a_hostile_pickle_goes_the_way_that_it_should(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """By proof, or left to the vm; what fails when it is run is left to the vm as well."""
    ways: list[tuple[bool, bool]] = []

    def note(data: bytes, *arguments: Any) -> tuple[Any, bool]:
        value, is_run = run_if_harmless(data, *arguments)
        ways.append((is_harmless(data, ROLES), is_run))
        return value, is_run

    monkeypatch.setattr(pickles, "run_if_harmless", note)
    with contextlib.suppress(ptfile.PtfileError):
        ptfile.load(io.BytesIO(case.build()))
    is_proved = case in cases_proved.PROVED
    assert ways == [(is_proved, is_proved and isinstance(case.expected, Loads))]


def test_a_hostile_file_gets_the_same_answer_whether_or_not_its_pickle_is_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a pickle is proved: the same value, or the same error with the same words."""
    harmless, proved = 0, 0

    def note(*arguments: Any) -> tuple[Any, bool]:
        nonlocal harmless, proved
        harmless += is_harmless(arguments[0], ROLES)
        value, is_run = run_if_harmless(*arguments)
        proved += is_run
        return value, is_run

    def answer(data: bytes) -> Any:
        try:
            value = ptfile.load(io.BytesIO(data))
            buffer = io.BytesIO()
            ptfile.save(value, buffer)
        except (ptfile.PtfileError, OSError, RecursionError) as error:  # the last one is the pickler's, of deep values
            return type(error), str(error)
        return buffer.getvalue()

    for case in CASES.values():
        data, before = case.build(), harmless
        monkeypatch.setattr(pickles, "run_if_harmless", note)
        with_proofs = answer(data)
        if harmless > before:
            monkeypatch.setattr(pickles, "run_if_harmless", lambda *_: (None, False))
            assert answer(data) == with_proofs, case.id
    assert harmless > proved > 10

"""The two ways to run a pickle, by proof and by the vm, give the same for hostile files."""

from __future__ import annotations

import io
from typing import Any

import pytest

import ptfile
from ptfile.formats import pickles
from ptfile.machine.fast import run_if_harmless
from tests.hostile.sections import CASES


def test_a_hostile_file_gets_the_same_answer_whether_or_not_its_pickle_is_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a pickle is proved: the same value, or the same error with the same words."""
    proved = 0

    def note(*arguments: Any) -> tuple[Any, bool]:
        nonlocal proved
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
        data, before = case.build(), proved
        monkeypatch.setattr(pickles, "run_if_harmless", note)
        with_proofs = answer(data)
        if proved > before:
            monkeypatch.setattr(pickles, "run_if_harmless", lambda *_: (None, False))
            assert answer(data) == with_proofs, case.id
    assert proved

"""Many tensors that are read together: the same is proved as where each is read by itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest

import ptfile
from ptfile.formats.vocabulary import ROLES
from ptfile.machine.phrases import phrases
from ptfile.machine.proof import is_harmless
from ptfile.machine.proof_alike import Alike
from tests.machine.test_proof import fast, pickled, plainly


def tensors(count: int, name: Callable[[int], str]) -> dict[str, Any]:
    return {name(number): ptfile.zeros(2, 3) for number in range(count)}


CHECKPOINTS: dict[str, dict[str, Any]] = {
    "names of one length": tensors(1_500, lambda number: f"n{number:04}"),
    "names of all lengths": tensors(256, lambda number: "n" * number),
    "then others": {**tensors(200, "n{}".format), **{f"b{number}": ptfile.zeros(number % 5) for number in range(50)}},
    "a name once more": {**tensors(200, "n{}".format), "names": [f"n{number}" for number in range(200)]},
    "two dicts": {"model": tensors(120, "n{}".format), "ema": tensors(120, "n{}".format)},
}
PICKLES = {name: pickled(value) for name, value in CHECKPOINTS.items()}


def proved_one_by_one(data: bytes) -> bool:
    with patch.object(Alike, "learn", return_value=False):
        return is_harmless(data, ROLES)


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_many_tensors_give_what_the_vm_gives(case: str) -> None:
    """Read together or not, all of these are proved."""
    data = PICKLES[case]
    value, is_run = fast(data)
    assert is_run
    assert pickled(value) == pickled(plainly(data)) == data
    assert proved_one_by_one(data)


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_nearly_all_of_them_are_read_together(case: str) -> None:
    """Else it would take as long as before, and the tests below would show nothing."""
    together = 0
    run = Alike.run

    def counted(alike: Alike, position: int) -> Any:
        nonlocal together
        found = run(alike, position)
        together += found.count if found else 0
        return found

    with patch.object(Alike, "run", counted):
        assert is_harmless(PICKLES[case], ROLES)
    assert together >= {"then others": 100, "two dicts": 120}.get(case, 150)


def test_a_text_of_theirs_may_be_taken_out_of_the_memo_again() -> None:
    """It is in another place of the checkpoint too: as the same object, and it stays one."""
    names = [f"a name of {number}" for number in range(300)]
    data = pickled({**{name: ptfile.zeros(2, 3) for name in names}, "names": names, "last": (names[100],)})
    value, is_run = fast(data)
    assert is_run
    assert value["last"][0] is value["names"][100]
    assert pickled(value) == data


PLACE = PICKLES["names of one length"].index(b"n0200")
ONE = PICKLES["names of one length"].index(b"n0201") - PLACE


@pytest.mark.parametrize("change", [1, 0x80, 5, ord("X") ^ ord("h")])
def test_each_byte_of_one_that_is_changed_is_seen(change: int) -> None:
    """Byte by byte, what is read together is judged as what is read by itself."""
    verdicts = set()
    original = PICKLES["names of one length"][: PLACE + 40 * ONE - 5] + b"u."
    assert is_harmless(original, ROLES)
    for place in range(PLACE - 5, PLACE - 5 + ONE):
        data = bytearray(original)
        data[place] ^= change
        verdict = is_harmless(bytes(data), ROLES)
        assert verdict == proved_one_by_one(bytes(data)), place - PLACE
        verdicts.add(verdict)
    assert verdicts == {True, False}


@pytest.mark.parametrize("seed", range(300))
def test_what_is_changed_at_random_is_judged_as_one_by_one(seed: int) -> None:
    """Bytes changed, taken out, doubled and moved: also across tensors, so that rows of them break off and go on."""
    chance = random.Random(seed)
    data = bytearray(PICKLES[chance.choice(["names of all lengths", "then others", "two dicts"])])
    for _ in range(chance.randint(1, 2)):
        place, other = chance.randrange(6_000, len(data)), chance.randrange(6_000, len(data))
        length = chance.choice((1, 1, 4, 5, 110))
        match chance.randrange(3):
            case 0:
                data[place] = chance.choice((0, 1, 255, ord("X"), ord("r"), ord("q"), ord("h")))
            case 1:
                del data[place : place + length]
            case _:
                data[place : place + length] = data[other : other + length]
    assert is_harmless(bytes(data), ROLES) == proved_one_by_one(bytes(data))


def test_entries_of_the_memo_may_not_be_set_again() -> None:
    """A tensor that stands there twice, to the last byte, sets what is set."""
    data = PICKLES["names of one length"]
    start, end = PLACE - 5, PLACE - 5 + ONE
    assert is_harmless(data, ROLES)
    assert not is_harmless(data[:end] + data[start:end] + data[end:], ROLES)
    assert is_harmless(data[:start] + data[end:], ROLES)  # numbers left out are those of nothing


def test_nothing_is_learned_of_short_puts() -> None:
    """Not even where all of them stand where a long one could end: which of these bytes may differ would be wrong."""
    phrase = (
        b"X\3\0\0\0r12q\1h\2((h\3h\4X\3\0\0\0r12q\5h\6J\1\0r\0tq\7QK\0J\1\0r\0\x85q\x08J\1\0r\0\x85q\x09\x89hr)Rq\x0atR"
    )
    match = phrases().text_and_tensor.fullmatch(phrase)
    assert match
    alike = Alike(phrase)
    assert not any(alike.learn(match) for _ in range(9))


def test_rows_that_break_off_again_and_again_are_not_looked_at_together_for_ever() -> None:
    """A look at many costs more than one tensor read by itself."""
    value = {f"{number:05}": ptfile.zeros(2, 1 + number // 2 % 2) for number in range(2_000)}
    with patch.object(Alike, "run", autospec=True, side_effect=Alike.run) as looks:
        assert is_harmless(pickled(value), ROLES)
    learned = sum(call.args[0]._is_learned for call in looks.call_args_list)
    assert learned < 20

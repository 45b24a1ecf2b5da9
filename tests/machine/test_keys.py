"""Keys whose hashing would take long, or go too deep, are found before they are hashed."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from ptfile.errors import FormatError, LimitError
from ptfile.machine.keys import KeyChecks

SAME_HASH = (1 << 61) - 1
"""Multiples of it have the hash 0."""


def checks(most_parts: int = 100_000) -> KeyChecks:
    return KeyChecks(lambda _: True, lambda _: 0, most_parts)


def deep(levels: int) -> Any:
    value: Any = ()
    for _ in range(levels):
        value = (value,)
    return value


@pytest.mark.parametrize("key", [[], {}, set(), bytearray(), ([],), (1, ({},))], ids=repr)
def test_what_cannot_be_hashed_is_refused(key: object) -> None:
    """By itself or inside a tuple."""
    with pytest.raises(FormatError, match="cannot be a key"):
        checks().check({}, [key])


def test_a_type_that_is_not_allowed_is_refused() -> None:
    """Though Python could hash it."""
    with pytest.raises(FormatError, match="a float cannot be a key"):
        KeyChecks(lambda kind: kind is not float, lambda _: 0, 10).check({}, [(1, 2.5)])


def test_a_deep_tuple_and_one_that_shares_its_halves_are_refused_at_once() -> None:
    """Hashing the first would overflow the stack of C, hashing the second would not end."""
    halves: Any = ()
    for _ in range(40):
        halves = (halves, halves)
    start = time.perf_counter()
    for key in (deep(10_000), halves):
        with pytest.raises(FormatError, match="too large or too deep"):
            checks().check({}, [key])
    assert time.perf_counter() - start < 1


def test_the_parts_of_all_keys_together_are_bounded() -> None:
    """A large tuple is hashed whole each time it is a key, though the pickle only names it again."""
    large = tuple(range(999))
    some = checks(most_parts=100_000)
    for _ in range(100):
        some.check({}, [large])
    with pytest.raises(LimitError) as caught:
        some.check({}, [large])
    assert (caught.value.limit, caught.value.allowed) == ("shared", 100_000)


@pytest.mark.parametrize(
    "key",
    [lambda n: n * SAME_HASH, lambda n: (n * SAME_HASH, 7), lambda n: complex(-1000003 * n, n)],
    ids=["integers", "tuples", "complex"],
)
def test_keys_that_are_chosen_to_have_one_hash_are_refused(key: Any) -> None:
    """One at a time or many, in one container."""
    keys = [key(n) for n in range(1, 200)]
    assert len({hash(one) for one in keys}) == 1
    with pytest.raises(LimitError) as caught:
        checks().check({}, keys)
    assert caught.value.limit == "collisions"
    target: dict[Any, Any] = {}
    some = checks()
    for one in keys[:63]:
        some.check(target, [one])
        target[one] = None
    with pytest.raises(LimitError):
        some.check(target, keys[63:64])


def meeting(bits: int) -> list[int]:
    """Integers with hashes of their own that all look at the places of those before them, in a table of 2**bits."""
    size = 1 << bits
    chain, place = [], 12_345 % size
    for _ in range(size // 3):  # what is left when the table grows to this size
        chain.append(place)
        place = (5 * place + 1) % size
    early = set(chain[: size // 24])
    found: list[int] = []
    taken, chance = set(chain), random.Random(1)
    while len(found) < size // 3 - 2:
        key = chance.randrange(size, 1 << (bits + 10))
        place, perturb = key % size, key
        while place in taken and perturb:
            perturb >>= 5
            place = (place * 5 + perturb + 1) % size
        if place in early and not perturb:
            found.append(key)
    return [*chain, *dict.fromkeys(found)]


def test_integers_that_meet_in_the_table_are_refused() -> None:
    """Though no two have one hash."""
    keys = meeting(12)
    assert len(set(keys)) > 2_000
    with pytest.raises(LimitError) as caught:
        checks().check({}, keys)
    assert caught.value.limit == "collisions"


HONEST = {
    "numbers": range(50_000),
    "negative": range(-50_000, 0),
    "every 4096th": range(0, 4096 * 50_000, 4096),
    "large steps": range(0, 50_000 << 40, 1 << 40),
    "random": [random.Random(3).randrange(1 << 60) + number for number in range(20_000)],
    "hashes": [hash(str(number)) for number in range(50_000)],
    "addresses": [id(value) for value in [object() for _ in range(50_000)]],
    "pairs": [(row, column) for row in range(200) for column in range(200)],
    "floats": [number / 7 for number in range(50_000)],
    "whole floats": [float(number) for number in range(50_000)],
    "huge": [number << 80 for number in range(20_000)],
}


@pytest.mark.parametrize("into_set", [False, True])
@pytest.mark.parametrize("kind", HONEST)
def test_honest_keys_pass(kind: str, into_set: bool) -> None:
    """Also where they are regular; in one batch or in many."""
    keys = list(HONEST[kind])
    checks(1_000_000).check(set() if into_set else {}, keys, into_set=into_set)
    target: dict[Any, None] = {}
    some = checks(1_000_000)
    for start in range(0, len(keys), 1_000):
        batch = keys[start : start + 1_000]
        some.check(target, batch)
        target.update(dict.fromkeys(batch))


def test_one_key_in_many_containers_is_no_collision() -> None:
    """Also where they come and go, and the next one gets the address of the last."""
    some = checks()
    for _ in range(1_000):
        some.check({}, [(1, "a"), 1 << 70, "text", 5])

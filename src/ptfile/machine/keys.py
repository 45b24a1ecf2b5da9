"""Which values may be keys of dicts and elements of sets.

Hashing a tuple walks all of it, recursing in C, and walks a part as often as it is shared: a few bytes of pickle can
make that take forever, or overflow the stack. So keys are measured before they are hashed. And keys can be chosen to
meet in the table of a dict or set, where each would look at the places of all before it. So they are placed here first,
in a table that counts the looks. Texts and bytes need no care there: their hashes cannot be foreseen. But long ones are
compared to their end with another one that is equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ptfile.errors import FormatError, LimitError

_PLAIN = frozenset({str, bytes, int, float, bool, type(None), complex})
_TEXTS = frozenset({str, bytes})
_UNFORESEEN = _TEXTS | {bool, type(None)}
_SHORT = 1_000
"""Characters or bytes of a key that cost no more than any other."""
_PER_PART = 64
"""Bytes of a key that cost as much as a part of one."""
_MOST_PARTS = 10_000
_MOST_LEVELS = 100
_FEW = 64
"""Keys of one container that may meet as they like."""
FEW_SMALL = 1_000
"""The same where all that are no texts are small: to compare two of these takes nothing, and few have one hash."""
_SMALL_INT = 7 * 8
"""Bits."""
_SPARE_LOOKS, _LOOKS_PER_KEY = 1_000, 64
"""At places that are taken. There is about one for each honest key; up to twenty for multiples of large powers of 2."""
_MOST_EQUAL = 16
"""Keys of one container with one hash, which are compared with each other. Two are a rare accident."""
_LINEAR = 9
"""LINEAR_PROBES, Objects/setobject.c: places behind the first that a set looks at before it jumps."""
_ALL_BITS = (1 << 64) - 1


class KeyChecks:
    """Checks the keys of one pickle."""

    def __init__(self, allowed: Callable[[type], bool], weigh: Callable[[Any], int], most_parts: int) -> None:
        """`allowed` says which types may be keys, `weigh` how many bytes one has to its hash and to its being equal.

        most_parts: of all keys together that have parts, or are long.
        """
        self._allowed = allowed
        self._weigh = weigh
        self._most_parts = most_parts
        self._parts = 0
        self._tables: dict[int, _Table] = {}  # by the address of the container, which they keep alive

    def check(self, target: Any, keys: Iterable[object], *, into_set: bool = False) -> None:
        """Raise FormatError unless every key can be hashed; LimitError if that, or storing them, could take long.

        target: the container that they are put into, or for which they are collected.
        """
        hashes = []
        others = 0
        small = True
        for key in keys:
            kind = type(key)
            if kind in _UNFORESEEN:
                others += 1
                if kind in _TEXTS and len(key) > _SHORT:  # type: ignore[arg-type]
                    self._spend(len(key) // _PER_PART)  # type: ignore[arg-type]
                continue
            if kind not in _PLAIN:
                self._measure(key)
            small = small and _is_small(key)
            hashes.append(_hash(key))
        if hashes:
            self._place(target, hashes, others, small, into_set)

    def _place(self, target: Any, hashes: list[int], others: int, small: bool, into_set: bool) -> None:
        known = target if isinstance(target, dict | set) else ()
        if len(known) + len(hashes) < _FEW:
            return
        table = self._tables.get(id(target))
        if table is None:
            foreseen = [key for key in known if type(key) not in _UNFORESEEN]
            table = self._tables[id(target)] = _Table(target, into_set, len(known) - len(foreseen))
            small = small and all(map(_is_small, foreseen))
            hashes = [*map(hash, foreseen), *hashes]
        table.others += others
        table.may_meet = table.may_meet and small
        for value in hashes:
            table.add(value)

    def _measure(self, key: object) -> None:
        parts = 0
        nbytes = 0
        level: list[object] = [key]
        for _ in range(_MOST_LEVELS):
            parts += len(level)
            nbytes += sum(map(self._weigh, level))
            if parts > _MOST_PARTS:
                break
            inner: list[object] = []
            for part in level:
                if isinstance(part, (tuple, frozenset)):
                    inner.extend(part)
                elif type(part).__hash__ is None or not self._allowed(type(part)):
                    raise _no_key(part)
            if not inner:
                self._spend(parts + nbytes // _PER_PART)
                return
            level = inner
        raise FormatError("a key of a dict is too large or too deep")

    def _spend(self, parts: int) -> None:
        self._parts += parts
        if self._parts > self._most_parts:
            problem = "keys of dicts have too many parts, all together"
            raise LimitError(problem, limit="shared", allowed=self._most_parts, actual=self._parts)


class _Table:
    """The places of a dict (Objects/dictobject.c) or a set, as far as the hashes that can be foreseen fill them."""

    __slots__ = ("_broken", "_count", "_hashes", "_into_set", "_looks", "_taken", "may_meet", "others", "target")

    def __init__(self, target: Any, into_set: bool, others: int) -> None:
        self.target = target
        self.others = others
        """Other keys, of which it is only known that they need places too."""
        self.may_meet = True
        """Whether all are small, so that a few of them may meet as they like."""
        self._into_set = into_set
        self._hashes: dict[int, int] = {}  # with how many keys have them
        self._count = 0
        self._taken = bytearray()
        self._looks = 0
        self._broken: LimitError | None = None

    def add(self, value: int) -> None:
        """Raise LimitError if the keys meet too often."""
        self._count += 1
        if self._broken is None:
            self._try(value)
        if self._broken is not None and not (self.may_meet and self._count <= FEW_SMALL):
            raise self._broken

    def _try(self, value: int) -> None:
        equal = self._hashes[value] = self._hashes.get(value, 0) + 1
        if equal > _MOST_EQUAL:
            self._broken = _collision(_MOST_EQUAL, equal)
            return
        used = self._count + self.others
        if used * 3 > len(self._taken) * 2:
            self._taken = bytearray(1 << ((3 * used + 1) // 2 - 1).bit_length())
            for other, equal in self._hashes.items():
                for _ in range(equal):
                    self._place(other)
        else:
            self._place(value)
        allowed = _SPARE_LOOKS + _LOOKS_PER_KEY * self._count
        if self._looks > allowed:
            self._broken = _collision(allowed, self._looks)

    def _place(self, value: int) -> None:
        taken = self._taken
        mask = len(taken) - 1
        perturb, place = value & _ALL_BITS, value & mask
        while taken[place]:
            self._looks += 1
            if self._into_set and place + _LINEAR <= mask:
                free = taken.find(0, place, place + _LINEAR + 1)
                if free >= 0:
                    place = free
                    break
            perturb >>= 5
            place = (place * 5 + perturb + 1) & mask
        taken[place] = 1


def _is_small(key: object) -> bool:
    """What a proof knows as a number, and the empty tuple."""
    if type(key) is int:
        return key.bit_length() <= _SMALL_INT
    return type(key) is float or (type(key) is tuple and not key)


def _collision(allowed: int, actual: int) -> LimitError:
    problem = "keys are chosen so that they meet in the table of their container"
    return LimitError(problem, limit="collisions", allowed=allowed, actual=actual)


def _hash(key: object) -> int:
    try:
        return hash(key)
    except Exception as error:  # a class may have exceptions of its own (numpy's times without a unit)
        raise _no_key(key) from error


def _no_key(value: object) -> FormatError:
    return FormatError(f"a {type(value).__name__} cannot be a key of a dict or an element of a set")

"""Which values may be keys of dicts and elements of sets.

Hashing a tuple walks all of it, recursing in C, and walks a part as often as it is shared: a few bytes of pickle can
make that take forever, or overflow the stack. And where many keys have one hash, each is compared with all before it.
So keys are measured before they are hashed. Texts and bytes need no care: their hashes cannot be foreseen. Integers
whose hashes differ can still be chosen to meet in the table of a dict; that is not bounded here (docs/limits.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from ptfile.errors import FormatError, LimitError

_PLAIN = frozenset({str, bytes, int, float, bool, type(None), complex})
_UNFORESEEN = frozenset({str, bytes, bool, type(None)})
_OWN_HASH = (1 << 61) - 1
"""Integers below that are their own hash, on every machine that has 64 bits."""
_MOST_PARTS = 10_000
_MOST_LEVELS = 100
_MOST_COLLISIONS = 100
"""Keys of one container with one hash. Among honest ones, even two are a rare accident."""


class KeyChecks:
    """Checks the keys of one pickle."""

    def __init__(self, allowed: Callable[[type], bool], most_parts: int) -> None:
        """`allowed` says which types may be keys; most_parts: of all keys together that have parts."""
        self._allowed = allowed
        self._most_parts = most_parts
        self._parts = 0
        self._hashes: Counter[tuple[int, int]] = Counter()
        self._targets: dict[int, object] = {}  # so that no other container gets the address of one

    def check(self, target: object, keys: Iterable[object]) -> None:
        """Raise FormatError unless every key can be hashed; LimitError if that could take long.

        target: what the keys are put into.
        """
        for key in keys:
            kind = type(key)
            if kind in _UNFORESEEN or (kind is int and -_OWN_HASH < key < _OWN_HASH):  # type: ignore[operator]
                continue
            if kind not in _PLAIN:
                self._measure(key)
            self._count(target, key)

    def _measure(self, key: object) -> None:
        parts = 0
        level: list[object] = [key]
        for _ in range(_MOST_LEVELS):
            parts += len(level)
            if parts > _MOST_PARTS:
                break
            inner: list[object] = []
            for part in level:
                if isinstance(part, (tuple, frozenset)):
                    inner.extend(part)
                elif type(part).__hash__ is None or not self._allowed(type(part)):
                    raise _no_key(part)
            if not inner:
                self._spend(parts)
                return
            level = inner
        raise FormatError("a key of a dict is too large or too deep")

    def _spend(self, parts: int) -> None:
        self._parts += parts
        if self._parts > self._most_parts:
            problem = "keys of dicts have too many parts, all together"
            raise LimitError(problem, limit="shared", allowed=self._most_parts, actual=self._parts)

    def _count(self, target: object, key: object) -> None:
        self._targets[id(target)] = target
        try:
            place = id(target), hash(key)
        except Exception as error:  # a class may have exceptions of its own (numpy's times without a unit)
            raise _no_key(key) from error
        self._hashes[place] += 1
        if self._hashes[place] > _MOST_COLLISIONS:
            problem = "keys are chosen so that they all have one hash"
            raise LimitError(problem, limit="collisions", allowed=_MOST_COLLISIONS, actual=_MOST_COLLISIONS + 1)


def _no_key(value: object) -> FormatError:
    return FormatError(f"a {type(value).__name__} cannot be a key of a dict or an element of a set")

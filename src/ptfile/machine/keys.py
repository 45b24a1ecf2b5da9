"""Which values may be keys of dicts and elements of sets.

Hashing a tuple walks all of it, recursing in C, and walks a part as often as it is shared: a few bytes of pickle can
make that take forever, or overflow the stack. So keys are measured before they are hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ptfile.errors import FormatError

_PLAIN = frozenset({str, int, float, bool, type(None), bytes, complex})
_MOST_PARTS = 10_000
_MOST_LEVELS = 100


def check_keys(keys: Iterable[object], *, allowed: Callable[[type], bool] = lambda _: True) -> None:
    """Raise FormatError unless every key can be hashed, safely; `allowed` says which types may be keys."""
    for key in keys:
        if type(key) not in _PLAIN:
            _check(key, allowed)


def _check(key: object, allowed: Callable[[type], bool]) -> None:
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
            elif type(part).__hash__ is None or not allowed(type(part)):
                raise FormatError(f"a {type(part).__name__} cannot be a key of a dict or an element of a set")
        if not inner:
            return
        level = inner
    raise FormatError("a key of a dict is too large or too deep")

"""Dropping, keeping, renaming and merging in an object tree: it is changed in place, and only tuples are made anew."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from ptfile._names import Attribute, Key, join
from ptfile.editing.places import Place, described, is_container
from ptfile.errors import UnsupportedError

_PLAIN = frozenset({bool, bytes, complex, float, int, str, type(None)})


def to_drop(found: Sequence[Place], patterns: Iterable[str]) -> set[int]:
    """The numbers of the places that patterns describe. Raises ValueError for a pattern that describes none."""
    names = _described(found, patterns)
    return {number for number, place in enumerate(found) if place.path and place.name in names}


def not_to_keep(found: Sequence[Place], patterns: Iterable[str]) -> set[int]:
    """The numbers of the places that no pattern describes, nor what they are in, nor what is in them.

    What stands beside the keys of a dict goes with the dict. Raises ValueError as `to_drop` does.
    """
    names = _described(found, patterns)
    kept: list[bool] = []
    for place in found:
        kept.append(place.name in names or (place.above >= 0 and kept[place.above]))
    for number in range(len(found) - 1, 0, -1):
        if kept[number]:
            kept[found[number].above] = True
    beside: set[int] = set()
    for number, place in enumerate(found):
        if place.above in beside or (place.is_beside_keys and kept[place.above]):
            beside.add(number)
    return {number for number, is_kept in enumerate(kept) if not is_kept} - beside


def _described(found: Sequence[Place], patterns: Iterable[str]) -> set[str]:
    names = [place.name for place in found]
    return {name for pattern in patterns for name in described(pattern, names)}


def new_keys(found: Sequence[Place], rules: Mapping[str, str]) -> dict[int, str]:
    """New keys by the numbers of their places: in each text key of a dict the first match is replaced, as `s///` does.

    rules: replacements by regular expressions, each of which gets what those before it have made. Raises ValueError
    for a rule that changes nothing, and for what is no regular expression.
    """
    keys = {
        number: place.step.value
        for number, place in enumerate(found)
        if place.path and isinstance(place.step, Key) and type(place.step.value) is str
    }
    changed = dict(keys)
    for pattern, replacement in rules.items():
        rule = _compiled(pattern)
        after = {number: _substituted(rule, replacement, key) for number, key in changed.items()}
        if after == changed:
            some = ", such as " + repr(next(iter(keys.values()))) if keys else ""
            message = f"{pattern!r} changes no key of a dict in it: it is matched against keys{some}"
            raise ValueError(message)
        changed = after
    return {number: key for number, key in changed.items() if key != keys[number]}


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        message = f"{pattern!r} is no regular expression: {error}"
        raise ValueError(message) from error


def _substituted(rule: re.Pattern[str], replacement: str, name: str) -> str:
    try:
        return rule.sub(replacement, name, count=1)
    except (re.error, IndexError) as error:
        message = f"{replacement!r} cannot replace {rule.pattern!r}: {error}"
        raise ValueError(message) from error


# doing it


def apply(found: Sequence[Place], dropped: set[int], keys: Mapping[int, str], replaced: Mapping[int, Any]) -> Any:
    """Change the tree, and return its root.

    dropped, keys: by the numbers of places; replaced: what takes the place of values, by their `id`. Raises ValueError
    for two things that would get one key.
    """
    inside: dict[int, list[int]] = {}
    for number, place in enumerate(found[1:], 1):
        inside.setdefault(place.above, []).append(number)
    first = {id(found[number].value): number for number in inside}
    changer = _Changer(found, inside, first, dropped, keys, replaced)
    for number in inside:
        changer.change(number)
    try:
        return changer.new(found[0].value)
    except RecursionError as error:
        raise UnsupportedError("the tuples in it are nested too deep to be edited") from error


class _Changer:
    def __init__(
        self,
        found: Sequence[Place],
        inside: Mapping[int, list[int]],
        first: Mapping[int, int],
        dropped: set[int],
        keys: Mapping[int, str],
        replaced: Mapping[int, Any],
    ) -> None:
        self._found = found
        self._inside = inside
        self._first = first
        self._dropped = dropped
        self._keys = keys
        self._new = dict(replaced)

    def new(self, value: Any) -> Any:
        """What takes the place of a value: itself, what replaces it, or a tuple made anew."""
        number = self._first.get(id(value))
        if id(value) not in self._new and type(value) is tuple and number is not None:
            left = [self._found[one] for one in self._inside[number] if one not in self._dropped]
            items = [self.new(place.value) for place in left]
            same = len(items) == len(value) and all(map(_is, items, value))
            self._new[id(value)] = value if same else tuple(items)
        return self._new.get(id(value), value)

    def change(self, number: int) -> None:
        """Put into a container what shall be in it."""
        container = self._found[number].value
        left = [one for one in self._inside[number] if one not in self._dropped]
        items = [(one, self._found[one].step, self.new(self._found[one].value)) for one in left]
        if isinstance(container, list | deque):
            container.clear()
            container.extend(item for _, _, item in items)
        elif isinstance(container, MutableMapping):
            self._fill(container, number, [each for each in items if isinstance(each[1], Key)])
            attributes = [each for each in items if isinstance(each[1], Attribute)]
            if attributes or getattr(container, "__dict__", None):
                self._fill(vars(container), number, attributes)
        elif type(container) is not tuple:
            self._fill(vars(container), number, items)

    def _fill(self, mapping: MutableMapping[Any, Any], number: int, items: list[tuple[int, Any, Any]]) -> None:
        pairs = [(self._keys.get(one, _key(step)), item) for one, step, item in items]
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: set[Any] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            message = f"two things would be called {join(self._found[number].name, Key(twice))!r}"
            raise ValueError(message)
        mapping.clear()
        mapping.update(made)


def _key(step: Any) -> Any:
    return step.value if isinstance(step, Key) else step.name


def _is(one: object, other: object) -> bool:
    return one is other


# several trees


def merge(into: Any, other: Any, name: str, file: str) -> None:
    """Put what is in one dict into another, and so on in the dicts that both have.

    name: of the place of both; file: where the other is from. Raises ValueError, which names it, for what both have,
    unless it is one and the same plain value.
    """
    if not (isinstance(into, MutableMapping) and isinstance(other, MutableMapping)) or not is_container(into):
        message = f"{file}: {name or 'it'} is there already, and only dicts can be merged"
        raise ValueError(message)
    _merge_items(into, other, lambda key: join(name, Key(key)), file)
    attributes = getattr(other, "__dict__", None)
    if attributes:
        if not hasattr(into, "__dict__"):
            message = f"{file}: {name or 'it'} has attributes, and a plain dict has none"
            raise ValueError(message)
        _merge_items(vars(into), attributes, lambda key: join(name, Attribute(key, beside_keys=True)), file)


def _merge_items(into: MutableMapping[Any, Any], other: Mapping[Any, Any], named: Any, file: str) -> None:
    for key, value in other.items():
        if key not in into:
            into[key] = value
            continue
        mine = into[key]
        if type(mine) is type(value) and type(mine) in _PLAIN and mine == value:
            continue
        merge(mine, value, named(key), file)

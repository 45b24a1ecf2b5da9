"""The places of an object tree that can be edited, containers included, with the names that `ptfile ls` gives."""

from __future__ import annotations

import argparse
import re
import types
from collections import deque
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptfile._names import Attribute, Path, Step, distinct, join
from ptfile._selection import SelectionError, unknown
from ptfile._tree import NAME_CHARACTERS, steps
from ptfile.errors import LimitError
from ptfile.limits import Limits
from ptfile.machine.inert import InertRecord


@dataclass(eq=False, slots=True)
class Place:
    """A container or a value in a tree."""

    name: str
    path: Path
    value: Any
    above: int
    """The number of the place that it is in; -1 for the root."""

    @property
    def step(self) -> Step:
        """From the place above."""
        return self.path[-1]

    @property
    def is_beside_keys(self) -> bool:
        """Whether it is an attribute of a dict, as the `_metadata` of a state dict is."""
        return isinstance(self.path[-1], Attribute) and self.path[-1].beside_keys if self.path else False


def is_container(value: Any) -> bool:
    """Whether what is inside can be edited. Objects of unknown classes and tensors are values."""
    if type(value) is InertRecord:  # it tells `isinstance` that it is something else
        return False
    return isinstance(value, MutableMapping | list | deque | argparse.Namespace | types.SimpleNamespace) or (
        type(value) is tuple
    )


def places(root: Any, limits: Limits) -> list[Place]:
    """All places, each container before what is in it. One that is in several places is gone into at the first.

    Raises LimitError as `walk` does.
    """
    found = [Place("", (), root, -1)]
    opened = set()
    stack = [0] if is_container(root) else []
    characters = 0
    while stack:
        number = stack.pop()
        place = found[number]
        if id(place.value) in opened:
            continue
        opened.add(id(place.value))
        if len(place.path) >= limits.depth:
            depth = limits.depth
            raise LimitError("it nests too deeply", limit="depth", allowed=depth, actual=depth + 1)
        inner = []
        for step, value in steps(place.value):
            name = join(place.name, step)
            characters += len(name)
            if characters > NAME_CHARACTERS:
                problem = "the names in it together are too long"
                raise LimitError(problem, limit="name_characters", allowed=NAME_CHARACTERS, actual=characters)
            if is_container(value):
                inner.append(len(found))
            found.append(Place(name, (*place.path, step), value, number))
        stack.extend(reversed(inner))
    names = distinct([place.name for place in found], [place.path for place in found])
    for place, name in zip(found, names, strict=True):
        place.name = name
    return found


def described(pattern: str, names: Sequence[str]) -> set[str]:
    """The names that a pattern describes. Raises SelectionError if it describes none, with what may have been meant."""
    those = matching(pattern, names)
    if not those:
        said = unknown([name for name in names if name], pattern)
        fix = f"; '{pattern}.*' is all of them" if matching(f"{pattern}.*", names) else ""
        raise SelectionError(said + fix)
    return those


def matching(pattern: str, names: Iterable[str]) -> set[str]:
    """The names that a pattern is, or describes: `*` stands for any characters, `?` for any one, the rest for itself.

    >>> sorted(matching("a[*].b?", ["a[0].b1", "a[0].b", "a.b1"]))
    ['a[0].b1']
    """
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    compiled = re.compile("".join(parts), re.DOTALL)
    return {name for name in names if compiled.fullmatch(name)}

"""Descriptions with one detail changed, to see that the comparison looks at every detail there is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeAlias

from tests.golden.walk import Node

Place: TypeAlias = "tuple[Any, ...]"
"""Keys and indexes that lead to a detail."""


def changed(description: Node, place: Place) -> Node:
    """A description with the detail at one place changed."""
    copied = copy.deepcopy(description)
    holder: Any = copied
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = _other(holder[place[-1]])
    return copied


def details(value: Any, steps: Place = (), kind: str = "") -> Iterator[tuple[Place, str]]:
    """The places of all details of a description, each with the kind of detail that is there, `kind.key`."""
    if isinstance(value, dict):
        kind = value.get("t", kind)
        for key, inner in value.items():
            if not _has_nodes(inner):
                yield (*steps, key), f"{kind}.{key}"
            else:
                if isinstance(inner, list):
                    yield (*steps, key), f"{kind}.{key}"
                yield from details(inner, (*steps, key), kind if key not in _SECTIONS else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from details(inner, (*steps, index), kind)


_SECTIONS = ("storages", "quant", "nested", "components")


def _has_nodes(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_nodes, value))
    return isinstance(value, dict)


def _other(value: Any) -> Any:
    """Something else of the same type, or nearly."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        # The first sign of a digest, of hexadecimal or of a number stays a sign that can stand there.
        return {"0": "1", "1": "2", "T": "F", "F": "T"}.get(value[:1], "0") + value[1:]
    if isinstance(value, list):
        if not value:
            return [{"t": "None"}]
        return value[:-1] if _has_nodes(value) else [_other(value[0]), *value[1:]]
    return 1

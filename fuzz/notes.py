"""JSON texts changed by their values: ptfile's notes, and headers of safetensors files."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from fuzz import containers
from fuzz.values import NUMBERS, TEXTS
from ptfile.conversion.describing import NAMESPACES
from ptfile.conversion.values import FORMS
from ptfile.tensors import dtypes

_WORDS = (*FORMS, *NAMESPACES, "list", "tuple", "dict", "OrderedDict", "set", "frozenset", "same", "tensor", "array")
_NAMES = ("version", "root", "storages", "view", "grad", "parameter", "order", "F", "dtypes", "data_offsets", "shape")
_VIEWS: tuple[Any, ...] = (
    ["float32", 0, [2, 3], [3, 1]], ["uint8", 4, [3], [2]], ["int64", 0, [1 << 40], [0]], ["bool", 0, [], []],
    ["float32", 0, [0, 1 << 62], [1, 1 << 62]], ["complex64", 1, [1], [1 << 62]],
)  # fmt: skip
_MOST = 400
"""Values of a text that are looked at."""


def generated(rng: Random, names: tuple[str, ...]) -> bytes:
    """A note that speaks of tensors with these names, or nearly one."""
    note: dict[str, Any] = {"version": 1, "root": _value(rng, names, 3)}
    if rng.random() < 0.6:
        note["storages"] = [_storage(rng, names) for _ in range(rng.randrange(3))]
    return json.dumps(note).encode()


def _storage(rng: Random, names: tuple[str, ...]) -> list[Any]:
    parts = [_part(rng, names) for _ in range(rng.randrange(1, 3))]
    return [rng.choice((4, 8, 24, 48, rng.choice(NUMBERS))), rng.choice(TEXTS), parts]


def _part(rng: Random, names: tuple[str, ...]) -> list[Any]:
    part: list[Any] = [rng.choice(names), rng.choice((0, 0, 4, 8, 24, rng.choice(NUMBERS)))]
    return part if rng.random() < 0.6 else [*part, rng.choice(([], [1], [2], [3, 1], [1, 2], [0], [1 << 62]))]


def _value(rng: Random, names: tuple[str, ...], depth: int) -> Any:
    if depth == 0 or rng.random() < 0.4:
        kind = rng.randrange(4)
        if kind < 2:
            options = rng.choice(
                ({}, {"grad": True}, {"parameter": False}, {"order": "F"}, {"view": rng.choice(_VIEWS)})
            )
            return [rng.choice(("tensor", "tensor", "array")), rng.choice(names), *([options] if options else [])]
        return _plain(rng) if kind == 2 else [rng.choice(_WORDS), _plain(rng)]
    inside = [_value(rng, names, depth - 1) for _ in range(rng.randrange(4))]
    kind = rng.randrange(4)
    if kind == 0:
        return {rng.choice(TEXTS): item for item in inside}
    if kind == 1:
        return ["dict", *([_plain(rng), item] for item in inside)]
    if kind == 2:
        return ["OrderedDict", [[_plain(rng), item] for item in inside], {rng.choice(TEXTS): _plain(rng)}]
    return [rng.choice(("list", "list", "tuple", "set", rng.choice(_WORDS))), *inside]


def _plain(rng: Random) -> Any:
    texts = (*TEXTS, *_WORDS, *_NAMES, *dtypes.BY_NAME, "YWI=", "7ff8000000000123", "i8", "AAAAAAAAAAA=")
    return rng.choice(
        (rng.choice(texts), rng.choice(texts), rng.choice(NUMBERS), rng.randrange(9), 0.5, None, True, [])
    )


def mutated(rng: Random, data: bytes, donor: bytes, names: tuple[str, ...]) -> bytes:
    """A text with one to three other values in it, or others of its bytes."""
    changed, other = _parsed(data), _parsed(donor)
    if changed is None or rng.random() < 0.05:
        return containers.mutated_bytes(rng, data, donor)
    for _ in range(rng.choice((1, 1, 2, 3))):
        changed = _with_other_value(rng, changed, other, names)
    return json.dumps(changed, ensure_ascii=rng.random() < 0.9).encode("utf-8", "replace")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _with_other_value(rng: Random, root: Any, donor: Any, names: tuple[str, ...]) -> Any:
    places = _places(root)
    if not places:
        return root
    holder, key = rng.choice(places)
    old = holder[key]
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        others = _places(donor)
        holder[key] = _copied(_at(*rng.choice(others))) if others else _copied(_plain(rng))
    elif kind == 2 and type(old) is int:
        holder[key] = old + rng.choice((-1, 1, 8, -8, old))
    elif kind == 3 and isinstance(holder, list):
        holder.insert(key, _copied(old))
    elif kind == 4:
        holder[key] = _copied(_value(rng, names, 1))
    elif isinstance(holder, dict):
        holder[rng.choice(_NAMES + TEXTS)] = holder.pop(key)
    else:
        holder[key] = _copied(_plain(rng))
    return root


def _at(holder: Any, key: Any) -> Any:
    return holder[key]


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _places(root: Any) -> list[tuple[Any, Any]]:
    """(list or dict, index or key) of the values in a text, so that the last few levels are as likely as the first."""
    found: list[tuple[Any, Any]] = []
    waiting = [root]
    while waiting and len(found) < _MOST:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found

"""Python's own values: what they must be, by what the corpus says of them."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import uuid
from collections.abc import Mapping
from typing import Any

from tests.golden.expected_objects import check_attributes, check_class, class_name, items_of_record
from tests.golden.walk import Check, Node, Walk

# Python's scalars


def _none(walk: Walk, path: str, value: Any, _node: Node) -> None:
    walk.same(path, None, value)


def _boolean(walk: Walk, path: str, value: Any, node: Node) -> None:
    walk.same(path, node["repr"] == "True", value)


def _integer(walk: Walk, path: str, value: Any, node: Node) -> None:
    walk.same(path, int(node["repr"]), value)


def _float(walk: Walk, path: str, value: Any, node: Node) -> None:
    walk.same(path, node["hex"], value.hex() if type(value) is float else value)


def _complex(walk: Walk, path: str, value: Any, node: Node) -> None:
    parts = (repr(value.real), repr(value.imag)) if type(value) is complex else value
    walk.same(path, (node["real"], node["imag"]), parts)


def _text(walk: Walk, path: str, value: Any, node: Node) -> None:
    walk.same(path, node["value"], value)


def _python2_text(walk: Walk, path: str, value: Any, node: Node) -> None:
    data = bytes.fromhex(node["hex"])
    walk.same(path, data if walk.python2_encoding == "bytes" else data.decode(walk.python2_encoding), value)


def _bytes(walk: Walk, path: str, value: Any, node: Node) -> None:
    data = bytes.fromhex(node["hex"])
    walk.same(path, data if node["t"] == "bytes" else bytearray(data), value)


# Other values of Python


_REPR_NAMES = {module.__name__: module for module in (datetime, decimal, fractions, uuid)} | {
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "UUID": uuid.UUID,
}


def _repr(walk: Walk, path: str, value: Any, node: Node) -> None:
    # Python versions write the same timedelta differently, so that its text is read and written again.
    expected = eval(node["repr"], _REPR_NAMES.copy())
    walk.same(path, repr(expected), repr(value))
    walk.same(f"{path}.class", node["class"], class_name(value))


def _path(walk: Walk, path: str, value: Any, node: Node) -> None:
    # The module of the class depends on the running Python.
    walk.same(f"{path}.class", node["class"].rpartition(".")[2], type(value).__name__)
    walk.same(f"{path}.value", node["value"], str(value))


# Containers


def _items(node: Node) -> list[Node]:
    """The items of a sequence; long runs of numbers and texts are abbreviated."""
    if "ints" in node:
        return [{"t": "int", "repr": str(number)} for number in node["ints"]]
    if "strs" in node:
        return [{"t": "str", "value": text} for text in node["strs"]]
    items: list[Node] = node["items"]
    return items


def _sequence(walk: Walk, path: str, value: Any, node: Node) -> None:
    kind = {"list": list, "tuple": tuple}[node["t"]]
    if "class" in node:  # of a class that ptfile does not know
        if check_class(walk, path, value, node["class"]):
            walk.each(f"{path}.items", items_of_record(value, kind), _items(node))
    elif walk.same(f"{path}.class", kind, type(value)):
        walk.each(f"{path}.items", value, _items(node))


def _deque(walk: Walk, path: str, value: Any, node: Node) -> None:
    if walk.same(f"{path}.class", collections.deque, type(value)):
        walk.same(f"{path}.maxlen", node["maxlen"], value.maxlen)
        walk.each(f"{path}.items", value, _items(node))


def _set(walk: Walk, path: str, value: Any, node: Node) -> None:
    if walk.same(f"{path}.class", {"set": set, "frozenset": frozenset}[node["t"]], type(value)):
        walk.each(f"{path}.items", sorted(value, key=repr), node["items"])


_DICTS = {
    "dict": dict,
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": collections.defaultdict,
    "collections.Counter": collections.Counter,
}


def _dict(walk: Walk, path: str, value: Any, node: Node) -> None:
    name = node.get("class", "dict")
    if name in _DICTS:
        if not walk.same(f"{path}.class", _DICTS[name], type(value)):
            return
        pairs = list(value.items())
    else:
        if not check_class(walk, path, value, name):
            return
        pairs = value.inert_pairs
    _pairs(walk, f"{path}.items", pairs, node)
    if "default_factory" in node:
        walk.into(f"{path}.default_factory", value.default_factory, node["default_factory"])
    check_attributes(walk, f"{path}.attrs", value, node.get("attrs", []))


def _pairs(walk: Walk, path: str, pairs: list[tuple[Any, Any]], node: Node) -> None:
    """Keys and values, in order."""
    if "int_pairs" in node:
        walk.same(path, [tuple(pair) for pair in node["int_pairs"]], pairs)
        return
    walk.same(f"{path}.length", len(node["items"]), len(pairs))
    for index, (pair, (key, item)) in enumerate(zip(pairs, node["items"], strict=False)):
        walk.into(f"{path}[{index}][0]", pair[0], key)
        walk.into(f"{path}[{index}][1]", pair[1], item)


def _reference(walk: Walk, path: str, value: Any, node: Node) -> None:
    walk.refer(path, value, node["id"])


CHECKS: Mapping[str, Check] = {
    "None": _none,
    "bool": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _float,
    "complex": _complex,
    "str": _text,
    "unicode": _text,
    "pystr2": _python2_text,
    "bytes": _bytes,
    "bytearray": _bytes,
    "repr": _repr,
    "path": _path,
    "list": _sequence,
    "tuple": _sequence,
    "deque": _deque,
    "set": _set,
    "frozenset": _set,
    "dict": _dict,
    "ref": _reference,
}

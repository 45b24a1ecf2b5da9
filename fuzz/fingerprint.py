"""A value that was loaded as a flat list of plain facts, to compare two of them: types, numbers, bytes, sharing.

It goes through any graph in linear time and without recursion, whatever the file made.
"""

from __future__ import annotations

import array
import fractions
import struct
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ptfile.errors import PtfileError
from ptfile.formats import rebuild, torch_constants
from ptfile.machine.encoder import Apart
from ptfile.machine.inert import InertRecord, reduce_inert
from ptfile.machine.names import Global, InertName
from ptfile.tensors.constants import Size
from ptfile.tensors.storage import Storage, TypedStorage

_FLOAT = struct.Struct("<d")
_REDUCERS = {
    Global: lambda name: name,
    InertName: lambda name: Global(name.module, name.name),
    **rebuild.REDUCERS,
    **torch_constants.REDUCERS,
}


def fingerprint(value: Any) -> list[Any]:
    """The facts. What is met again is a number: two values with equal lists are shaped and shared alike."""
    facts: list[Any] = []
    met: dict[int, int] = {}
    alive: list[Any] = []  # what a reducer makes must not give its place in memory to another object
    pending = [value]
    while pending:
        item = pending.pop()
        kind = type(item)
        name = _nested_name(item)
        if name:
            facts.append(name)
            continue
        if kind in _LEAVES:
            facts.append(_LEAVES[kind](item))
            continue
        if id(item) in met:
            facts.append(("again", met[id(item)]))
            continue
        if kind not in _WITHOUT_IDENTITY and not (kind is tuple and not item):  # there is one empty tuple
            met[id(item)] = len(met)
            alive.append(item)
        own, parts = _describe(item)
        facts.append((kind.__name__, own, len(parts)))
        pending.extend(reversed(parts))
    return facts


def _nested_name(item: Any) -> Any:
    """What an inert name is called; protocol 2 looks a name inside another up by a call, which may stay one."""
    kind = type(item)
    if kind is InertName:
        return "name", item.module, item.name
    if kind is InertRecord and type(item.inert_target) is Global and item.inert_target.name == "getattr":
        parent, *names = item.inert_arguments or (None,)
        if isinstance(parent, Global | InertName) and [type(name) for name in names] == [str]:
            return "name", parent.module, f"{parent.name}.{names[0]}"
    return None


def _describe(item: Any) -> tuple[Any, list[Any]]:
    """Facts of an object's own, and the values that it is made of."""
    kind = type(item)
    if kind in _REDUCERS:
        return _reduced(item)
    for base, describe in _KINDS.items():
        if issubclass(kind, base):
            return describe(item)
    return repr(item), [vars(item)] if hasattr(item, "__dict__") else []


def _reduced(item: Any) -> tuple[Any, list[Any]]:
    try:
        reduced: Any = _REDUCERS[type(item)](item)
    except PtfileError as error:  # there are tensors that no file can hold
        return type(error).__name__, [getattr(item, "shape", None)]
    if isinstance(reduced, Apart | Global):
        return str(reduced), []
    return str(reduced[0]), list(reduced[1:])


def _storage(storage: Storage) -> tuple[Any, list[Any]]:
    try:
        content: Any = storage.tobytes()
    except PtfileError as error:  # of the meta device, or never provided
        content = type(error).__name__
    return (storage.nbytes(), storage.device, content), []


def _array(item: Any) -> tuple[Any, list[Any]]:
    order = (item.flags.c_contiguous, item.flags.f_contiguous)
    if item.dtype.hasobject:
        return (item.shape, order), [item.dtype, *item.reshape(-1).tolist()]
    return (item.shape, order, item.tobytes()), [item.dtype]


def _set(item: Any) -> tuple[Any, list[Any]]:
    """In an order of its own. Elements are measured before they are hashed, so a walk into each is short."""
    return sorted(repr(fingerprint(part)) if type(part) is not InertRecord else "record" for part in item), []


def _mapping(item: Any) -> tuple[Any, list[Any]]:
    own = repr(item.default_factory) if isinstance(item, defaultdict) else ""
    parts = [part for pair in item.items() for part in pair]
    return own, parts if type(item) is dict else [*parts, getattr(item, "__dict__", None)]


_LEAVES: Mapping[type, Callable[[Any], Any]] = {
    type(None): lambda _: None,
    bool: lambda item: ("bool", item),
    int: lambda item: ("int", hex(item)),  # in decimal, Python writes no number of more than 4,300 digits
    float: lambda item: ("float", _FLOAT.pack(item)),
    complex: lambda item: ("complex", _FLOAT.pack(item.real), _FLOAT.pack(item.imag)),
    str: lambda item: item,
    bytes: lambda item: item,
    Global: lambda item: ("name", item.module, item.name),
}
_KINDS: Mapping[type, Callable[[Any], tuple[Any, list[Any]]]] = {
    Storage: _storage,
    TypedStorage: lambda item: (item.dtype.name, [item.storage]),
    InertRecord: lambda item: (item.inert_how, [_known(part) for part in reduce_inert(item)]),
    np.ndarray: _array,
    np.generic: lambda item: (item.tobytes(), [item.dtype]),
    np.dtype: lambda item: (repr(item.__reduce__()[2]), []),
    dict: _mapping,
    list: lambda item: (None, item),
    tuple: lambda item: (None, list(item)),
    set: _set,
    frozenset: _set,
    deque: lambda item: (item.maxlen, list(item)),
    bytearray: lambda item: (bytes(item), []),
    array.array: lambda item: ((item.typecode, item.tobytes()), []),
    range: lambda item: (None, [item.start, item.stop, item.step]),
    slice: lambda item: (None, [item.start, item.stop, item.step]),
    fractions.Fraction: lambda item: (None, [item.numerator, item.denominator]),
}
"""By the first that fits."""
_WITHOUT_IDENTITY = (TypedStorage, Size, range, slice, fractions.Fraction)
"""Types of which one object in a file may become several."""


def _known(part: Any) -> Any:
    """A part of a record: what a pickler would call is told by its name, what it would draw on by its items."""
    if part is None or isinstance(part, tuple | Global | InertName | InertRecord | dict):
        return part
    if hasattr(part, "__next__"):
        return [list(item) if isinstance(item, tuple) else item for item in part]
    return getattr(part, "__qualname__", part)

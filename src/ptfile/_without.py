"""An object tree without the tensors whose bytes are lost."""

from __future__ import annotations

import argparse
import types
from collections import deque
from collections.abc import Collection, MutableMapping
from typing import Any

from ptfile._tree import parts, storage_of
from ptfile.errors import UnsupportedError
from ptfile.machine.inert import InertRecord
from ptfile.tensors.python_side import Attributed

LOST: Any = object()
"""What `without` gives for a tree that is nothing but a lost tensor."""


def without(root: Any, lost: Collection[int]) -> Any:
    """The tree without what looks at these storages (by `id`): it is changed in place, and only tuples are made anew.

    Entries of dicts go with their keys, and attributes, which are a dict in the file; elsewhere None takes the place,
    so that what stands behind it keeps its own. A tensor of several parts goes if one of them does. Raises
    UnsupportedError for a tree that nests too deep (some 300 levels).

    >>> import ptfile
    >>> a, b = ptfile.zeros(2), ptfile.ones(2)
    >>> without({"a": a, "more": [a, (a, 7)], "b": b}, {id(a.untyped_storage())})
    {'more': [None, (None, 7)], 'b': tensor([1., 1.])}
    """
    try:
        return _Pruner(lost).prune(root)
    except RecursionError as error:
        raise UnsupportedError("the objects in it are nested too deep to be written again") from error


class _Pruner:
    def __init__(self, lost: Collection[int]) -> None:
        self._lost = lost
        self._done: dict[int, Any] = {}
        self._kept: list[Any] = []  # so that no identity is used twice

    def prune(self, value: Any) -> Any:
        """What takes the place of a value: itself, a tuple made anew, or LOST."""
        identity = id(value)
        if identity not in self._done:
            self._kept.append(value)
            self._done[identity] = value  # for what contains itself
            self._done[identity] = self._pruned(value)
        return self._done[identity]

    def _pruned(self, value: Any) -> Any:
        if type(value) is InertRecord:  # first, because it tells `isinstance` that it is something else
            self._prune_record(value)
        elif isinstance(value, (argparse.Namespace, types.SimpleNamespace)):
            self._prune_mapping(vars(value))
        elif isinstance(value, MutableMapping):
            self._prune_mapping(value)
            self._prune_mapping(getattr(value, "__dict__", {}))
        elif isinstance(value, (list, deque)):
            self._prune_items(value)
        elif type(value) is tuple:
            items = [self._or_none(item) for item in value]
            return value if all(map(_is, items, value)) else tuple(items)
        elif isinstance(value, Attributed):
            return LOST if self._is_lost(value) else self._prune_attributes(value)
        else:
            return LOST if self._is_lost(value) else value
        return value

    def _is_lost(self, value: Any) -> bool:
        if id(storage_of(value)) in self._lost:
            return True
        return isinstance(value, Attributed) and any(map(self._is_lost, parts(value).values()))

    def _or_none(self, value: Any) -> Any:
        pruned = self.prune(value)
        return None if pruned is LOST else pruned

    def _prune_items(self, items: Any) -> None:
        for index, item in enumerate(items):
            items[index] = self._or_none(item)

    def _prune_mapping(self, mapping: MutableMapping[Any, Any]) -> None:
        for key, value in list(mapping.items()):
            pruned = self.prune(value)
            if pruned is LOST:
                del mapping[key]
            elif pruned is not value:
                mapping[key] = pruned

    def _prune_attributes(self, tensor: Attributed) -> Attributed:
        if tensor.python_side is not None:
            tensor.python_side.state = self._or_none(tensor.python_side.state)
        return tensor

    def _prune_record(self, record: InertRecord) -> None:
        record.inert_arguments = self._or_none(record.inert_arguments)
        self._prune_mapping(record.inert_keywords)
        self._prune_items(record.inert_items)
        pairs = [(key, self.prune(value)) for key, value in record.inert_pairs]
        record.inert_pairs[:] = [(key, value) for key, value in pairs if value is not LOST]
        if record.inert_has_state:
            record.inert_state = self._or_none(record.inert_state)


def _is(one: object, other: object) -> bool:
    return one is other

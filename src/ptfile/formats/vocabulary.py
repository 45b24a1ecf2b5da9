"""All names that ptfile knows in a pickle, and all types of its own that it can write: the tables, joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ptfile.formats import numpy_objects, python_objects, rebuild, torch_constants
from ptfile.machine.encoder import saved_types
from ptfile.machine.names import Global
from ptfile.machine.policy import Meaning, Policy, TypeRules, Unknown
from ptfile.machine.proof import Role, roles_of

TORCH_NAMES: Mapping[tuple[str, str], Meaning] = {**rebuild.NAMES, **torch_constants.NAMES}
"""Names of PyTorch."""
_NAMES = {**python_objects.NAMES, **numpy_objects.NAMES, **TORCH_NAMES}
_TYPES: Mapping[type, TypeRules] = {
    **python_objects.TYPES,
    **numpy_objects.TYPES,
    **rebuild.TYPES,
    **torch_constants.TYPES,
}
LOOK_INTO_IT = "Load it with unknown='inert' to look into it without running anything"
_ADVICE = f"{LOOK_INTO_IT}, or, if you trust the file, with weights_only=False, which runs the code that it names"

REDUCERS = saved_types({**rebuild.REDUCERS, **torch_constants.REDUCERS})
SHARED_WORD = "torch"
"""The module of theirs whose name is a word."""


_ROLES: Mapping[tuple[str, str], Role] = {
    **{(name.module, name.name): role for name, role in rebuild.ROLES.items()},
    ("collections", "OrderedDict"): Role.ORDERED_DICT,
}
ROLES = roles_of(_ROLES)
"""What the names that nearly all checkpoints are made of are used for."""


def _proved(module: str, name: str) -> Any:
    meaning, named = _NAMES[module, name], Global(module, name)
    return rebuild.PROVED_BUILDERS.get(named) or meaning.value or meaning.call or named


_PROVED = {place: _proved(*place) for place in _ROLES}


def find(module: str, name: str) -> Any:
    """What a name that has a role is to those who run a pickle that was proved harmless."""
    return _PROVED[module, name]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the pickles of one format may say beyond what all may."""

    names: Mapping[tuple[str, str], Meaning] = field(default_factory=dict)
    """They go before the names of all formats."""
    types: Mapping[type, TypeRules] = field(default_factory=dict)
    is_data: Callable[[str], bool] = lambda _module: False
    """Tells of a module whether its classes are the file's own, so that their objects are inert records in any case."""
    advice: str = _ADVICE
    """What to do about a name that is in no table."""


PLAIN = Dialect()


def policy(unknown: Unknown, dialect: Dialect = PLAIN) -> Policy:
    """What a pickle may do; `unknown` says what becomes of names outside the tables."""
    return _PLAIN_POLICIES[unknown] if dialect is PLAIN else _policy(unknown, dialect)


def _policy(unknown: Unknown, dialect: Dialect) -> Policy:
    if unknown == "inert":
        names = {**_NAMES, **numpy_objects.OBJECT_NAMES, **dialect.names}
        types = {**_TYPES, **numpy_objects.OBJECT_TYPES, **dialect.types}
        return Policy(names, types, unknown=unknown, is_data=dialect.is_data)
    names, types = {**_NAMES, **dialect.names}, {**_TYPES, **dialect.types}
    return Policy(names, types, advice=dialect.advice, is_data=dialect.is_data)


_PLAIN_POLICIES: Mapping[Unknown, Policy] = {"error": _policy("error", PLAIN), "inert": _policy("inert", PLAIN)}

"""All names that ptfile knows in a pickle: the tables, joined. `reducers` has the types that it can write."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ptfile.formats import rebuild
from ptfile.machine.names import Global
from ptfile.machine.policy import Meaning, Policy, TypeRules, Unknown
from ptfile.machine.proof_memo import Role, roles_of

LOOK_INTO_IT = "Load it with unknown='inert' to look into it without running anything"
_ADVICE = f"{LOOK_INTO_IT}, or, if you trust the file, with weights_only=False, which runs the code that it names"


_ORDERED_DICT = ("collections", "OrderedDict")
ROLES = roles_of(
    {**{(name.module, name.name): role for name, role in rebuild.ROLES.items()}, _ORDERED_DICT: Role.ORDERED_DICT}
)
"""What the names that nearly all checkpoints are made of are used for."""


def _proved(name: Global) -> Any:
    meaning = rebuild.NAMES[name.module, name.name]
    return rebuild.PROVED_BUILDERS.get(name) or meaning.value or meaning.call or name


_PROVED = {**{(name.module, name.name): _proved(name) for name in rebuild.ROLES}, _ORDERED_DICT: OrderedDict}


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


@functools.cache
def torch_names() -> Mapping[tuple[str, str], Meaning]:
    """Names of PyTorch."""
    from ptfile.formats import torch_constants

    return {**rebuild.NAMES, **torch_constants.NAMES}


def policy(unknown: Unknown, dialect: Dialect = PLAIN) -> Policy:
    """What a pickle may do; `unknown` says what becomes of names outside the tables."""
    return _plain_policy(unknown) if dialect is PLAIN else _policy(unknown, dialect)


@functools.cache
def _plain_policy(unknown: Unknown) -> Policy:
    return _policy(unknown, PLAIN)


def _policy(unknown: Unknown, dialect: Dialect) -> Policy:
    # A pickle that was proved harmless needs none of these, nor the modules of Python that they know the classes of.
    from ptfile.formats import numpy_objects, python_objects, torch_constants

    names = {**python_objects.NAMES, **numpy_objects.NAMES, **torch_names()}
    types = {**python_objects.TYPES, **numpy_objects.TYPES, **rebuild.TYPES, **torch_constants.TYPES}
    if unknown == "inert":
        names |= numpy_objects.OBJECT_NAMES
        types |= numpy_objects.OBJECT_TYPES
    advice = dialect.advice if unknown == "error" else ""
    return Policy(
        {**names, **dialect.names},
        {**types, **dialect.types},
        unknown=unknown,
        advice=advice,
        is_data=dialect.is_data,
    )

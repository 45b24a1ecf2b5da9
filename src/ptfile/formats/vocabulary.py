"""All names that ptfile knows in a pickle, and all types of its own that it can write: the tables, joined."""

from __future__ import annotations

from collections.abc import Mapping

from ptfile.formats import numpy_objects, python_objects, rebuild, torch_constants
from ptfile.machine.encoder import Reducer
from ptfile.machine.policy import Meaning, Policy, TypeRules, Unknown

TORCH_NAMES: Mapping[tuple[str, str], Meaning] = {**rebuild.NAMES, **torch_constants.NAMES}
"""Names of PyTorch."""
_NAMES = {**python_objects.NAMES, **numpy_objects.NAMES, **TORCH_NAMES}
_TYPES: Mapping[type, TypeRules] = {**python_objects.TYPES, **numpy_objects.TYPES, **rebuild.TYPES}
_ADVICE = (
    "Load it with unknown='inert' to look into it without running anything, or, if you trust the file, with "
    "weights_only=False, which runs the code that it names"
)

REDUCERS: Mapping[type, Reducer] = {**rebuild.REDUCERS, **torch_constants.REDUCERS}


def policy(unknown: Unknown) -> Policy:
    """What a pickle may do; `unknown` says what becomes of names outside the tables."""
    if unknown == "inert":
        return Policy(
            {**_NAMES, **numpy_objects.OBJECT_NAMES},
            {**_TYPES, **numpy_objects.OBJECT_TYPES},
            unknown=unknown,
        )
    return Policy(_NAMES, _TYPES, advice=_ADVICE)

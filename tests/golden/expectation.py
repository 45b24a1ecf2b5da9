"""Compare what ptfile loaded with what the corpus says was saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.golden import expected_numpy, expected_objects, expected_python, expected_tensors, expected_torch
from tests.golden.walk import Difference, Node, Walk

_CHECKS = {
    **expected_python.CHECKS,
    **expected_objects.CHECKS,
    **expected_numpy.CHECKS,
    **expected_torch.CHECKS,
    **expected_tensors.CHECKS,
}


def differences(
    value: Any, node: Node, storages: Mapping[str, Node], *, python2_encoding: str = "utf-8"
) -> list[Difference]:
    """Where a value is not what a tree and its storages say; empty if it is the same in every respect.

    python2_encoding: how the strings of Python 2 were read, for which the corpus has their bytes.
    """
    walk = Walk(_CHECKS, storages, python2_encoding)
    walk.into("tree", value, node)
    walk.finish()
    return walk.found

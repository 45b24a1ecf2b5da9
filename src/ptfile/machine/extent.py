"""How deep a value is, and how large it is to those who walk through it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from typing import Any

from ptfile.errors import LimitError
from ptfile.limits import Limits

_DICTS = frozenset({dict, OrderedDict, defaultdict, Counter})
CONTAINERS = _DICTS | {list, tuple, set, frozenset, deque}
"""Python's own; what other objects hold is nothing that Python itself walks through."""


def check_tree(value: object, limits: Limits) -> None:
    """Raise LimitError for a value that is too deep. No container in it is met twice."""
    level = _containers([value])
    depth = 0
    while level:
        depth += 1
        _check_depth(depth, limits)
        level = [inner for container in level for inner in _containers(_values(container))]


def check_graph(value: object, limits: Limits, allowed: int) -> None:
    """Raise LimitError for a value that is too deep, or too large to whoever goes into each container each time.

    allowed: values that these may meet.
    """
    sizes: dict[
        int, int
    ] = {}  # by address: values inside, at all depths; 0 of a container that is being walked through
    walk = [_Step([value])]
    while walk:
        step = walk[-1]
        while step.containers:
            inner = step.containers[-1]
            if id(inner) not in sizes:
                sizes[id(inner)] = 0
                walk.append(_Step(inner))
                _check_depth(len(walk) - 1, limits)
                break
            step.containers.pop()
            step.size += sizes[id(inner)]
        else:
            walk.pop()
            sizes[id(step.container)] = step.size
            if step.size > allowed:
                problem = "the object names its parts so often that a walk through it would not end"
                raise LimitError(problem, limit="shared", allowed=allowed, actual=step.size)


class _Step:
    """A container that is being walked through."""

    __slots__ = ("container", "containers", "size")

    def __init__(self, container: Any) -> None:
        self.container = container
        self.containers = _containers(_values(container))
        """Those in it that are still ahead."""
        self.size = len(container)


def _values(container: Any) -> Iterable[Any]:
    return container.values() if type(container) in _DICTS else container  # type: ignore[no-any-return]


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if type(value) in CONTAINERS]


def _check_depth(depth: int, limits: Limits) -> None:
    if depth > limits.depth:
        problem = "containers are nested too deep"
        raise LimitError(problem, limit="depth", allowed=limits.depth, actual=depth)

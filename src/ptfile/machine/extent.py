"""How deep a value is, and how large it is to those who walk through it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ptfile.errors import LimitError
from ptfile.limits import Limits

_DICTS = frozenset({dict, OrderedDict, defaultdict, Counter})
CONTAINERS = _DICTS | {list, tuple, set, frozenset, deque}
"""Python's own; what other objects hold is nothing that Python itself walks through."""


@dataclass(frozen=True, slots=True)
class Unguarded:
    """How to take apart objects of a type whose destructor overflows the C stack where they are nested deep.

    Lists, tuples, plain dicts and objects with a class in Python are safe from that, and so is what has one of these
    between one level and the next.
    """

    parts: Callable[[Any], Iterable[Any]]
    clear: Callable[[Any], object]


class Chains:
    """All unguarded objects of one pickle. None of them is destroyed while this is there."""

    def __init__(self) -> None:
        self._met: dict[int, tuple[Any, Unguarded]] = {}  # by address

    def note(self, target: Any, how: Unguarded) -> None:
        """Take note of an object to which something was added."""
        self._met[id(target)] = target, how

    def check(self, limits: Limits) -> None:
        """Raise LimitError if they are nested too deep, one directly in the other; also those that nothing holds."""
        heights: dict[int, int] = {}  # by address; 0 of one that is being walked through
        for address in self._met:
            walk = [] if address in heights else [address]
            ahead: list[Iterator[int]] = []
            while walk:
                if len(ahead) < len(walk):
                    _check_depth(len(walk), limits)
                    heights[walk[-1]] = 0
                    ahead.append(self._inside(walk[-1]))
                inner = next((inner for inner in ahead[-1] if inner not in heights), None)
                if inner is not None:
                    walk.append(inner)
                    continue
                done = walk.pop()
                ahead.pop()
                height = 1 + max((heights[inner] for inner in self._inside(done)), default=0)
                _check_depth(height, limits)
                heights[done] = height

    def _inside(self, address: int) -> Iterator[int]:
        target, how = self._met[address]
        return (id(part) for part in how.parts(target) if id(part) in self._met)

    def clear(self) -> None:
        """Take everything out of all of them, so that they can be destroyed."""
        for target, how in self._met.values():
            how.clear(target)


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
    sizes: dict[int, int] = {}  # values inside, at all depths, by address; 0 while a container is walked through
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

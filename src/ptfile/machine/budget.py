"""What one pickle has cost so far, held against the limits."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ptfile.errors import LimitError
from ptfile.limits import Limits
from ptfile.machine.extent import Chains, check_graph, check_tree
from ptfile.machine.keys import KeyChecks
from ptfile.machine.opcodes import Argument, Opcode
from ptfile.machine.policy import Rules

_SIZED = frozenset({str, bytes, bytearray, list, tuple, dict, set, frozenset, OrderedDict, Counter})
"""Whose length says what it costs to copy them."""
_LEVELS = 4
"""How deep calls look into the tuples that they are given: the arguments, and those that `_rebuild_from_type_v2` passes
on, of which one is a tuple of lists."""
_SHARED_PER_BYTE = 16
_PER_VALUE = 4
"""What a call makes of a value, such as a part of a path or an attribute, costs as much as so many bytes of it."""
_HASH: Mapping[type, Callable[[Any], Iterable[Any]]] = {
    set: lambda items: items if type(items) in (list, tuple) else (),
    frozenset: lambda items: items if type(items) in (list, tuple) else (),
    OrderedDict: lambda pairs: _first_of_each(pairs) if type(pairs) in (list, tuple) else (),
    Counter: lambda counts: counts if type(counts) in (dict, list, tuple) else (),
}
"""Classes that hash what is in their first argument, and how to get at that."""


class Budget:
    """The account of one pickle. Whatever is too much raises LimitError."""

    def __init__(self, policy: Rules, limits: Limits, size: int) -> None:
        """size: of the pickle, in bytes."""
        self._policy = policy
        self._limits = limits
        self._size = size
        self._shared = limits.shared + _SHARED_PER_BYTE * size
        self._handed = 0  # elements and bytes that calls were given
        self.keys = KeyChecks(policy.may_be_key, self._weight, self._shared)
        self.chains = Chains()

    def hold(self, limit: str, actual: int, problem: str, position: int | None = None) -> None:
        """Hold a number against the limit of that name."""
        allowed: int = getattr(self._limits, limit)
        if actual > allowed:
            raise LimitError(problem, limit=limit, allowed=allowed, actual=actual, offset=position)

    def counted(self, opcodes: Iterator[tuple[int, Opcode, Argument]]) -> Iterator[tuple[int, Opcode, Argument]]:
        """The same opcodes, and the lengths of texts, counted; no opcode and no character has less than a byte."""
        small = self._size <= min(self._limits.opcodes, self._limits.text_size)
        return opcodes if small else self._counted(opcodes)

    def _counted(self, opcodes: Iterator[tuple[int, Opcode, Argument]]) -> Iterator[tuple[int, Opcode, Argument]]:
        longest = self._limits.text_size
        for count, (position, opcode, argument) in enumerate(opcodes, 1):
            self.hold("opcodes", count, "the pickle has too many opcodes", position)
            if type(argument) in (str, bytes, bytearray) and len(argument) > longest:  # type: ignore[arg-type]
                self.hold("text_size", len(argument), "a text is too long", position)  # type: ignore[arg-type]
            yield position, opcode, argument

    def call(self, target: Any, arguments: tuple[Any, ...]) -> None:
        """Count a call, and check what becomes a key in it."""
        self.hand(arguments)
        if type(target) is type and target in _HASH and arguments:
            first = arguments[0]
            self.keys.check(first, _HASH[target](first), into_set=target in (set, frozenset))

    def hand(self, arguments: tuple[Any, ...]) -> None:
        """Count what a call is given: it may copy that, or look through it."""
        level = arguments
        for _ in range(_LEVELS):
            self._handed += _PER_VALUE * len(level) + sum(self._weight(value) for value in level)
            if self._handed > self._shared:
                problem = "the pickle hands the same values to calls again and again"
                raise LimitError(problem, limit="shared", allowed=self._shared, actual=self._handed)
            tuples = [value for value in level if type(value) is tuple]
            if not tuples:
                break
            level = tuple(chain.from_iterable(tuples))

    def _weight(self, value: Any) -> int:
        if type(value) is dict:
            return _PER_VALUE * len(value)
        if type(value) in _SIZED:
            return len(value)
        if type(value) is int:
            return value.bit_length() // 8
        weigh = self._policy.rules(type(value)).weigh
        return 0 if weigh is None else weigh(value)

    def check(self, value: Any, *, is_tree: bool) -> None:
        """Check the whole value. is_tree: no container in it is met twice."""
        self.chains.check(self._limits)
        if is_tree:
            check_tree(value, self._limits)
        else:
            check_graph(value, self._limits, self._shared)


def _first_of_each(pairs: Iterable[Any]) -> list[Any]:
    return [pair[0] for pair in pairs if type(pair) in (list, tuple) and pair]

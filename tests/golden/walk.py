"""The walk over a value and the corpus's description of it, side by side.

The corpus describes a value as a tree of nodes (corpus/README.md). Each kind of node has a check, which compares what
it can see and leaves the values inside for later: depth costs no recursion, and a value that holds itself ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import ptfile

Node: TypeAlias = "dict[str, Any]"
"""A node of the tree, or another JSON object of the corpus."""
Check: TypeAlias = "Callable[[Walk, str, Any, Node], None]"
"""Compares a value, which is at a path, with a node."""

MISSING = "nothing"
_MOST_TEXT = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the value is not what the corpus says."""

    path: str
    """The place in the corpus's tree, written as in its `reload`: `tree.items[1].dtype`."""
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.path}: {self.expected} expected, {self.actual} found"


class Walk:
    """The state of one comparison: what is left to compare, and which objects and storages were met."""

    def __init__(self, checks: Mapping[str, Check], storages: Mapping[str, Node], python2_encoding: str) -> None:
        """`checks` goes by the kind of node; `python2_encoding` is how the strings of Python 2 were read."""
        self.found: list[Difference] = []
        self.python2_encoding = python2_encoding
        self._checks = checks
        self._expected_storages = storages
        self._pending: list[tuple[str, Any, Node]] = []
        self._references: list[tuple[str, Any, int]] = []
        self._by_id: dict[int, Any] = {}
        self._ids: dict[int, int] = {}
        self._storages: dict[str, ptfile.UntypedStorage] = {}

    # What checks call ---------------------------------------------------------------------------------------------

    def same(self, path: str, expected: object, actual: object) -> bool:
        """Note a difference unless the two are equal and of one type."""
        if type(expected) is type(actual) and expected == actual:
            return True
        self.found.append(Difference(path, short(expected), short(actual)))
        return False

    def into(self, path: str, value: Any, node: Node) -> None:
        """Compare a value inside later."""
        self._pending.append((path, value, node))

    def each(self, path: str, values: Iterable[Any], nodes: Iterable[Node]) -> None:
        """Compare a sequence later, item by item."""
        values, nodes = list(values), list(nodes)
        self.same(f"{path}.length", len(nodes), len(values))
        for index, (value, node) in enumerate(zip(values, nodes, strict=False)):
            self.into(f"{path}[{index}]", value, node)

    def named(self, path: str, values: Mapping[str, Any], pairs: Iterable[tuple[Node | str, Node]]) -> None:
        """Compare attributes later. Those that the corpus lists are all there is; it lists them in order of name."""
        listed = set()
        for index, (key, node) in enumerate(pairs):
            name = key if isinstance(key, str) else self.text(key)
            listed.add(name)
            if name in values:
                self.into(f"{path}[{index}][1]", values[name], node)
            else:
                self.found.append(Difference(f"{path}[{index}]", name, MISSING))
        for name in values.keys() - listed:
            self.found.append(Difference(f"{path}.{name}", MISSING, short(values[name])))

    def text(self, node: Node) -> str:
        """The text in a node of text."""
        if node["t"] == "pystr2":
            return bytes.fromhex(node["hex"]).decode(self.python2_encoding)
        return str(node["value"])

    def storage(self, path: str, storage: ptfile.UntypedStorage, name: str) -> None:
        """The same bytes under the same tag, and one object for all that share them."""
        first = self._storages.setdefault(name, storage)
        if first is not storage:
            self.found.append(Difference(path, f"the storage of every other {name}", "another storage"))
        if [other for other, known in self._storages.items() if known is storage] != [name]:
            self.found.append(Difference(path, f"a storage of its own for {name}", "one that it shares"))
        expected = self._expected_storages[name]
        self.same(f"storages.{name}.nbytes", expected["nbytes"], storage.nbytes())
        self.same(f"storages.{name}.location", expected["location"], storage.device)
        self.digest(f"storages.{name}", storage.tobytes(), expected)

    def digest(self, path: str, data: bytes, node: Node, key: str = "sha256") -> None:
        """The bytes have the digest that the node gives, if it does."""
        if key in node:
            self.same(f"{path}.{key}", node[key], hashlib.sha256(data).hexdigest())

    # The walk -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Compare all that is left to compare, then the references to what was met."""
        while self._pending:
            path, value, node = self._pending.pop()
            self._remember(path, value, node)
            self._checks[node["t"]](self, path, value, node)
        for path, value, number in self._references:
            if self._by_id.get(number) is not value:
                self.found.append(Difference(path, f"object {number} again", short(value)))

    def refer(self, path: str, value: Any, number: int) -> None:
        """The value must be the very object that the corpus met as `number`."""
        self._references.append((path, value, number))

    def _remember(self, path: str, value: Any, node: Node) -> None:
        number = node.get("id")
        if number is None or node["t"] == "ref":
            return
        self._by_id[number] = value
        # Tuples and frozen sets that are equal may be one object, for nobody can tell.
        if node["t"] not in ("tuple", "frozenset") and self._ids.setdefault(id(value), number) != number:
            self.found.append(Difference(path, "an object of its own", f"that which is object {self._ids[id(value)]}"))


def short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"

"""What is in an object tree, by path: the one walk that listing a checkpoint needs.

It knows every kind of object that loading can make and what is inside it. Nothing here looks at a tensor's bytes.
"""

from __future__ import annotations

import sys
import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from ptfile._names import Attribute, Key, Path, Step, distinct, join
from ptfile.errors import LimitError
from ptfile.limits import Limits
from ptfile.machine.inert import InertRecord
from ptfile.tensors.nested import JaggedTensor, NestedTensor
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.quantized import PerChannel, QuantizedTensor
from ptfile.tensors.sparse import SparseCompressedTensor, SparseTensor
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.tensor import Tensor

NAME_CHARACTERS = 1 << 28
"""Characters of all names together, with `_NAME` more for each; a million tensors with names of 60 are half of this."""
REPEATED_CHARACTERS = 1 << 22
"""The same for the names of what is in a container that has been met before, with `_NAME` more for each. A few bytes of
pickle can hold one list in another a thousand times over, and that one in another, and each path is a name."""
_NAME = 64

_PLAIN = frozenset({bool, bytes, complex, float, int, str, type(None)})
_STRIDED = frozenset({Tensor, Parameter})

_Steps: TypeAlias = "Iterator[tuple[Step, object]]"


class Leaf(NamedTuple):
    """A tensor or a value that is no container, at one of its places."""

    path: Path
    name: str
    """The readable name of the path, which need not be its alone."""
    value: Any
    """`...` for a container inside itself, which is how Python writes that."""

    @property
    def is_aside(self) -> bool:
        """Whether it is in an attribute of a dict and no tensor.

        PyTorch keeps the versions of a state dict's modules there (`_metadata`): long lists of ones and twos, in which
        nobody looks for anything. Who does finds them in the object itself.
        """
        beside = any(isinstance(step, Attribute) and step.beside_keys for step in self.path)
        return beside and not isinstance(self.value, (Tensor, QuantizedTensor))


def named(root: object, limits: Limits) -> dict[str, Leaf]:
    """The leaves of an object tree by their distinct names, in its order. Raises LimitError as `walk` does."""
    leaves = list(walk(root, limits))
    names = distinct([leaf.name for leaf in leaves], [leaf.path for leaf in leaves])
    return dict(zip(names, leaves, strict=True))


def walk(root: object, limits: Limits) -> Iterator[Leaf]:
    """The leaves of an object tree in its order; what can be reached by two paths comes twice.

    Raises LimitError for trees that are too deep or have too much to name. Keeps its own stack, because a file may nest
    deeper than Python's functions can.
    """
    if _is_leaf(root):
        yield Leaf((), "", root)
    # Each level: the steps to come, and the path, the name and the identity of what they start from.
    stack: list[tuple[_Steps, Path, str, int]] = [(steps(root), (), "", id(root))]
    inside = {id(root)}
    met = {id(root)}
    repeated_from = 0  # the level of the outermost container that has been met before; 0: there is none around
    characters = repeated = 0
    while stack:
        coming, path, name, identity = stack[-1]
        for step, value in coming:
            below = (*path, step)
            name_below = join(name, step)
            characters += _NAME + len(name_below)
            if characters > NAME_CHARACTERS:
                raise _too_much("the names in it together are too long", "name_characters", NAME_CHARACTERS, characters)
            if repeated_from:
                repeated += _NAME + len(name_below)
                if repeated > REPEATED_CHARACTERS:
                    problem = "what it holds in several places has too many names"
                    raise _too_much(problem, "repeated_characters", REPEATED_CHARACTERS, repeated)
            if type(value) in _PLAIN or (type(value) in _STRIDED and value.python_side is None):  # type: ignore[attr-defined]
                yield Leaf(below, name_below, value)  # nothing is in it
                continue
            if id(value) in inside:
                yield Leaf(below, name_below, ...)
                continue
            if _is_leaf(value):
                yield Leaf(below, name_below, value)
            if len(stack) >= limits.depth:
                raise _too_much("it nests too deeply", "depth", limits.depth, len(stack) + 1)
            inside.add(id(value))
            holder = _holder(value)
            if holder not in met:
                met.add(holder)
            elif not repeated_from:
                repeated_from = len(stack) + 1
            stack.append((steps(value), below, name_below, id(value)))
            break
        else:
            if len(stack) == repeated_from:
                repeated_from = 0
            stack.pop()
            inside.discard(identity)


def _is_leaf(value: object) -> bool:
    """Whether it is listed itself. Containers are not, but for empty ones and lists of plain values.

    Nobody wants each number of a list of losses on a line of its own.
    """
    if type(value) is InertRecord:
        return not any(True for _ in steps(value))
    if _is_namespace(value):
        return not vars(value)
    if isinstance(value, Mapping):
        return not value
    if isinstance(value, (list, tuple, deque)):
        return all(type(item) in _PLAIN for item in value)
    return True


def _is_namespace(value: object) -> bool:
    argparse = sys.modules.get("argparse")  # if it was never imported, there can be none of its objects
    return isinstance(value, types.SimpleNamespace) or (argparse is not None and isinstance(value, argparse.Namespace))


def _holder(value: object) -> int:
    """The identity of what holds the steps into an object: several may have one dict of attributes."""
    if type(value) is InertRecord and value.inert_attributes:
        return id(value.inert_state)
    if isinstance(value, Attributed) and value.python_side is not None and value.attributes:
        return id(value.python_side.state)
    return id(value)


def steps(value: object) -> _Steps:
    """The steps into an object and where they lead."""
    if type(value) is InertRecord:  # first, because it tells `isinstance` that it is something else
        yield from _inert_steps(value)
    elif _is_namespace(value):
        yield from _attributes(vars(value))
    elif isinstance(value, Mapping):
        yield from ((Key(key), item) for key, item in value.items())
        attributes = getattr(value, "__dict__", {})  # an OrderedDict may have some
        yield from ((Attribute(name, beside_keys=True), item) for name, item in attributes.items())
    elif isinstance(value, (list, tuple, deque)):
        if not _is_leaf(value):
            yield from ((Key(index), item) for index, item in enumerate(value))
    elif isinstance(value, Attributed):
        yield from _attributes(parts(value))
        if value.python_side is not None:
            yield from _attributes(value.attributes)


def _attributes(attributes: Mapping[str, object]) -> _Steps:
    return ((Attribute(name), item) for name, item in attributes.items())


def _inert_steps(record: InertRecord) -> _Steps:
    """As they are reached in ptfile: attributes and items of the object are those of the record."""
    yield from ((Key(key), item) for key, item in record.inert_pairs)
    yield from ((Key(index), item) for index, item in enumerate(record.inert_items))
    if record.inert_attributes:
        yield from _attributes(record.inert_attributes)
    elif record.inert_has_state:
        yield Attribute("inert_state"), record.inert_state
    if record.inert_arguments:
        yield Attribute("inert_arguments"), record.inert_arguments
    if record.inert_keywords:
        yield Attribute("inert_keywords"), record.inert_keywords


def storage_of(value: object) -> Storage | None:
    """The storage that a leaf looks at itself; tensors of other layouts look at none but through their parts."""
    if isinstance(value, (Tensor, QuantizedTensor)):
        return value.untyped_storage()
    if isinstance(value, TypedStorage):
        return value.untyped()
    return value if isinstance(value, Storage) else None


def names_by_storage(root: object, limits: Limits) -> dict[int, tuple[str, ...]]:
    """The names of all that look at each storage, by the storage's `id`. Raises LimitError as `walk` does."""
    found: dict[int, list[str]] = {}
    for name, leaf in named(root, limits).items():
        storage = storage_of(leaf.value)
        if storage is not None:
            found.setdefault(id(storage), []).append(name)
    return {identity: tuple(those) for identity, those in found.items()}


def parts(tensor: Attributed) -> dict[str, object]:
    """The tensors that a tensor of another layout is made of, by the names of the methods that give them."""
    if isinstance(tensor, SparseTensor):
        return {"indices": tensor.indices(), "values": tensor.values()}
    if isinstance(tensor, SparseCompressedTensor):
        return {
            "compressed_indices": tensor.compressed_indices(),
            "plain_indices": tensor.plain_indices(),
            "values": tensor.values(),
        }
    if isinstance(tensor, NestedTensor):
        return dict(zip(("values", "sizes", "strides", "offsets"), tensor.parts(), strict=True))
    if isinstance(tensor, JaggedTensor):
        lengths = tensor.lengths()
        extra = {} if lengths is None else {"lengths": lengths}
        return {"values": tensor.values(), "offsets": tensor.offsets(), **extra}
    if isinstance(tensor, QuantizedTensor) and isinstance(tensor.quantizer, PerChannel):
        return {"scales": tensor.quantizer.scales, "zero_points": tensor.quantizer.zero_points}
    return {}


def _too_much(problem: str, limit: str, allowed: int, actual: int) -> LimitError:
    return LimitError(problem, limit=limit, allowed=allowed, actual=actual)

"""From an object tree to named tensors and a note of all the rest, which is JSON.

The note has the tree with `["tensor", name]` where the tensors are. Objects with string keys are dicts; everything else
that JSON has no form for is a list that begins with a word. What is in the tree twice is written once, and then
`["same", number]`: containers, tensors and arrays are numbered as they are met. docs/convert-and-edit.md has the words.
"""

from __future__ import annotations

import argparse
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, ClassVar

import numpy as np

from ptfile._names import Attribute, Key, Path, Step, distinct, exact, join
from ptfile.conversion import values
from ptfile.conversion.placing import Entry, Place, place
from ptfile.errors import TensorError, UnsupportedError, located
from ptfile.machine.inert import InertRecord
from ptfile.tensors import strides
from ptfile.tensors.create import from_numpy
from ptfile.tensors.dtypes import DType
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.tensor import Tensor

VERSION = 1
"""Of the form of the note."""
ROOT = "tensor"
"""The name of a tensor that is all there is."""
MOST_NAMED = 10
"""Values that an error names."""
NAMESPACES = {"Namespace": argparse.Namespace, "SimpleNamespace": types.SimpleNamespace}
_SEQUENCES: dict[type, str] = {list: "list", tuple: "tuple"}
_NOTHING: Any = object()

Objection = Callable[[DType], str]
"""What a format has against tensors of a dtype; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Description:
    """A tree, taken apart."""

    entries: list[Entry]
    """The tensors to write, by name, in the order in which they are met."""
    note: dict[str, Any]
    left_out: list[str]
    """Names of what has no form, if that is to be left out."""
    unreached: int
    """Bytes of storages that no tensor reaches, which are not in the file."""


def describe(
    root: Any,
    *,
    objection: Objection,
    allows: Callable[[str], bool],
    one_name: Callable[[str], str],
    leave_out: bool,
) -> Description:
    """Take a tree apart. Nothing is read.

    objection: what the format has against a dtype; allows: whether a tensor can have a name in it; one_name: what is
    equal for names of which a file has one only.

    Raises UnsupportedError, with names, for values that have no form, unless they are to be left out: then their keys
    go, and in lists and tuples None takes their place. LimitError for a huge view of a small storage.
    """
    taker = _Taker(objection)
    try:
        tree = taker.take(root, (), "")
    except RecursionError as error:
        raise UnsupportedError("the objects in it are nested too deep to be converted") from error
    if taker.problems and (not leave_out or tree is _NOTHING):
        raise _unsupported(taker.problems)
    places = place(found.tensor for found in taker.found)
    entries, blocks = _name(taker.found, places, allows, one_name)
    for entry in entries:
        with located(record=entry.name):
            entry.tensor.afford(entry.tensor.nbytes)
    note: dict[str, Any] = {"version": VERSION, "root": tree}
    if blocks:
        note["storages"] = blocks
    reachable = {id(each.block): each.block.nbytes for each in places}
    storages = {id(storage): storage.nbytes() for storage in (found.tensor.untyped_storage() for found in taker.found)}
    unreached = max(sum(storages.values()) - sum(reachable.values()), 0)
    return Description(entries, note, [name for name, _ in taker.problems], unreached)


def _unsupported(problems: list[tuple[str, str]]) -> UnsupportedError:
    named = "; ".join(f"{name or '(root)'}: {problem}" for name, problem in problems[:MOST_NAMED])
    more = f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
    fix = "Leave such values out (leave_out=True, --leave-out), or keep the .pt format"
    return UnsupportedError(f"the other format has no form for {named}{more}", fix=fix)


@dataclass(slots=True)
class _Found:
    """A tensor of the tree, and what stands for it in the note, to be completed."""

    tensor: Tensor
    said: list[Any]
    options: dict[str, Any]
    path: Path
    name: str


def _name(
    found: list[_Found],
    places: list[Place],
    allows: Callable[[str], bool],
    one_name: Callable[[str], str],
) -> tuple[list[Entry], list[list[Any]]]:
    """Give the entries names, complete the note, and list the storages that are not just one tensor."""
    entries: list[Entry] = []
    blocks: dict[int, Any] = {}
    named: list[_Found] = []
    for each, spot in zip(found, places, strict=True):
        if spot.is_entry and not spot.entry.name:
            spot.entry.name = each.name or ROOT  # for now: whether others are called the same is seen below
            entries.append(spot.entry)
            named.append(each)
        if not spot.block.is_plain:
            blocks.setdefault(id(spot.block), spot.block)
    names = distinct([each.name or ROOT for each in named], [each.path for each in named])
    wanted = set(map(one_name, names))
    taken: set[str] = set()
    for entry, name, each in zip(entries, names, named, strict=True):
        others = chain([exact(each.path)], (f"{ROOT}#{number}" for number in count(1)))
        free = chain([name], (other for other in others if one_name(other) not in wanted))
        entry.name = next(other for other in free if allows(other) and one_name(other) not in taken)
        taken.add(one_name(entry.name))
    for each, spot in zip(found, places, strict=True):
        each.said.append(spot.entry.name)
        view = _view(each.tensor, spot)
        if view:
            each.options["view"] = view
        if each.options:
            each.said.append(each.options)
    return entries, [_said_of(block) for block in blocks.values()]


def _view(tensor: Tensor, spot: Place) -> list[Any]:
    """How a tensor looks at its storage, if that is not as the entry does."""
    stride = tensor.stride()
    # The stride of a dimension of one element is nobody's business, but in the file.
    is_usual = not tensor.is_contiguous() or stride == strides.contiguous(tensor.shape)
    if spot.is_entry and (is_usual or spot.entry.is_packed):
        return []
    return [tensor.dtype.name, spot.offset, list(tensor.shape), list(stride)]


def _said_of(block: Any) -> list[Any]:
    parts = []
    for entry in block.entries:
        stride = [] if entry.tensor.is_contiguous() or entry.is_packed else [list(entry.tensor.stride())]
        parts.append([entry.name, entry.start, *stride])
    return [block.nbytes, block.device, parts]


class _Taker:
    """Goes through one tree."""

    def __init__(self, objection: Objection) -> None:
        self.found: list[_Found] = []
        self.problems: list[tuple[str, str]] = []
        self._objection = objection
        self._numbers: dict[int, int] = {}
        self._unfinished: set[int] = set()

    def take(self, value: Any, path: Path, name: str) -> Any:
        """What stands for a value in the note; `_NOTHING` if there is no form for it."""
        if values.is_plain(value):
            return value
        kind = type(value)
        word = values.WORDS.get(kind)
        if word is not None:
            return [word, *values.FORMS[word].write(value)]
        if kind is InertRecord:  # first, because it tells `isinstance` that it is something else
            return self._refuse(name, f"an object of {value.inert_class}")
        if isinstance(value, np.generic) and values.scalar_code(value):
            return values.write_scalar(value)
        if id(value) in self._unfinished:
            return self._refuse(name, "a tuple that contains itself")
        if id(value) in self._numbers:
            return ["same", self._numbers[id(value)]]
        take = self._TAKERS.get(kind)
        return take(self, value, path, name) if take else self._refuse(name, _kind(value))

    def _refuse(self, name: str, problem: str) -> Any:
        self.problems.append((name, problem))
        return _NOTHING

    def _count(self, value: Any) -> None:
        self._numbers[id(value)] = len(self._numbers)

    # containers

    def _take_dict(self, value: dict[Any, Any], path: Path, name: str) -> Any:
        self._count(value)
        if all(type(key) is str for key in value):
            steps = ((key, Key(key), item) for key, item in value.items())
            return {key: said for key, said in self._items(steps, path, name) if said is not _NOTHING}
        return ["dict", *self._pairs(value, path, name)]

    def _take_ordered_dict(self, value: OrderedDict[Any, Any], path: Path, name: str) -> Any:
        self._count(value)
        pairs = self._pairs(value, path, name)
        attributes = self._attributes(vars(value), path, name, beside_keys=True)
        return ["OrderedDict", pairs, attributes] if attributes else ["OrderedDict", pairs]

    def _take_namespace(self, value: Any, path: Path, name: str) -> Any:
        self._count(value)
        return [type(value).__name__, self._attributes(vars(value), path, name)]

    def _take_sequence(self, value: Any, path: Path, name: str) -> Any:
        self._count(value)
        if type(value) is tuple:
            self._unfinished.add(id(value))
        said: list[Any] = [_SEQUENCES[type(value)]]
        if all(map(values.is_plain, value)):
            said.extend(value)
        else:
            steps = ((None, Key(index), item) for index, item in enumerate(value))
            said.extend(None if item is _NOTHING else item for _, item in self._items(steps, path, name))
        self._unfinished.discard(id(value))
        return said

    def _take_set(self, value: Any, _path: Path, name: str) -> Any:
        items = [_key(item) for item in value]
        if any(item is _NOTHING for item in items):
            return self._refuse(name, "a set of more than plain values")
        self._count(value)
        return [type(value).__name__, *items]

    def _items(self, steps: Iterable[tuple[Any, Step, Any]], path: Path, name: str) -> Iterable[tuple[Any, Any]]:
        for key, step, item in steps:
            if values.is_plain(item):
                yield key, item
            else:
                yield key, self.take(item, (*path, step), join(name, step))

    def _pairs(self, value: dict[Any, Any], path: Path, name: str) -> list[list[Any]]:
        pairs = []
        for key, item in value.items():
            said_key = _key(key)
            if said_key is _NOTHING:
                self._refuse(join(name, Key(key)), f"a key that is {_kind(key)}")
                continue
            ((_, said),) = self._items([(None, Key(key), item)], path, name)
            if said is not _NOTHING:
                pairs.append([said_key, said])
        return pairs

    def _attributes(
        self, attributes: dict[str, Any], path: Path, name: str, *, beside_keys: bool = False
    ) -> dict[str, Any]:
        steps = ((key, Attribute(key, beside_keys), item) for key, item in attributes.items())
        return {key: said for key, said in self._items(steps, path, name) if said is not _NOTHING}

    # what has elements

    def _take_tensor(self, tensor: Tensor, path: Path, name: str) -> Any:
        side = tensor.python_side
        if side is not None and side.kind is not None:
            return self._refuse(name, f"a tensor of the class {side.kind}")
        if tensor.attributes:
            return self._refuse(name, "a tensor with attributes")
        if tensor.device == "meta":
            return self._refuse(name, "a tensor on the meta device, which has no elements")
        options: dict[str, Any] = {}
        if type(tensor) is Parameter:
            options["parameter"] = tensor.requires_grad
        elif tensor.requires_grad:
            options["grad"] = True
        return self._note(["tensor"], tensor, tensor, options, path, name)

    def _take_array(self, array: np.ndarray[Any, Any], path: Path, name: str) -> Any:
        try:
            tensor = from_numpy(np.asarray(array, order="C"))
        except TensorError as error:
            return self._refuse(name, f"an array of {array.dtype} ({error.problem})")
        in_columns = array.flags.f_contiguous and not array.flags.c_contiguous
        return self._note(["array"], array, tensor, {"order": "F"} if in_columns else {}, path, name)

    def _note(self, said: list[Any], value: Any, tensor: Tensor, options: dict[str, Any], path: Path, name: str) -> Any:
        problem = self._objection(tensor.dtype)
        if problem:
            return self._refuse(name, problem)
        self._count(value)
        self.found.append(_Found(tensor, said, options, path, name))
        return said

    _TAKERS: ClassVar[Mapping[type, Callable[[_Taker, Any, Path, str], Any]]] = {
        dict: _take_dict,
        OrderedDict: _take_ordered_dict,
        argparse.Namespace: _take_namespace,
        types.SimpleNamespace: _take_namespace,
        list: _take_sequence,
        tuple: _take_sequence,
        set: _take_set,
        frozenset: _take_set,
        Tensor: _take_tensor,
        Parameter: _take_tensor,
        np.ndarray: _take_array,
    }


def _key(key: Any) -> Any:
    """A key of a dict, or an element of a set: plain values, and tuples of such."""
    if values.is_plain(key):
        return key
    if type(key) is tuple:
        parts = [_key(part) for part in key]
        return _NOTHING if any(part is _NOTHING for part in parts) else ["tuple", *parts]
    word = values.WORDS.get(type(key))
    if word is None and isinstance(key, np.generic) and values.scalar_code(key):
        return values.write_scalar(key)
    return _NOTHING if word is None or word == "bytearray" else [word, *values.FORMS[word].write(key)]


def _kind(value: Any) -> str:
    layout = str(getattr(value, "layout", "")).rpartition(".")[2] if isinstance(value, Attributed) else ""
    return f"a {layout} tensor" if layout.startswith("sparse") else f"an object of the type {type(value).__name__}"

"""Objects of classes, and names: what they must be, by what the corpus says of them."""

from __future__ import annotations

import _compat_pickle
import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ptfile.machine.inert import InertRecord
from ptfile.machine.names import Global, InertName
from ptfile.tensors.nested import WrapperTensor
from tests.golden.walk import Check, Node, Walk, short

_KNOWN_AS = {
    # The functions of these classes say only half of where they are.
    "_VariableFunctions": "torch._C._VariableFunctions",
    "_VariableFunctionsClass": "torch._C._VariableFunctionsClass",
    "torch._VariableFunctionsClass": "torch._C._VariableFunctionsClass",
}
"""Names in the corpus, and what a pickle calls the same."""


def is_record(value: object) -> bool:
    # An inert record says that it is of the class that it stands for, so isinstance() would not do.
    return type(value) is InertRecord


def real_name(name: str) -> str:
    """The name of a class or function in Python 3, without `builtins`."""
    module, _, last = name.rpartition(".")
    module, last = _compat_pickle.NAME_MAPPING.get((module, last), (module, last))
    module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    return last if module in ("builtins", "exceptions", "") else f"{module}.{last}"


def class_name(value: object) -> str:
    """The name of the class of an object, or of the object that an inert record stands for."""
    if is_record(value):
        return real_name(value.inert_class)  # type: ignore[attr-defined]
    return real_name(f"{type(value).__module__}.{type(value).__qualname__}")


def check_class(walk: Walk, path: str, value: Any, name: str) -> bool:
    return walk.same(f"{path}.class", real_name(name), class_name(value))


def items_of_record(record: Any, kind: type) -> Iterable[Any]:
    """What is inside a subclass of list, or of tuple, which is made of its items."""
    if kind is list:
        return list(record.inert_items)
    arguments: tuple[Any, ...] = record.inert_arguments
    if record.inert_how == "call":  # one of PyTorch's structs: (items, further attributes)
        items: tuple[Any, ...] = arguments[0]
        return items
    return arguments


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object, or of what a record stands for, by name."""
    if not is_record(value):
        return dict(getattr(value, "__dict__", {}))
    state = value.inert_state if value.inert_has_state else None
    if type(state) is tuple and not _is_pair_of_states(state):
        return {}  # what a __setstate__ of its own takes, whatever that is
    found: dict[str, Any] = value.inert_attributes
    return found


def _is_pair_of_states(state: tuple[Any, ...]) -> bool:
    """What objects with __slots__ are pickled with: the attributes in __dict__, and those in slots."""
    return len(state) == 2 and all(part is None or isinstance(part, dict) for part in state)


def check_attributes(walk: Walk, path: str, value: Any, pairs: Iterable[tuple[Any, Node]]) -> None:
    walk.named(path, attributes(value), pairs)


def _object(walk: Walk, path: str, value: Any, node: Node) -> None:
    if check_class(walk, path, value, node["class"]):
        part = "slots" if "slots" in node else "dict"
        check_attributes(walk, f"{path}.{part}", value, node[part])


def _enum(walk: Walk, path: str, value: Any, node: Node) -> None:
    if check_class(walk, path, value, node["class"]):
        (member,) = value.inert_arguments
        walk.into(f"{path}.value", member, node["value"])


def _global(walk: Walk, path: str, value: Any, node: Node) -> None:
    expected = node["name"]
    if is_record(value):  # a function that dill or cloudpickle wrote out
        walk.same(path, expected.rpartition(".")[2] in _texts(value), True)  # among them the name of its code
        return
    owner, dot, last = expected.rpartition(".")
    actual = str(value) if isinstance(value, Global | InertName) else f"{value.__module__}.{value.__qualname__}"
    walk.same(path, _KNOWN_AS.get(owner, owner) + dot + last, real_name(actual))


def _texts(record: Any) -> set[str]:
    """The texts among the arguments of a record, and of the records there."""
    found: set[str] = set()
    for argument in record.inert_arguments:
        found |= _texts(argument) if is_record(argument) else {argument} if isinstance(argument, str) else set()
    return found


def _opaque(walk: Walk, path: str, value: Any, node: Node) -> None:
    """Values of which the corpus has little more than their text."""
    name = node["class"]
    if "local" in node:
        _wrapper(walk, path, value, node)
    elif name in _OPAQUE_TEXTS:
        walk.same(path, node["repr"], _OPAQUE_TEXTS[name](value))
    else:
        walk.same(f"{path}.class", real_name(_PICKLED_AS.get(name, name)), class_name(value))


def _fakes(tensors: Mapping[str, Any]) -> str:
    texts = []
    for name, tensor in tensors.items():
        place = "" if tensor.device == "cpu" else f" on {tensor.device.partition(':')[0]}"
        texts.append(f"{name} {tensor.dtype.name}{list(tensor.shape)}{place}")
    return ", ".join(texts)


_OPAQUE_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "FakeTensor dict": _fakes,
    "ellipsis": repr,
    "NotImplementedType": repr,
    "array.array": lambda value: repr(value) if type(value) is array.array else short(value),
    "torch.torch_version.TorchVersion": lambda value: repr(value.inert_arguments[0]),
}
"""How to get the text that the corpus has of a value."""
_PICKLED_AS: Mapping[str, str] = {
    "numpy.random._generator.Generator": "numpy.random._pickle.__generator_ctor",
    "method": "getattr",
}
"""The functions that make an object when it is unpickled, by its class."""


def _wrapper(walk: Walk, path: str, value: Any, node: Node) -> None:
    """A tensor of many machines, as one of them saved its part; the corpus describes what it saved as `x` of a dict."""
    value = value["x"]
    if walk.same(f"{path}.class", WrapperTensor, type(value)):
        walk.same(f"{path}.class", node["class"], str(value.python_side.kind))
        walk.into(f"{path}.local", _local_tensor(value), node["local"])


def _local_tensor(wrapper: WrapperTensor) -> Any:
    if "_local_tensor" in wrapper.attributes:
        return wrapper.attributes["_local_tensor"]
    assert wrapper.python_side is not None
    shards = wrapper.python_side.state[0]  # of a ShardedTensor: (local shards, metadata, …)
    return shards[0].tensor


CHECKS: Mapping[str, Check] = {
    "object": _object,
    "enum": _enum,
    "global": _global,
    "opaque": _opaque,
}

"""PyTorch's small values and its storages: what they must be, by what the corpus says of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import ptfile
from ptfile.tensors import dtypes
from ptfile.tensors.constants import Device, Layout, MemoryFormat, QScheme, Size
from ptfile.tensors.generator import Generator
from ptfile.tensors.parameter import Parameter
from tests.golden.walk import Check, Node, Walk

_NAMED = {
    "torch.dtype": ptfile.DType,
    "torch.layout": Layout,
    "torch.memory_format": MemoryFormat,
    "torch.qscheme": QScheme,
}


def _size(walk: Walk, path: str, value: Any, node: Node) -> None:
    if walk.same(f"{path}.class", Size, type(value)):
        walk.same(f"{path}.items", tuple(node["items"]), tuple(value))


def _named(walk: Walk, path: str, value: Any, node: Node) -> None:
    if walk.same(f"{path}.class", _NAMED[node["t"]], type(value)):
        walk.same(f"{path}.value", node["value"], f"torch.{value.name}")


def _device(walk: Walk, path: str, value: Any, node: Node) -> None:
    if walk.same(f"{path}.class", Device, type(value)):
        walk.same(f"{path}.value", node["value"], str(value))


def _storage(walk: Walk, path: str, value: Any, node: Node) -> None:
    if node["class"] == "torch.storage.UntypedStorage":
        if walk.same(f"{path}.class", ptfile.UntypedStorage, type(value)):
            walk.same(f"{path}.numel", node["numel"], value.nbytes())
            walk.storage(f"{path}.storage", value, node["storage"])
        return
    if walk.same(f"{path}.class", ptfile.TypedStorage, type(value)):
        walk.same(f"{path}.dtype", _dtype_of_storage(node), value.dtype.name)
        walk.same(f"{path}.numel", node["numel"], value.numel())
        walk.storage(f"{path}.storage", value.untyped(), node["storage"])
        if value.dtype.numpy_name is not None:
            count = len(node["first"])
            walk.same(f"{path}.first", node["first"], [repr(number) for number in value.tolist()[:count]])


def _dtype_of_storage(node: Node) -> str:
    """What the elements are, which the name of the class says in the oldest versions."""
    return node.get("dtype") or dtypes.BY_STORAGE_CLASS[node["class"].rpartition(".")[2]].name


def _generator(walk: Walk, path: str, value: Any, node: Node) -> None:
    if walk.same(f"{path}.class", Generator, type(value)):
        walk.same(f"{path}.device", node["device"], str(value.device))
        walk.into(f"{path}.state", value.state, node["state"])


def _model(walk: Walk, path: str, value: Any, node: Node) -> None:
    """A model of TorchScript or torch.export, of which the corpus has the weights."""
    weights = _exported(value) if isinstance(value, dict) else ptfile.state_dict(value)
    names = [walk.text(key) for key, _ in node["state_dict"]["items"]]
    if sorted(names) == sorted(weights):  # PyTorch 1.4 writes them in the order of their names
        weights = OrderedDict((name, weights[name]) for name in names)
    walk.into(f"{path}.state_dict", weights, node["state_dict"])


def _exported(value: dict[str, Any]) -> OrderedDict[str, Any]:
    """The weights of torch.export, as the state dict of a module has them: without gradient."""
    tensors = value["state_dict"].items()
    return OrderedDict((name, tensor.data if type(tensor) is Parameter else tensor) for name, tensor in tensors)


CHECKS: Mapping[str, Check] = {
    "torch.Size": _size,
    "torch.device": _device,
    "storage": _storage,
    "generator": _generator,
    "torchscript": _model,
    "pt2": _model,
    **dict.fromkeys(_NAMED, _named),
}

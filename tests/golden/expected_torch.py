"""PyTorch's small values and its storages: what they must be, by what the corpus says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ptfile
from ptfile.tensors.constants import Device, Layout, MemoryFormat, QScheme, Size
from tests.golden.expected_objects import is_record
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
    if "dtype" not in node:
        if walk.same(f"{path}.class", ptfile.UntypedStorage, type(value)):
            walk.same(f"{path}.numel", node["numel"], value.nbytes())
            walk.storage(f"{path}.storage", value, node["storage"])
        return
    if walk.same(f"{path}.class", ptfile.TypedStorage, type(value)):
        walk.same(f"{path}.dtype", node["dtype"], value.dtype.name)
        walk.same(f"{path}.numel", node["numel"], value.numel())
        walk.storage(f"{path}.storage", value.untyped(), node["storage"])
        if value.dtype.numpy_name is not None:
            count = len(node["first"])
            walk.same(f"{path}.first", node["first"], [repr(number) for number in value.tolist()[:count]])


def _generator(walk: Walk, path: str, value: Any, node: Node) -> None:
    """An inert record of its device, with (seed, offset, state) as its state."""
    if walk.same(f"{path}.class", True, is_record(value)):
        walk.same(f"{path}.class", "torch._C.Generator", value.inert_class)
        (device,) = value.inert_arguments
        walk.same(f"{path}.device", node["device"], str(device))
        walk.into(f"{path}.state", value.inert_state[-1], node["state"])


CHECKS: Mapping[str, Check] = {
    "torch.Size": _size,
    "torch.device": _device,
    "storage": _storage,
    "generator": _generator,
    **dict.fromkeys(_NAMED, _named),
}

"""Tensors of every kind: what they must be, by what the corpus says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ptfile
from ptfile.tensors import dtypes
from ptfile.tensors.nested import JaggedTensor, NestedTensor, WrapperTensor
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.python_side import PythonSide
from ptfile.tensors.quantized import PerTensor, QuantizedTensor
from ptfile.tensors.sparse import COMPRESSED, SparseCompressedTensor, SparseTensor
from tests.golden.expected_objects import check_class, is_record
from tests.golden.walk import Check, Node, Walk

_TENSOR = "torch.Tensor"
_PARAMETER = "torch.nn.parameter.Parameter"
_UNINITIALIZED = "torch.nn.parameter.UninitializedParameter"


def _tensor(walk: Walk, path: str, value: Any, node: Node) -> None:
    name = node["class"]
    if name == _UNINITIALIZED:
        _uninitialized(walk, path, value, node)
    elif walk.same(f"{path}.layout", _expected_type(node), type(value)):
        walk.same(f"{path}.class", name, _class_of(value))
        walk.same(f"{path}.dtype", node["dtype"], value.dtype.name)
        walk.same(f"{path}.requires_grad", node["requires_grad"], value.requires_grad)
        if node["shape"] is not None:  # a nested tensor has none
            walk.same(f"{path}.shape", tuple(node["shape"]), value.shape)
        _attributes(walk, path, value, node)
        _PARTS[type(value)](walk, path, value, node)


def _expected_type(node: Node) -> type:
    if node.get("no_data"):
        return WrapperTensor
    if node["class"] == _PARAMETER:
        return Parameter
    if "quant" in node:
        return QuantizedTensor
    if "nested" in node:
        return JaggedTensor if node["layout"] == "jagged" else NestedTensor
    if node["layout"] == "sparse_coo":
        return SparseTensor
    return SparseCompressedTensor if node["layout"] in COMPRESSED else ptfile.Tensor


def _class_of(tensor: Any) -> str:
    """The class that the tensor was an instance of."""
    side: PythonSide | None = tensor.python_side
    if side is not None and side.kind is not None:
        return str(side.kind)
    return _PARAMETER if type(tensor) is Parameter else _TENSOR


def _attributes(walk: Walk, path: str, value: Any, node: Node) -> None:
    if "attrs" in node and not value.attributes:
        walk.same(f"{path}.attrs", [walk.text(key) for key, _ in node["attrs"]], [])
    else:
        walk.named(f"{path}.attrs", value.attributes, node.get("attrs", []))


# Strided tensors


def _strided(walk: Walk, path: str, value: ptfile.Tensor, node: Node) -> None:
    walk.same(f"{path}.stride", tuple(node["stride"]), value.stride())
    walk.same(f"{path}.storage_offset", node["storage_offset"], value.storage_offset())
    is_conj, is_neg = _flags(node)
    walk.same(f"{path}.is_conj", is_conj, value.is_conj())
    walk.same(f"{path}.is_neg", is_neg, value.is_neg())
    if "storage" not in node:
        walk.same(f"{path}.device", node["device"], value.device)
        return
    walk.storage(f"{path}.storage", value.untyped_storage(), node["storage"])
    walk.digest(path, value.raw_array().tobytes(), node)
    if "sha256_resolved" in node and (value.is_conj() or value.is_neg()):
        walk.digest(path, value.resolve_conj().resolve_neg().raw_array().tobytes(), node, "sha256_resolved")
    if "first" in node and _flags(node) == (value.is_conj(), value.is_neg()):
        _first(walk, path, value, node["first"])


def _flags(node: Node) -> tuple[bool, bool]:
    """Whether the tensor was a conj or a neg view."""
    return node.get("is_conj", False), node.get("is_neg", False)


def _first(walk: Walk, path: str, value: ptfile.Tensor, texts: list[str]) -> None:
    """The first values, as Python's numbers are written."""
    if value.dtype.numpy_name is None and value.dtype not in (dtypes.complex32, dtypes.bcomplex32):
        return
    numbers = value.flatten()[: len(texts)].tolist()
    walk.same(f"{path}.first", texts, [repr(number) for number in numbers])


# Quantized tensors

_WHOLE_BYTES = (dtypes.qint8, dtypes.quint8, dtypes.qint32)
"""Those of which every element has bytes of its own."""


def _quantized(walk: Walk, path: str, value: QuantizedTensor, node: Node) -> None:
    walk.same(f"{path}.stride", tuple(node["stride"]), value.stride())
    walk.same(f"{path}.storage_offset", node["storage_offset"], value.storage_offset())
    walk.storage(f"{path}.storage", value.untyped_storage(), node["storage"])
    has_integers = value.dtype in _WHOLE_BYTES
    if has_integers:
        walk.digest(path, value.int_repr().raw_array().tobytes(), node)
    # PyTorch gives the bytes themselves where each holds several elements.
    integers = value.int_repr().flatten() if has_integers else value.untyped_storage()
    count = len(node["int_repr_first"])
    walk.same(f"{path}.int_repr_first", node["int_repr_first"], [repr(number) for number in integers.tolist()[:count]])
    quant, quantizer = node["quant"], value.quantizer
    walk.same(f"{path}.quant.qscheme", quant["qscheme"], f"torch.{value.qscheme().name}")
    if isinstance(quantizer, PerTensor):
        walk.same(f"{path}.quant.q_scale", quant["q_scale"], repr(quantizer.scale))
        walk.same(f"{path}.quant.q_zero_point", quant["q_zero_point"], repr(quantizer.zero_point))
    else:
        walk.into(f"{path}.quant.q_per_channel_scales", quantizer.scales, quant["q_per_channel_scales"])
        walk.into(f"{path}.quant.q_per_channel_zero_points", quantizer.zero_points, quant["q_per_channel_zero_points"])
        walk.same(f"{path}.quant.axis", quant["axis"], quantizer.axis)


# Sparse tensors


def _sparse(walk: Walk, path: str, value: SparseTensor, node: Node) -> None:
    value.check()
    walk.same(f"{path}.coalesced", node["coalesced"], value.is_coalesced())
    walk.into(f"{path}.indices", value.indices(), node["indices"])
    walk.into(f"{path}.values", value.values(), node["values"])


def _compressed(walk: Walk, path: str, value: SparseCompressedTensor, node: Node) -> None:
    value.check()
    walk.same(f"{path}.layout", node["layout"], value.layout.name)
    walk.into(f"{path}.compressed_indices", value.compressed_indices(), node["compressed_indices"])
    walk.into(f"{path}.plain_indices", value.plain_indices(), node["plain_indices"])
    walk.into(f"{path}.values", value.values(), node["values"])


# Nested tensors, and those without elements of their own


def _nested(walk: Walk, path: str, value: NestedTensor, node: Node) -> None:
    for name, part in zip(("buffer", "sizes", "strides", "offsets"), value.parts(), strict=True):
        walk.into(f"{path}.nested.{name}", part, node["nested"][name])
    components = value.unbind()
    walk.same(f"{path}.components.length", len(node["components"]), len(components))
    for index, (component, expected) in enumerate(zip(components, node["components"], strict=False)):
        walk.same(f"{path}.components[{index}].shape", tuple(expected["shape"]), component.shape)
        walk.digest(f"{path}.components[{index}]", component.raw_array().tobytes(), expected)


def _jagged(walk: Walk, path: str, value: JaggedTensor, node: Node) -> None:
    for name in ("values", "offsets", "lengths"):
        walk.into(f"{path}.nested.{name}", getattr(value, name)(), node["nested"][name])
    walk.into(f"{path}.nested.ragged_idx", value.ragged_dim + 1, node["nested"]["ragged_idx"])


def _uninitialized(walk: Walk, path: str, value: Any, node: Node) -> None:
    """An inert record of its class and requires_grad: there is no tensor yet."""
    if walk.same(f"{path}.class", True, is_record(value)) and check_class(walk, path, value, node["class"]):
        walk.same(f"{path}.requires_grad", node["requires_grad"], value.inert_arguments[0])


def _wrapper(walk: Walk, path: str, value: WrapperTensor, node: Node) -> None:
    layout: Any = value.layout
    walk.same(f"{path}.layout", node["layout"], layout.name)


_PARTS: Mapping[type, Any] = {
    ptfile.Tensor: _strided,
    Parameter: _strided,
    QuantizedTensor: _quantized,
    SparseTensor: _sparse,
    SparseCompressedTensor: _compressed,
    NestedTensor: _nested,
    JaggedTensor: _jagged,
    WrapperTensor: _wrapper,
}

CHECKS: Mapping[str, Check] = {"tensor": _tensor}

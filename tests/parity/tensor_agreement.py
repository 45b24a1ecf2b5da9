"""Compare tensors of every kind: ptfile's with PyTorch's, and what `torch()` makes of ptfile's with PyTorch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

import ptfile
from ptfile.tensors.nested import JaggedTensor, WrapperTensor
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.quantized import PerTensor, QuantizedTensor
from tests.golden.expected_objects import is_record

if TYPE_CHECKING:
    from tests.parity.agreement import Comparison


def check_tensor(comparison: Comparison, path: str, ours: Any, theirs: Any) -> None:
    """Every detail that both sides have."""
    if is_record(ours):
        _record(comparison, path, ours, theirs)
        return
    comparison.same(f"{path}.dtype", f"torch.{ours.dtype.name}", str(theirs.dtype))
    comparison.same(f"{path}.requires_grad", ours.requires_grad, theirs.requires_grad)
    if type(ours) is WrapperTensor:
        comparison.same(f"{path}.shape", ours.shape, tuple(theirs.shape))
        comparison.later(f"{path}.local", ours.attributes["_local_tensor"], theirs._local_tensor)
        return
    if type(ours) is JaggedTensor:
        _jagged(comparison, path, ours, theirs)
        return
    comparison.later(f"{path}.attributes", ours.attributes, dict(theirs.__dict__))
    if type(ours) in (ptfile.Tensor, Parameter):
        _strided(comparison, path, ours, theirs)
    elif type(ours) is QuantizedTensor:
        _quantized(comparison, path, ours, theirs)
    _same_in_torch(comparison, f"{path}.torch()", ours.torch(), theirs)


def _record(comparison: Comparison, path: str, ours: Any, theirs: torch.Tensor) -> None:
    """Tensors that are no tensors yet."""
    assert type(theirs) is torch.nn.UninitializedParameter
    comparison.same(f"{path}.class", ours.inert_class, "torch.nn.parameter.UninitializedParameter")


def _jagged(comparison: Comparison, path: str, ours: JaggedTensor, theirs: Any) -> None:
    _strided(comparison, f"{path}.values", ours.values(), theirs._values)  # to which PyTorch adds attributes
    _strided(comparison, f"{path}.offsets", ours.offsets(), theirs._offsets)
    _same_in_torch(comparison, f"{path}.torch()", ours.torch(), theirs)


def _strided(comparison: Comparison, path: str, ours: ptfile.Tensor, theirs: torch.Tensor) -> None:
    comparison.same(
        f"{path}.view",
        (ours.shape, ours.stride(), ours.storage_offset(), ours.is_conj(), ours.is_neg()),
        (tuple(theirs.shape), theirs.stride(), theirs.storage_offset(), theirs.is_conj(), theirs.is_neg()),
    )
    if theirs.device.type != "meta":
        comparison.storage(path, ours.untyped_storage(), theirs.untyped_storage())


def _quantized(comparison: Comparison, path: str, ours: QuantizedTensor, theirs: torch.Tensor) -> None:
    comparison.same(f"{path}.qscheme", f"torch.{ours.qscheme().name}", str(theirs.qscheme()))
    comparison.same(f"{path}.stride", (ours.shape, ours.stride()), (tuple(theirs.shape), theirs.stride()))
    comparison.storage(path, ours.untyped_storage(), theirs.untyped_storage())
    quantizer = ours.quantizer
    if isinstance(quantizer, PerTensor):
        numbers = (theirs.q_scale(), theirs.q_zero_point())
        comparison.same(f"{path}.quantizer", (quantizer.scale, quantizer.zero_point), numbers)
    else:
        comparison.same(f"{path}.axis", quantizer.axis, theirs.q_per_channel_axis())
        comparison.same(f"{path}.scales", quantizer.scales.tolist(), theirs.q_per_channel_scales().tolist())
        zero_points = theirs.q_per_channel_zero_points().tolist()
        comparison.same(f"{path}.zero_points", quantizer.zero_points.tolist(), zero_points)


# two tensors of PyTorch


def _same_in_torch(comparison: Comparison, path: str, converted: torch.Tensor, theirs: torch.Tensor) -> None:
    """What `torch()` made is the tensor that PyTorch loaded, in class and in every element."""
    comparison.same(f"{path}.class", _class(converted), _class(theirs))
    for detail in (_description, _parts):
        comparison.same(f"{path}.{detail.__name__}", detail(converted), detail(theirs))


def _class(tensor: torch.Tensor) -> Any:
    return torch.nn.Parameter if isinstance(tensor, torch.nn.Parameter) else torch.Tensor


def _description(tensor: torch.Tensor) -> tuple[Any, ...]:
    common = (tensor.layout, tensor.dtype, tensor.requires_grad, tensor.is_quantized, tensor.is_nested)
    if tensor.is_nested:
        return common
    if tensor.layout is torch.sparse_coo:
        return (*common, tuple(tensor.shape), tensor.is_coalesced())
    strides = (tensor.stride(), tensor.storage_offset()) if tensor.layout is torch.strided else ()
    return (*common, tuple(tensor.shape), *strides)


def _parts(tensor: torch.Tensor) -> list[bytes]:
    """The bytes of all that the tensor is made of, in row-major order."""
    return [_bytes(part) for part in _components(tensor.detach())]


def _components(tensor: torch.Tensor) -> list[torch.Tensor]:
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    if tensor.is_quantized:
        return [tensor.int_repr(), tensor.dequantize()]
    return [tensor]


def _bytes(tensor: torch.Tensor) -> bytes:
    if tensor.device.type == "meta":
        return b""
    plain = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    return bytes(plain.untyped_storage())

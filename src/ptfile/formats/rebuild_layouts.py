"""Sparse, quantized and nested tensors: from arguments to a tensor and back, as `rebuild` does for strided ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from ptfile.errors import LimitError, TensorError, brief
from ptfile.formats.arguments import exactly, fresh, fresh_hooks, no_hooks, shape_tuple, torch_utils
from ptfile.limits import Limits
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import Global, InertName
from ptfile.machine.policy import Meaning
from ptfile.tensors import dtypes
from ptfile.tensors.constants import LAYOUTS, QSCHEMES, Layout, Size
from ptfile.tensors.create import tensor
from ptfile.tensors.nested import JaggedTensor, NestedTensor
from ptfile.tensors.quantized import PerChannel, PerTensor, QuantizedTensor
from ptfile.tensors.sparse import COMPRESSED, SparseCompressedTensor, SparseTensor
from ptfile.tensors.storage import TypedStorage
from ptfile.tensors.tensor import Tensor

REBUILD_SPARSE = torch_utils("_rebuild_sparse_tensor")
REBUILD_QUANTIZED = torch_utils("_rebuild_qtensor")
REBUILD_NESTED = torch_utils("_rebuild_nested_tensor")
REBUILD_JAGGED = Global("torch.nested._internal.nested_tensor", "_rebuild_njt")
_DIM_RANGE = InertName("torch._dynamo.decorators", "_DimRange")


unchecked: ContextVar[list[Any] | None] = ContextVar("unchecked", default=None)
"""Where a load that is going on notes the tensors whose indices are to be checked once their bytes are there."""


def check_indices(noted: Iterable[Any], limits: Limits) -> None:
    """Raise TensorError for tensors whose indices lie outside them, LimitError if it would take long to look at all."""
    here = [made for made in noted if made.device != "meta"]
    tables = [table for made in here for table in made.tables()]
    storages = {id(storage): storage.nbytes() for storage in (table.untyped_storage() for table in tables)}
    elements, allowed = sum(table.numel() for table in tables), limits.shared + 16 * sum(storages.values())
    if elements > allowed:
        problem = "the tensors in it name the same indices again and again"
        raise LimitError(problem, limit="shared", allowed=allowed, actual=elements)
    for made in here:
        made.check()


def _note(made: Any) -> Any:
    noted = unchecked.get()
    if noted is not None:
        noted.append(made)
    return made


def _sparse(layout: object, data: object) -> SparseTensor | SparseCompressedTensor:
    kind = exactly(layout, Layout, "the layout")
    parts = exactly(data, tuple, "the data of a sparse tensor")
    if kind is LAYOUTS["sparse_coo"] and len(parts) in (3, 4):
        indices, values, shape = _sparse_parts(parts[:3])
        # Files up to PyTorch 2.0 do not say whether the indices are in order.
        coalesced = exactly(parts[3], bool, "is_coalesced") if len(parts) == 4 else None
        made: SparseTensor = _note(SparseTensor(indices, values, shape, coalesced))
        return made
    if kind.name in COMPRESSED and len(parts) == 4:
        compressed = exactly(parts[0], Tensor, "the pointers")
        plain, values, shape = _sparse_parts(parts[1:])
        pressed: SparseCompressedTensor = _note(SparseCompressedTensor(kind, compressed, plain, values, shape))
        return pressed
    raise TensorError(f"a tensor of layout {kind} is not made of {len(parts)} parts")


def _sparse_parts(parts: tuple[object, ...]) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    indices, values, shape = parts
    return (
        exactly(indices, Tensor, "the indices"),
        exactly(values, Tensor, "the values"),
        shape_tuple(shape, "the shape"),
    )


def _reduce_sparse(sparse: SparseTensor) -> tuple[Global, tuple[Any, ...]]:
    parts = (sparse.indices(), sparse.values(), Size(sparse.shape))
    flag = () if sparse.coalesced_flag is None else (sparse.coalesced_flag,)
    return REBUILD_SPARSE, (sparse.layout, (*parts, *flag))


def _reduce_compressed(sparse: SparseCompressedTensor) -> tuple[Global, tuple[Any, ...]]:
    parts = (sparse.compressed_indices(), sparse.plain_indices(), sparse.values(), Size(sparse.shape))
    return REBUILD_SPARSE, (sparse.layout, parts)


def _quantized(
    storage: object,
    offset: int,
    shape: object,
    stride: object,
    parameters: object,
    requires_grad: object,
    hooks: object,
) -> QuantizedTensor:
    no_hooks(hooks)
    typed = exactly(storage, TypedStorage, "the storage")
    place = (offset, shape_tuple(shape, "the shape"), shape_tuple(stride, "the stride"))
    quantizer = _quantizer(exactly(parameters, tuple, "the scales"))
    grad = exactly(requires_grad, bool, "requires_grad")
    return QuantizedTensor(typed.storage, typed.dtype, *place, quantizer, grad)


def _quantizer(parameters: tuple[Any, ...]) -> PerTensor | PerChannel:
    scheme, *numbers = parameters or (None,)
    if scheme is QSCHEMES["per_tensor_affine"] and len(numbers) == 2:
        scale, zero_point = numbers
        return PerTensor(exactly(scale, float, "the scale"), exactly(zero_point, int, "the zero point"))
    per_channel = (QSCHEMES["per_channel_affine"], QSCHEMES["per_channel_affine_float_qparams"])
    if scheme in per_channel and len(numbers) == 3:
        scales, zero_points, axis = numbers
        for part in (scales, zero_points):
            if type(part) is list and not all(type(number) in (int, float) for number in part):
                raise TensorError("the scales of a quantized tensor are not numbers")
        if type(scales) is list and type(zero_points) is list:  # as PyTorch 1.3 and 1.4 wrote them
            kinds = (dtypes.float64, dtypes.int64) if scheme is per_channel[0] else (dtypes.float32, dtypes.float32)
            scales, zero_points = tensor(scales, dtype=kinds[0]), tensor(zero_points, dtype=kinds[1])
        scales = exactly(scales, Tensor, "the scales")
        zero_points = exactly(zero_points, Tensor, "the zero points")
        if not scales.dtype.is_floating_point:
            raise TensorError(f"the scales of a quantized tensor are of {scales.dtype}")
        return PerChannel(scales, zero_points, exactly(axis, int, "the axis"))
    raise TensorError(f"a tensor is quantized in a way that PyTorch does not write: {brief(scheme)}")


def _reduce_quantized(quantized: QuantizedTensor) -> tuple[Global, tuple[Any, ...]]:
    quantizer = quantized.quantizer
    if isinstance(quantizer, PerTensor):
        parameters: tuple[Any, ...] = (QSCHEMES["per_tensor_affine"], quantizer.scale, quantizer.zero_point)
    else:  # PyTorch names this scheme for floating zero points as well
        parameters = (QSCHEMES["per_channel_affine"], quantizer.scales, quantizer.zero_points, quantizer.axis)
    storage = TypedStorage(quantized.untyped_storage(), quantized.dtype)
    place = (quantized.storage_offset(), fresh(quantized.shape), fresh(quantized.stride()))
    return REBUILD_QUANTIZED, (storage, *place, parameters, quantized.requires_grad, fresh_hooks())


def _nested(buffer: object, sizes: object, strides: object, offsets: object) -> NestedTensor:
    parts = (exactly(part, Tensor, "a part of a nested tensor") for part in (buffer, sizes, strides, offsets))
    made: NestedTensor = _note(NestedTensor(*parts))
    return made


def _jagged(arguments: object) -> JaggedTensor:
    made: JaggedTensor = _note(JaggedTensor(exactly(arguments, dict, "the parts of a jagged tensor")))
    return made


def _dim_range() -> InertRecord:
    """What PyTorch's compiler noted about a dimension: attributes of a jagged tensor's parts have it."""
    return InertRecord(_DIM_RANGE, (), "new")


BUILDERS: Mapping[Global, Callable[..., object]] = {
    REBUILD_SPARSE: _sparse,
    torch_utils("_rebuild_sparse_csr_tensor"): _sparse,  # 1.11 to 1.13, with the same arguments
    REBUILD_QUANTIZED: _quantized,
    REBUILD_NESTED: _nested,
    REBUILD_JAGGED: _jagged,
}

NAMES: Mapping[tuple[str, str], Meaning] = {
    (REBUILD_JAGGED.module, "NestedTensor"): Meaning(),
    (_DIM_RANGE.module, _DIM_RANGE.name): Meaning(new=_dim_range),
}

REDUCERS: Mapping[type, Callable[[Any], tuple[Global, tuple[Any, ...]]]] = {
    SparseTensor: _reduce_sparse,
    SparseCompressedTensor: _reduce_compressed,
    QuantizedTensor: _reduce_quantized,
    NestedTensor: lambda nested: (REBUILD_NESTED, nested.parts()),
    JaggedTensor: lambda jagged: (REBUILD_JAGGED, (jagged.saved_as,)),
}

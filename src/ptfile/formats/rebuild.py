"""The map from a name in a pickle to a builder, and back from a type to how it is pickled: both ways in one file.

The names and the order of the arguments are those of `torch/_utils.py` and `Tensor._reduce_ex_internal` in
`torch/_tensor.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ptfile.errors import TensorError, UnsupportedError
from ptfile.formats import numpy_objects, python_objects
from ptfile.formats.storages import STORAGE_CLASSES, UNTYPED_STORAGE
from ptfile.machine.encoder import Reducer
from ptfile.machine.names import Global
from ptfile.machine.policy import Meaning, Policy, TypeRules
from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.tensor import Tensor

REBUILD_TENSOR_V2 = Global("torch._utils", "_rebuild_tensor_v2")
REBUILD_TENSOR_V3 = Global("torch._utils", "_rebuild_tensor_v3")


# tensors: from arguments


def _rebuild_tensor_v2(
    storage: object,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    hooks: object,
    metadata: object = None,
) -> Tensor:
    if not isinstance(storage, TypedStorage):
        raise TensorError(f"a tensor is built on a {type(storage).__name__} where a typed storage belongs")
    _check_hooks(hooks)
    return _tensor(storage.storage, storage.dtype, offset, shape, stride, requires_grad, metadata)


def _rebuild_tensor_v3(
    storage: object,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    hooks: object,
    dtype: object,
    metadata: object = None,
) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, DType):
        raise TensorError("a tensor is not built on an untyped storage and a dtype")
    _check_hooks(hooks)
    return _tensor(storage, dtype, offset, shape, stride, requires_grad, metadata)


def _tensor(
    storage: Storage,
    dtype: DType,
    offset: int,
    shape: object,
    stride: object,
    requires_grad: object,
    metadata: object,
) -> Tensor:
    if type(shape) is not tuple or type(stride) is not tuple or type(requires_grad) is not bool:
        raise TensorError("a tensor's shape and strides are not tuples, or requires_grad is no boolean")
    flags = {} if metadata is None else _flags(metadata)
    return Tensor(storage, dtype, offset, shape, stride, requires_grad=requires_grad, **flags)


def _check_hooks(hooks: object) -> None:
    if not isinstance(hooks, dict) or hooks:
        raise UnsupportedError("a tensor was saved with hooks, which are code")


def _flags(metadata: object) -> dict[str, bool]:
    if not isinstance(metadata, dict) or not metadata.keys() <= {"conj", "neg"}:
        raise TensorError(f"a tensor has metadata that PyTorch does not write: {metadata!r:.80}")
    return {name: bool(value) for name, value in metadata.items()}


# tensors: to arguments


def _reduce_tensor(tensor: Tensor) -> tuple[Global, tuple[Any, ...]]:
    dtype, storage = tensor.dtype, tensor.untyped_storage()
    # The pickler writes a tuple that it has met before as a reference; PyTorch makes new ones for each tensor.
    place = (tensor.storage_offset(), _fresh(tensor.shape), _fresh(tensor.stride()), tensor.requires_grad)
    flags = {name: True for name, flag in (("conj", tensor.is_conj()), ("neg", tensor.is_neg())) if flag}
    metadata = (flags,) if flags else ()
    hooks: OrderedDict[object, object] = OrderedDict()
    if dtype.storage_class is not None:
        return REBUILD_TENSOR_V2, (TypedStorage(storage, dtype), *place, hooks, *metadata)
    if not dtype.can_be_saved:
        raise UnsupportedError(f"PyTorch has no way to save a tensor of {dtype}")
    return REBUILD_TENSOR_V3, (storage, *place, hooks, dtype, *metadata)


def _fresh(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(list(numbers))


# the tables

_ADVICE = "If you trust the file, load it with weights_only=False, which runs the code that it names"

NAMES: Mapping[tuple[str, str], Meaning] = {
    ("torch._utils", "_rebuild_tensor_v2"): Meaning(call=_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): Meaning(call=_rebuild_tensor_v3),
    **{("torch", name): Meaning() for name in STORAGE_CLASSES},
    **{(module, "UntypedStorage"): Meaning() for module in (UNTYPED_STORAGE.module, "torch")},
    **{("torch", name): Meaning(dtype) for name, dtype in dtypes.BY_NAME.items()},
}

TYPES: Mapping[type, TypeRules] = {
    Tensor: TypeRules(never_a_key=True),
}

POLICY = Policy(
    {**python_objects.NAMES, **numpy_objects.NAMES, **NAMES},
    {**python_objects.TYPES, **numpy_objects.TYPES, **TYPES},
    _ADVICE,
)

REDUCERS: Mapping[type, Reducer] = {
    Tensor: _reduce_tensor,
    DType: lambda dtype: Global("torch", dtype.name),
}

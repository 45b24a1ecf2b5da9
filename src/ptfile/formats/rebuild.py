"""Strided tensors: from the name and arguments in a pickle to a tensor, and back, both ways in one file.

The names and the order of the arguments are those of `torch/_utils.py`, `Tensor._reduce_ex_internal` in
`torch/_tensor.py` and `Parameter.__reduce_ex__` in `torch/nn/parameter.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ptfile._lazy import np
from ptfile.errors import TensorError, UnsafeError, UnsupportedError, brief
from ptfile.formats.arguments import (
    counted,
    exactly,
    fresh,
    fresh_hooks,
    fresh_text,
    no_hooks,
    shape_tuple,
    torch_utils,
)
from ptfile.formats.rebuild_layouts import BUILDERS as LAYOUT_BUILDERS
from ptfile.formats.rebuild_layouts import NAMES as LAYOUT_NAMES
from ptfile.formats.rebuild_layouts import REDUCERS as LAYOUT_REDUCERS
from ptfile.formats.storages import STORAGE_CLASSES, UNTYPED_STORAGE, SavedStorages
from ptfile.machine.names import Global, InertName
from ptfile.machine.plain import PlainTensors, Strided
from ptfile.machine.policy import Meaning, TypeRules
from ptfile.machine.proof_memo import Role
from ptfile.tensors.create import empty_meta, tensor
from ptfile.tensors.dtypes import DType
from ptfile.tensors.nested import WrapperTensor
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.python_side import Attributed, PythonSide
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.strides import INT64_MAX
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ptfile.machine.encoder import Reducer

Reduced: TypeAlias = "tuple[Global, tuple[Any, ...]]"

TENSOR_CLASS = Global("torch", "Tensor")
REBUILD_TENSOR_V2 = torch_utils("_rebuild_tensor_v2")
REBUILD_TENSOR_V3 = torch_utils("_rebuild_tensor_v3")
REBUILD_META = torch_utils("_rebuild_meta_tensor_no_storage")
REBUILD_FROM_CPU = torch_utils("_rebuild_device_tensor_from_cpu_tensor")
REBUILD_WRAPPER = torch_utils("_rebuild_wrapper_subclass")
REBUILD_PARAMETER = torch_utils("_rebuild_parameter")
REBUILD_PARAMETER_WITH_STATE = torch_utils("_rebuild_parameter_with_state")
REBUILD_FROM_TYPE_V2 = Global("torch._tensor", "_rebuild_from_type_v2")

_SAVED_THROUGH_CPU = ("xla", "maia", "mtia")
"""Kinds of device whose tensors are saved as CPU tensors and a device tag."""


# plain tensors


def _tensor_v1(storage: object, offset: int, shape: object, stride: object) -> Tensor:
    return _strided(exactly(storage, TypedStorage, "the storage"), offset, shape, stride, False)


def _tensor_v2(
    storage: object,
    offset: int,
    shape: object,
    stride: object,
    requires_grad: object,
    hooks: object,
    metadata: object = None,
) -> Tensor:
    no_hooks(hooks)
    return _strided(exactly(storage, TypedStorage, "the storage"), offset, shape, stride, requires_grad, metadata)


def _proved_tensor_v2(
    storage: TypedStorage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], grad: bool, _hooks: object
) -> Tensor:
    """The same for arguments that were proved to be of the right kinds, but for the storage's."""
    return Tensor(storage.storage, storage.dtype, offset, shape, stride, grad)


def _tensor_v3(
    storage: object,
    offset: int,
    shape: object,
    stride: object,
    requires_grad: object,
    hooks: object,
    dtype: object,
    metadata: object = None,
) -> Tensor:
    no_hooks(hooks)
    untyped = exactly(storage, Storage, "the storage")
    typed = TypedStorage(untyped, exactly(dtype, DType, "the dtype"))
    return _strided(typed, offset, shape, stride, requires_grad, metadata)


def _strided(
    storage: TypedStorage, offset: int, shape: object, stride: object, requires_grad: object, metadata: object = None
) -> Tensor:
    place = (offset, shape_tuple(shape, "the shape"), shape_tuple(stride, "the stride"))
    grad = exactly(requires_grad, bool, "requires_grad")
    conj, neg = (False, False) if metadata is None else _flags(metadata)
    return Tensor(storage.storage, storage.dtype, *place, grad, conj, neg)


def _flags(metadata: object) -> tuple[bool, bool]:
    is_known = type(metadata) is dict and metadata.keys() <= {"conj", "neg"}
    # To PyTorch a flag is set that is there, also if it is False.
    if not is_known or not all(flag is True for flag in metadata.values()):  # type: ignore[attr-defined]
        raise TensorError(f"a tensor has metadata that PyTorch does not write: {brief(metadata)}")
    return "conj" in metadata, "neg" in metadata  # type: ignore[operator]


def _meta(dtype: object, shape: object, stride: object, requires_grad: object) -> Tensor:
    sizes = (shape_tuple(shape, "the shape"), shape_tuple(stride, "the stride"))
    return empty_meta(
        *sizes, dtype=exactly(dtype, DType, "the dtype"), requires_grad=exactly(requires_grad, bool, "grad")
    )


def _from_numpy(array: object, dtype: object, device: object, requires_grad: object) -> Tensor:
    values = tensor(exactly(array, np.ndarray, "the data"), dtype=exactly(dtype, DType, "the dtype"))
    return _on_device(values, device, requires_grad)


def _from_cpu(data: object, dtype: object, device: object, requires_grad: object) -> Tensor:
    values = exactly(data, Tensor, "the data")
    if values.dtype is not exactly(dtype, DType, "the dtype"):
        raise TensorError(f"a tensor of {dtype} was saved by way of the CPU as one of {values.dtype}")
    return _on_device(values, device, requires_grad)


def _on_device(values: Tensor, device: object, requires_grad: object) -> Tensor:
    values.untyped_storage().device = exactly(device, str, "the device")
    values.requires_grad = exactly(requires_grad, bool, "requires_grad")
    return values


def _reduce_strided(tensor: Tensor) -> Reduced:
    dtype, storage, device = tensor.dtype, tensor.untyped_storage(), tensor.device
    if device == "meta":
        return REBUILD_META, (dtype, fresh(tensor.shape), fresh(tensor.stride()), tensor.requires_grad)
    if device.partition(":")[0] in _SAVED_THROUGH_CPU:
        place = (tensor.storage_offset(), tensor.shape, tensor.stride())
        on_cpu = Tensor(Storage(storage.data), dtype, *place, conj=tensor.is_conj(), neg=tensor.is_neg())
        return REBUILD_FROM_CPU, (on_cpu, dtype, device, tensor.requires_grad)
    view = (tensor.storage_offset(), fresh(tensor.shape), fresh(tensor.stride()), tensor.requires_grad, fresh_hooks())
    metadata: tuple[dict[str, bool], ...] = ()
    if tensor.is_conj() or tensor.is_neg():
        flags = (("conj", tensor.is_conj()), ("neg", tensor.is_neg()))
        metadata = ({fresh_text(name): True for name, flag in flags if flag},)
    if dtype.storage_class is not None:
        return REBUILD_TENSOR_V2, (TypedStorage(storage, dtype), *view, *metadata)
    if not dtype.can_be_saved:
        raise UnsupportedError(f"PyTorch has no way to save a tensor of {dtype}")
    return REBUILD_TENSOR_V3, (storage, *view, dtype, *metadata)


# tensors that are more: parameters, subclasses, attributes


def _parameter(data: object, requires_grad: object, hooks: object, state: object = None) -> Parameter:
    no_hooks(hooks)
    if type(data) is not Tensor or data.python_side is not None:
        raise UnsupportedError(f"a parameter that is not a plain strided tensor but a {type(data).__name__}")
    parameter = Parameter(data, exactly(requires_grad, bool, "requires_grad"))
    if state is not None:
        parameter.python_side = PythonSide(state=_checked_state(state))
    return parameter


def _reduce_parameter(parameter: Parameter) -> Reduced:
    arguments = (parameter.data, parameter.requires_grad, fresh_hooks())
    if parameter.python_side is None:
        return REBUILD_PARAMETER, arguments
    return REBUILD_PARAMETER_WITH_STATE, (*arguments, parameter.python_side.state)


def _from_type(builder: object, kind: object, arguments: object, state: object) -> Attributed:
    """A tensor that some builder makes, as an instance of a class, with attributes."""
    build = BUILDERS.get(builder) if isinstance(builder, Global) else None
    if build is None:
        made_by = str(builder) if type(builder) is Global else brief(builder)
        raise UnsafeError(f"a tensor is built by {made_by}, which is no builder of tensors", name=made_by)
    if not isinstance(kind, Global | InertName):
        raise TensorError("the class of a tensor is not a name")
    made = build(*exactly(arguments, tuple, "the arguments"))
    assert isinstance(made, Attributed)
    if kind == TENSOR_CLASS:
        made.python_side = PythonSide(None, _checked_state(state))
    else:  # the state may be whatever the subclass's __setstate__ takes
        made.python_side = PythonSide(kind, state)
    return made


def _checked_state(state: object) -> object:
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    for part in parts:
        if part is not None and type(part) is not dict:
            raise TensorError("the attributes of a tensor are not a dict by name")
        for name in part or ():
            if type(name) is not str:
                raise UnsafeError(f"the state of a tensor has an attribute called {brief(name)}", name=brief(name))
            if name.startswith("__"):
                raise UnsafeError(f"the attribute {name} of a tensor would hide its own", name=name)
    return state


def _wrapper(
    kind: object,
    dtype: object,
    shape: object,
    stride: object,
    offset: object,
    layout: object,
    device: object,
    requires_grad: object,
) -> WrapperTensor:
    sizes = shape_tuple(shape, "the shape")
    if not all(0 <= size <= INT64_MAX for size in sizes):
        raise TensorError("the shape of a wrapper is not a tuple of counts")
    arguments = (kind, dtype, shape, stride, offset, layout, device, requires_grad)
    grad = exactly(requires_grad, bool, "requires_grad")
    return WrapperTensor(exactly(dtype, DType, "the dtype"), sizes, layout, grad, arguments)


def _with_python_side(reduce: Callable[[Any], Reduced]) -> Reducer:
    def reduce_all(tensor: Any) -> Reduced:
        reduced = reduce(tensor)
        side: PythonSide | None = tensor.python_side
        if side is None:
            return reduced
        return REBUILD_FROM_TYPE_V2, (reduced[0], side.kind or TENSOR_CLASS, reduced[1], side.state)

    return reduce_all


def plain_tensors(storages: SavedStorages) -> PlainTensors:
    """Tensors that are no more than a view of a storage, for the encoder of plain trees."""

    def strided(tensor: Tensor) -> Strided | None:
        storage, dtype, device = tensor.untyped_storage(), tensor.dtype, tensor.device
        numel, rest = divmod(storage.nbytes(), dtype.itemsize)
        is_more = tensor.python_side is not None or tensor.is_conj() or tensor.is_neg()
        if is_more or rest or dtype.storage_class is None or not (device == "cpu" or device.startswith("cuda")):
            return None
        persistent_id = storages.name(storage, dtype, numel)
        return persistent_id, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.requires_grad

    return PlainTensors(Tensor, REBUILD_TENSOR_V2, strided)


# the tables

_BUILDERS: Mapping[Global, Callable[..., object]] = {
    torch_utils("_rebuild_tensor"): _tensor_v1,
    REBUILD_TENSOR_V2: _tensor_v2,
    REBUILD_TENSOR_V3: _tensor_v3,
    REBUILD_META: _meta,
    REBUILD_FROM_CPU: _from_cpu,
    torch_utils("_rebuild_device_tensor_from_numpy"): _from_numpy,
    torch_utils("_rebuild_xla_tensor"): _from_numpy,
    REBUILD_WRAPPER: _wrapper,
    REBUILD_PARAMETER: _parameter,
    REBUILD_PARAMETER_WITH_STATE: _parameter,
    **LAYOUT_BUILDERS,
}
BUILDERS = {name: counted(str(name), builder) for name, builder in _BUILDERS.items()}
"""The functions that make tensors, by their names in a pickle."""
PROVED_BUILDERS: Mapping[Global, Callable[..., object]] = {REBUILD_TENSOR_V2: _proved_tensor_v2}
"""The same for pickles that were proved to call them with arguments of the right kinds."""

NAMES: Mapping[tuple[str, str], Meaning] = {
    **{(name.module, name.name): Meaning(call=builder) for name, builder in BUILDERS.items()},
    **LAYOUT_NAMES,
    ("torch._tensor", "_rebuild_from_type_v2"): Meaning(call=_from_type),
    ("torch._tensor", "_rebuild_from_type"): Meaning(call=_from_type),
    ("torch.tensor", "_rebuild_from_type"): Meaning(call=_from_type),  # the module's name in 1.8
    ("torch", "Tensor"): Meaning(),
    ("torch.nn.parameter", "Parameter"): Meaning(),
    ("torch.nn.parameter", "Buffer"): Meaning(),
    **{(module, name): Meaning() for module in ("torch", "torch.cuda") for name in STORAGE_CLASSES},
    **{(module, "UntypedStorage"): Meaning() for module in (UNTYPED_STORAGE.module, "torch")},
}

ROLES: Mapping[Global, Role] = {
    REBUILD_TENSOR_V2: Role.TENSOR,
    REBUILD_PARAMETER: Role.PARAMETER,
    **dict.fromkeys(STORAGE_CLASSES.values(), Role.STORAGE),
}
"""Names of which a pickle can be proved to use them as PyTorch does."""

TYPES: Mapping[type, TypeRules] = {kind: TypeRules(never_a_key=True) for kind in (Tensor, Parameter)}

REDUCERS: Mapping[type, Reducer] = {
    Tensor: _with_python_side(_reduce_strided),
    Parameter: _reduce_parameter,
    WrapperTensor: _with_python_side(lambda wrapper: (REBUILD_WRAPPER, wrapper.saved_as)),
    **{kind: _with_python_side(reduce) for kind, reduce in LAYOUT_REDUCERS.items()},
}

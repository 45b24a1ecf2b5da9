"""PyTorch's constants, small values and generators, from their names in a pickle and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ptfile.errors import FormatError, UnsafeError, brief
from ptfile.formats.arguments import fresh, fresh_text, python2_text
from ptfile.machine.encoder import Apart, Reducer
from ptfile.machine.names import Global
from ptfile.machine.policy import Meaning, TypeRules
from ptfile.tensors import dtypes
from ptfile.tensors.constants import (
    LAYOUTS,
    MEMORY_FORMATS,
    QSCHEMES,
    Constant,
    Device,
    Layout,
    MemoryFormat,
    QScheme,
    Size,
)
from ptfile.tensors.dtypes import DType
from ptfile.tensors.generator import Generator
from ptfile.tensors.tensor import Tensor

SIZE = Global("torch", fresh_text("Size"))
DEVICE = Global("torch", fresh_text("device"))
GENERATOR = Global("torch._C", "Generator")
_NUMBERED_DEVICE = re.compile(r"([a-z]+):(0|[1-9][0-9]{0,2})")
GET_LAYOUT = Global("torch.serialization", "_get_layout")
_TORCH_IN_UTILS = Global("torch._utils", "torch")
"""Python 3.13 finds the memory formats by way of the module `torch` in `torch._utils`."""


def _size(sizes: object = ()) -> Size:
    if type(sizes) not in (tuple, list) or not all(type(size) is int for size in sizes):  # type: ignore[attr-defined]
        raise FormatError("a torch.Size is not built from integers")
    return Size(sizes)  # type: ignore[arg-type]


def _device(kind: object, index: object = None) -> Device:
    kind = python2_text(kind)
    if type(kind) is not str or not (index is None or type(index) is int):
        raise FormatError("a torch.device is not built from a name and a number")
    numbered = _NUMBERED_DEVICE.fullmatch(kind) if index is None else None
    return Device(numbered[1], int(numbered[2])) if numbered else Device(kind, index)


def _layout(name: object) -> Constant:
    if type(name) is not str or name.removeprefix("torch.") not in LAYOUTS:
        raise FormatError(f"PyTorch has no layout {brief(name)}")
    return LAYOUTS[name.removeprefix("torch.")]


def _get_attribute(target: object, name: object) -> Constant:
    """`getattr`, for the one use that PyTorch makes of it: how protocol 2 names a memory format."""
    if target != _TORCH_IN_UTILS or name not in MEMORY_FORMATS:
        raise UnsafeError(
            f"the pickle looks up the attribute {brief(name)} of {brief(target)}", name="builtins.getattr"
        )
    return MEMORY_FORMATS[str(name)]


def _generator(device: object) -> Generator:
    if type(device) is not Device:
        raise FormatError("a torch.Generator is not built from a device")
    return Generator(device)


def _set_generator_state(generator: Generator, state: object) -> None:
    if type(state) is not tuple or [type(part) for part in state] not in (
        [int, type(None), Tensor],
        [int, int, Tensor],
    ):
        raise FormatError("the state of a torch.Generator is not a seed, an offset and a tensor")
    generator.seed, generator.offset, generator.state = state


def _named(names: Mapping[str, Any]) -> dict[tuple[str, str], Meaning]:
    return {("torch", name): Meaning(value) for name, value in names.items()}


NAMES: Mapping[tuple[str, str], Meaning] = {
    **_named(dtypes.BY_NAME),
    **_named(QSCHEMES),
    (SIZE.module, SIZE.name): Meaning(Size, call=_size, new=_size),  # Python 2 makes it as it makes any tuple
    (DEVICE.module, DEVICE.name): Meaning(Device, call=_device),
    (GET_LAYOUT.module, GET_LAYOUT.name): Meaning(call=_layout),
    (GENERATOR.module, GENERATOR.name): Meaning(call=_generator),
    (_TORCH_IN_UTILS.module, _TORCH_IN_UTILS.name): Meaning(),
    ("builtins", "getattr"): Meaning(call=_get_attribute),
    **{("torch._utils", f"torch.{name}"): Meaning(value) for name, value in MEMORY_FORMATS.items()},
}

TYPES: Mapping[type, TypeRules] = {Generator: TypeRules(set_state=_set_generator_state)}


def _reduce_device(device: Device) -> tuple[Global, tuple[Any, ...]]:
    # PyTorch makes a new text each time, which a pickler does not take for one that it has met.
    kind = fresh_text(device.type)
    return DEVICE, (kind,) if device.index is None else (kind, device.index)


REDUCERS: Mapping[type, Reducer] = {
    DType: lambda dtype: Apart(Global("torch", fresh_text(dtype.name))),
    QScheme: lambda scheme: Global("torch", scheme.name),
    MemoryFormat: lambda order: Global("torch._utils", f"torch.{order.name}"),
    Layout: lambda layout: (GET_LAYOUT, (f"torch.{layout.name}",)),
    Size: lambda size: (SIZE, (fresh(tuple(size)),)),
    Device: _reduce_device,
    Generator: lambda generator: (
        GENERATOR,
        (generator.device,),
        (generator.seed, generator.offset, generator.state),
    ),
}

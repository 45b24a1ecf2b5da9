"""The same tree, built twice: once of ptfile's tensors, once of PyTorch's.

A `TensorPlan` says what a tensor is; each world makes it real over storages that it makes once per plan. All other
values in a tree are the very same Python objects in both worlds, so that identity is the same too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

import ptfile
from ptfile.tensors import dtypes

DTYPES = [
    dtype
    for name, dtype in dtypes.BY_NAME.items()
    if dtype.can_be_saved and not dtype.is_quantized and hasattr(torch, name)
]


@dataclass(frozen=True, eq=False)
class StoragePlan:
    dtype: ptfile.DType
    data: bytes


@dataclass(frozen=True, eq=False)
class TensorPlan:
    storage: StoragePlan
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool = False


@dataclass(frozen=True, eq=False)
class DTypePlan:
    name: str


class World:
    """Makes a plan real, each part once."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def make(self, plan: Any) -> Any:
        if isinstance(plan, (StoragePlan, TensorPlan)):
            if id(plan) not in self._made:
                self._made[id(plan)] = self.storage(plan) if isinstance(plan, StoragePlan) else self.tensor(plan)
            return self._made[id(plan)]
        if isinstance(plan, DTypePlan):
            return self.dtype(plan.name)
        if type(plan) in (list, tuple):
            return type(plan)(map(self.make, plan))
        if type(plan) in (dict, OrderedDict):
            made = type(plan)((key, self.make(value)) for key, value in plan.items())
            vars_of = getattr(plan, "__dict__", None)
            if vars_of:
                made.__dict__.update(vars_of)
            return made
        return plan

    def storage(self, plan: StoragePlan) -> Any:
        raise NotImplementedError

    def tensor(self, plan: TensorPlan) -> Any:
        raise NotImplementedError

    def dtype(self, name: str) -> Any:
        raise NotImplementedError


class PtfileWorld(World):
    def storage(self, plan: StoragePlan) -> ptfile.UntypedStorage:
        return ptfile.UntypedStorage(bytearray(plan.data))

    def tensor(self, plan: TensorPlan) -> ptfile.Tensor:
        dtype = plan.storage.dtype
        storage = self.make(plan.storage)
        return ptfile.Tensor(storage, dtype, plan.offset, plan.shape, plan.stride, requires_grad=plan.requires_grad)

    def dtype(self, name: str) -> ptfile.DType:
        return dtypes.BY_NAME[name]


class TorchWorld(World):
    def storage(self, plan: StoragePlan) -> torch.UntypedStorage:
        if not plan.data:
            return torch.empty(0, dtype=torch.uint8).untyped_storage()
        return torch.from_numpy(np.frombuffer(bytearray(plan.data), np.uint8)).untyped_storage()

    def tensor(self, plan: TensorPlan) -> torch.Tensor:
        tensor = torch.empty(0, dtype=self.dtype(plan.storage.dtype.name))
        tensor.set_(self.make(plan.storage), plan.offset, plan.shape, plan.stride)
        return tensor.requires_grad_(plan.requires_grad)

    def dtype(self, name: str) -> torch.dtype:
        dtype = getattr(torch, name)
        assert isinstance(dtype, torch.dtype)
        return dtype


@st.composite
def storage_plans(draw: st.DrawFn) -> StoragePlan:
    dtype = draw(st.sampled_from(DTYPES))
    numel = draw(st.integers(0, 12))
    return StoragePlan(dtype, draw(st.binary(min_size=numel * dtype.itemsize, max_size=numel * dtype.itemsize)))


@st.composite
def tensor_plans(draw: st.DrawFn, storage: StoragePlan) -> TensorPlan:
    """Any strided view of a storage: contiguous, transposed, sliced, expanded, 0-dim or empty."""
    numel = len(storage.data) // storage.dtype.itemsize
    grad = draw(st.booleans()) and (storage.dtype.is_floating_point or storage.dtype.is_complex)
    grad = grad and storage.dtype.storage_class is not None  # PyTorch cannot differentiate the others
    if not numel:
        shape_of_none = draw(st.sampled_from([(0,), (0, 3), (2, 0, 1)]))
        return TensorPlan(storage, 0, shape_of_none, (1,) * len(shape_of_none), grad)
    offset = draw(st.integers(0, numel - 1))
    room = numel - 1 - offset
    shape: list[int] = []
    stride: list[int] = []
    for _ in range(draw(st.integers(0, 3))):
        step = draw(st.integers(0, 4))
        length = draw(st.integers(1, 4 if not step else min(4, room // step + 1)))
        room -= (length - 1) * step
        shape.append(length)
        stride.append(step)
    return TensorPlan(storage, offset, tuple(shape), tuple(stride), grad)


WORDS = ["torch", "cpu", "storage", "FloatStorage", "float32", "_rebuild_tensor_v2", "Size", "device", "collections"]
"""Texts that PyTorch writes too: the same objects, some of them, so that a pickler writes the second as a reference."""
SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.binary(max_size=8)
)


@st.composite
def trees(draw: st.DrawFn, words: Sequence[str] = ()) -> Any:
    """A tree of containers, scalars, dtypes and tensors, in which tensors and storages are met more than once."""
    storages = draw(st.lists(storage_plans(), max_size=3))
    tensors: list[TensorPlan] = []
    for storage in storages:
        tensors += draw(st.lists(tensor_plans(storage), max_size=3))
    leaves = SCALARS | st.sampled_from(DTYPES).map(lambda dtype: DTypePlan(dtype.name))
    if words:
        leaves |= st.sampled_from(words)
    if tensors:
        leaves |= st.sampled_from(tensors) | st.sampled_from(tensors)
    untyped = [plan for plan in storages if not any(tensor.storage is plan for tensor in tensors)]
    if untyped:
        leaves |= st.sampled_from(untyped)
    keys = st.text(max_size=8) | st.integers()
    return draw(
        st.recursive(
            leaves,
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.tuples(inner, inner)
                | st.dictionaries(keys, inner, max_size=4)
                | st.dictionaries(keys, inner, max_size=3).map(OrderedDict)
            ),
            max_leaves=12,
        )
    )

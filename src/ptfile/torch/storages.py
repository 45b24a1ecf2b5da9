"""Real torch storages that are saved: how they are named in a pickle, and their bytes."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import serialization
from torch.overrides import has_torch_function_unary
from torch.serialization import location_tag, normalize_storage_type

from ptfile._types import Buffer
from ptfile.containers.zip_writer import ZipWriter
from ptfile.machine.plain import PlainTensors, Strided

_COPIED = 64 << 10
"""Storages of fewer bytes are copied: that costs less than a view of them."""


class TypedBytes:
    """A storage and how its elements are to be seen: what a `torch.TypedStorage` is, but cheap to make."""

    __slots__ = ("dtype", "storage")

    def __init__(self, storage: torch.UntypedStorage, dtype: torch.dtype) -> None:
        self.storage = storage
        self.dtype = dtype


_STORAGE_CLASSES: Mapping[torch.dtype, Any] = {
    dtype: getattr(torch, name) for dtype, name in torch.storage._dtype_to_storage_type_map().items()
}


def reduce_tensor(tensor: torch.Tensor) -> Any:
    """What `Tensor.__reduce_ex__` returns, for the many tensors that have nothing special; PyTorch does the others."""
    if not _is_plain(tensor):
        return tensor.__reduce_ex__(serialization.DEFAULT_PROTOCOL)
    return torch._utils._rebuild_tensor_v2, (
        TypedBytes(tensor.untyped_storage(), tensor.dtype),
        tensor.storage_offset(),
        tuple(tensor.size()),
        tensor.stride(),
        tensor.requires_grad,
        OrderedDict(),
    )


def _is_plain(tensor: torch.Tensor) -> bool:
    return not (
        tensor.dtype not in _STORAGE_CLASSES
        or tensor.layout is not torch.strided
        or tensor.device.type != "cpu"
        or tensor.is_quantized
        or tensor.is_nested
        or tensor.is_conj()
        or tensor.is_neg()
        or tensor._backward_hooks
        or tensor.__dict__
        or has_torch_function_unary(tensor)
    )


class SavedTorchStorages:
    """The storages that a pickler meets, in the order of first meeting: PyTorch's rules, on PyTorch's objects."""

    def __init__(self) -> None:
        self._classes = frozenset(torch._storage_classes)  # `torch.is_storage` asks it too
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.storages: list[torch.UntypedStorage] = []
        self._keys: dict[int, str] = {}
        self._dtypes: dict[int, torch.dtype] = {}

    def persistent_id(self, obj: Any) -> tuple[str, type, str, str, int] | None:
        """What stands in the pickle for a storage; None for any other object.

        Raises RuntimeError for memory that is saved as two dtypes, as PyTorch does.
        """
        # This is called for every single object that is saved.
        kind = type(obj)
        if kind is TypedBytes:
            dtype, storage = obj.dtype, obj.storage
            return self._name(storage, dtype, _STORAGE_CLASSES[dtype], storage.nbytes() // dtype.itemsize)
        if kind is torch.TypedStorage:
            storage_class = getattr(torch, obj._pickle_storage_type())
            return self._name(obj._untyped_storage, obj.dtype, storage_class, obj._size(), obj)
        if kind in self._classes:
            return self._name(obj, torch.uint8, normalize_storage_type(kind), obj.nbytes(), obj)
        return None

    def plain_tensors(self) -> PlainTensors:
        """The tensors that `reduce_tensor` takes apart itself, for the encoder of plain trees."""
        return PlainTensors(torch.Tensor, torch._utils._rebuild_tensor_v2, self._strided)

    def _strided(self, tensor: torch.Tensor) -> Strided | None:
        if not _is_plain(tensor):
            return None
        dtype, storage = tensor.dtype, tensor.untyped_storage()
        persistent_id = self._name(storage, dtype, _STORAGE_CLASSES[dtype], storage.nbytes() // dtype.itemsize)
        return persistent_id, tensor.storage_offset(), tuple(tensor.size()), tensor.stride(), tensor.requires_grad

    def _name(
        self, storage: torch.UntypedStorage, dtype: torch.dtype, storage_class: Any, numel: int, saved: Any = None
    ) -> tuple[str, Any, str, str, int]:
        """`saved`: the object that stands for the storage in the tree, if any."""
        self._check_dtype(storage, dtype)
        key = self._keys.get(storage._cdata)
        if key is None:
            key = self._keys[storage._cdata] = str(len(self._keys))
            self.storages.append(storage)
        fake = getattr(saved, "_fake_device", None)
        location = str(fake) if fake is not None else location_tag(storage)
        return ("storage", storage_class, key, location, numel)

    def _check_dtype(self, storage: torch.UntypedStorage, dtype: torch.dtype) -> None:
        if storage.device.type == "meta":
            return
        address = storage.data_ptr()
        if address and self._dtypes.setdefault(address, dtype) is not dtype:
            message = "Cannot save multiple tensors or storages that view the same data as different types"
            raise RuntimeError(message)

    def payload(self, storage: torch.UntypedStorage) -> Buffer:
        """The bytes of a storage, from whatever device; of one on the CPU without a copy, unless it is small."""
        size = storage.nbytes()
        if not size:
            return b""
        if storage.device.type != "cpu":
            storage = storage.cpu()
        elif size >= _COPIED:
            return _memory(storage)
        return ctypes.string_at(storage.data_ptr(), size)

    def write(self, storage: torch.UntypedStorage, writer: ZipWriter) -> None:
        writer.write(self.payload(storage))


def _memory(storage: torch.UntypedStorage) -> memoryview:
    """The bytes of a CPU storage, in place; valid as long as the storage lives."""
    return memoryview((ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())).cast("B")

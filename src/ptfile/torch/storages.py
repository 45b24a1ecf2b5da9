"""Real torch storages: how they are named in a pickle, and their bytes in a file."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import serialization
from torch.overrides import has_torch_function_unary
from torch.serialization import location_tag, normalize_storage_type

from ptfile._types import Buffer
from ptfile.formats.zip_records import StoredBytes
from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Bytes

_ALIGNMENT = 64
"""Of PyTorch's own memory, in bytes."""
_COPIED = 64 << 10
"""Storages of fewer bytes are copied: that costs less than a view of them."""

Stored: TypeAlias = Callable[[str, int, "DType | None"], StoredBytes]
"""From a key, a number of bytes and the dtype of the elements (None: untyped) to the bytes."""
Restore: TypeAlias = Callable[[torch.UntypedStorage, str], torch.UntypedStorage]


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
    dtype = tensor.dtype
    if (
        dtype not in _STORAGE_CLASSES
        or tensor.layout is not torch.strided
        or tensor.device.type != "cpu"
        or tensor.is_quantized
        or tensor.is_nested
        or tensor.is_conj()
        or tensor.is_neg()
        or tensor._backward_hooks
        or tensor.__dict__
        or has_torch_function_unary(tensor)
    ):
        return tensor.__reduce_ex__(serialization.DEFAULT_PROTOCOL)
    return torch._utils._rebuild_tensor_v2, (
        TypedBytes(tensor.untyped_storage(), dtype),
        tensor.storage_offset(),
        tuple(tensor.size()),
        tensor.stride(),
        tensor.requires_grad,
        OrderedDict(),
    )


class SavedTorchStorages:
    """The storages that a pickler meets, in the order of first meeting: PyTorch's rules, on PyTorch's objects."""

    def __init__(self) -> None:
        self.storages: list[torch.UntypedStorage] = []
        self._keys: dict[int, str] = {}
        self._dtypes: dict[int, torch.dtype] = {}
        self._classes = frozenset(torch._storage_classes)  # `torch.is_storage` asks it too

    def persistent_id(self, obj: Any) -> tuple[str, type, str, str, int] | None:
        """What stands in the pickle for a storage; None for any other object.

        Raises RuntimeError for memory that is saved as two dtypes, as PyTorch does.
        """
        # This is called for every single object that is saved.
        kind = type(obj)
        if kind is TypedBytes:
            dtype, storage = obj.dtype, obj.storage
            storage_class = _STORAGE_CLASSES[dtype]
            numel = storage.nbytes() // dtype.itemsize
        elif kind is torch.TypedStorage:
            dtype, storage = obj.dtype, obj._untyped_storage
            storage_class = getattr(torch, obj._pickle_storage_type())
            numel = obj._size()
        elif kind in self._classes:
            dtype, storage = torch.uint8, obj
            storage_class = normalize_storage_type(kind)
            numel = storage.nbytes()
        else:
            return None
        self._check_dtype(storage, dtype)
        key = self._keys.get(storage._cdata)
        if key is None:
            key = self._keys[storage._cdata] = str(len(self._keys))
            self.storages.append(storage)
        fake = getattr(obj, "_fake_device", None)
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


class LoadedTorchStorages:
    """The storages that a pickle asks for, each made once, read, and put where it belongs.

    A storage is read when it is first asked for: what rebuilds tensors, and a `map_location` function, may look at its
    bytes.
    """

    def __init__(self, stored: Stored, restore: Restore, *, mapped: bool) -> None:
        """`stored` finds the bytes of a storage; `restore` moves a storage to the device of a location tag.

        mapped: the bytes are in memory already, and stay where they are.
        """
        self._stored = stored
        self._restore = restore
        self._mapped = mapped
        self._by_key: dict[str, torch.TypedStorage] = {}
        self.last: StoredBytes | None = None
        """What was read last."""

    def load(self, persistent_id: Any) -> torch.TypedStorage:
        """What a persistent id stands for."""
        if not isinstance(persistent_id, tuple):
            message = f"saved_id must be a tuple, got {type(persistent_id).__name__}"
            raise AssertionError(message)  # noqa: TRY004  (PyTorch's)
        typename, storage_class, key, location, numel = (_text(part) for part in persistent_id)
        if typename != "storage":
            message = f"Unknown typename for persistent_load, expected 'storage' but got '{typename}'"
            raise AssertionError(message)
        found = self._by_key.get(key)
        if found is not None:
            return found
        untyped = storage_class is torch.UntypedStorage
        dtype = torch.uint8 if untyped else storage_class.dtype
        storage = self._restore(self._read(key, numel * dtype.itemsize, None if untyped else dtype), location)
        typed = torch.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)
        if typed._data_ptr() != 0:
            self._by_key[key] = typed
        return typed

    def _read(self, key: str, nbytes: int, dtype: torch.dtype | None) -> torch.UntypedStorage:
        stored = self._stored(key, nbytes, None if dtype is None else dtypes.BY_NAME[str(dtype).removeprefix("torch.")])
        self.last = stored
        if self._mapped and nbytes:
            return torch.from_numpy(stored.read()).untyped_storage()
        if not nbytes:
            return torch.UntypedStorage(0, device="cpu")
        data = _aligned(nbytes)
        stored.read_into(data)
        return torch.from_numpy(data).untyped_storage()


def _text(part: Any) -> Any:
    return part.decode("ascii") if isinstance(part, bytes) else part  # Python 2


def _aligned(nbytes: int) -> Bytes:
    """Fresh memory, aligned as PyTorch's own is. It is numpy's, which asks for huge pages where they save time."""
    room = np.empty(nbytes + _ALIGNMENT - 1, np.uint8)
    start = -room.__array_interface__["data"][0] % _ALIGNMENT
    return room[start : start + nbytes]


def _memory(storage: torch.UntypedStorage) -> memoryview:
    """The bytes of a CPU storage, in place; valid as long as the storage lives."""
    return memoryview((ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())).cast("B")

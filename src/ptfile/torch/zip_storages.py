"""Real torch storages of a zip file: read when the pickle asks for them, and put where they belong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from ptfile.containers.zip_structs import LOCAL
from ptfile.formats.stored_bytes import StoredBytes
from ptfile.machine.fast import BuildTensor
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Bytes
from ptfile.torch.placement import Contents, Restore, dtype_of, ptfile_dtype, text, typed
from ptfile.torch.proved_tensors import tensors_of

_ALIGNMENT = 64
"""Of PyTorch's own memory, in bytes."""

Stored: TypeAlias = Callable[[str, int, "DType | None"], StoredBytes]
"""From a key, a number of bytes and the dtype of the elements (None: untyped) to the bytes."""


class LoadedTorchStorages:
    """The storages that a pickle asks for, each made once, read, and put where it belongs.

    A storage is read when it is first asked for: what rebuilds tensors, and a `map_location` function, may look at its
    bytes.
    """

    def __init__(self, stored: Stored, restore: Restore, contents: Contents, *, mapped: bool) -> None:
        """`stored` finds the bytes of a storage; `restore` moves a storage to the device of a location tag.

        mapped: the bytes are in memory already, and stay where they are.
        """
        self._stored = stored
        self._restore = restore
        self._contents = contents
        self._mapped = mapped
        self._by_key: dict[str, torch.TypedStorage] = {}
        self._last: StoredBytes | None = None
        self._first_header: int | None = None

    @property
    def end(self) -> int | None:
        """Behind what was read last, from the start of the file; None: nothing was."""
        return self._first_header if self._last is None else self._last.end

    def load(self, persistent_id: Any) -> torch.TypedStorage:
        """What a persistent id stands for."""
        if not isinstance(persistent_id, tuple):
            message = f"saved_id must be a tuple, got {type(persistent_id).__name__}"
            raise AssertionError(message)  # noqa: TRY004  (PyTorch's)
        if bytes in map(type, persistent_id):
            persistent_id = tuple(map(text, persistent_id))
        typename, storage_class, key, location, numel = persistent_id
        if typename != "storage":
            message = f"Unknown typename for persistent_load, expected 'storage' but got '{typename}'"
            raise AssertionError(message)
        found = self._by_key.get(key)
        if found is not None:
            return found
        dtype = dtype_of(storage_class)
        untyped = storage_class is torch.UntypedStorage
        storage = self._make(key, numel * dtype.itemsize, None if untyped else ptfile_dtype(dtype), location)
        made = typed(storage, dtype)
        if made._data_ptr() != 0:
            self._by_key[key] = made
        return made

    def proved_tensor(self) -> BuildTensor | None:
        """What makes the tensors of a pickle that was proved harmless in less time, if it may."""
        return tensors_of(self._make) if self._contents is Contents.READ else None

    def _make(self, key: str, nbytes: int, dtype: DType | None, location: str) -> torch.UntypedStorage:
        if self._contents is Contents.READ:
            return self._restore(self._read(key, nbytes, dtype), location)
        if self._contents is Contents.UNREAD:
            return self._restore(torch.UntypedStorage(nbytes), location)
        stored = self._stored(key, nbytes, dtype)
        if self._first_header is None:  # where PyTorch has read too: it computes the other places from the first
            self._first_header = stored.offset + LOCAL.size
        storage = torch.UntypedStorage(nbytes, device="meta")
        storage._checkpoint_offset = stored.start
        if self._contents is Contents.FAKE:
            storage._fake_device = location
        return storage

    def _read(self, key: str, nbytes: int, dtype: DType | None) -> torch.UntypedStorage:
        stored = self._stored(key, nbytes, dtype)
        self._last = stored
        if self._mapped and nbytes:
            return torch.from_numpy(stored.read()).untyped_storage()
        data = _aligned(nbytes)
        stored.read_into(data)
        return torch.from_numpy(data).untyped_storage() if nbytes else _without_bytes()


def _without_bytes() -> torch.UntypedStorage:
    """A storage that stays empty, as PyTorch's own: another would grow, by memory that holds anything, for a tensor
    that reaches beyond it.
    """
    storage: torch.UntypedStorage = torch._C._construct_storage_from_data_pointer(0, torch.device("cpu"), 0)
    return storage


def _aligned(nbytes: int) -> Bytes:
    """Fresh memory, aligned as PyTorch's own is. It is numpy's, which asks for huge pages where they save time."""
    room = np.empty(nbytes + _ALIGNMENT - 1, np.uint8)
    start = -room.__array_interface__["data"][0] % _ALIGNMENT
    return room[start : start + nbytes]

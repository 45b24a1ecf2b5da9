"""Real torch tensors of a pickle that was proved harmless, of which there may be very many: each is made by one call.

They are made as `torch._utils._rebuild_tensor_v2` makes them, but without a `TypedStorage` for each, and without asking
for each whether there is a fake tensor mode. There is none where this is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from ptfile.machine.fast import BuildTensor
from ptfile.tensors.dtypes import DType
from ptfile.torch.placement import dtype_of, ptfile_dtype

MakeStorage: TypeAlias = Callable[[str, int, DType, str], torch.UntypedStorage]
"""From a key, a number of bytes, the dtype of the elements and a location to a storage with its bytes."""


def tensors_of(make: MakeStorage) -> BuildTensor:
    """What makes the tensors of one pickle."""
    by_key: dict[str, tuple[torch.UntypedStorage, torch.dtype]] = {}
    dtypes: dict[Any, tuple[torch.dtype, DType, int]] = {}
    """By the storage class that stands for it in persistent ids; with the bytes of an element."""
    empty = torch.empty

    def tensor(
        persistent_id: tuple[str, Any, str, str, int],
        offset: int,
        shape: tuple[int, ...],
        stride: tuple[int, ...],
        requires_grad: bool,
        hooks: Any,
    ) -> torch.Tensor:
        """What `_rebuild_tensor_v2` makes of the storage that a persistent id stands for."""
        tag, storage_class, key, location, numel = persistent_id
        if tag != "storage":
            message = f"the tag of a persistent id is {tag!r}"
            raise ValueError(message)
        known = by_key.get(key)
        if known is None:
            kind = dtypes.get(storage_class)
            if kind is None:
                dtype = dtype_of(storage_class)
                kind = dtypes[storage_class] = dtype, ptfile_dtype(dtype), dtype.itemsize
            dtype, called, itemsize = kind
            known = make(key, numel * itemsize, called, location), dtype
            if known[0].data_ptr() != 0:  # as PyTorch, which reads one without bytes again
                by_key[key] = known
        storage, dtype = known
        made = empty((0,), dtype=dtype, device=storage.device).set_(storage, offset, shape, stride)
        if requires_grad:
            made.requires_grad = requires_grad
        made._backward_hooks = hooks
        return made

    return tensor

"""Where the storages of one load go, and what of them: their bytes, memory without them, or nothing but a size."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import serialization

from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import DType

Restore: TypeAlias = Callable[[torch.UntypedStorage, str], torch.UntypedStorage]
"""Moves a storage to the device of a location tag."""


class Contents(Enum):
    """What storages get."""

    READ = "their bytes"
    UNREAD = "memory that holds anything: `skip_data`"
    META = 'no memory: map_location="meta"'
    FAKE = "no memory: a fake tensor mode, which is told the location"


def is_faking() -> bool:
    """Whether a fake tensor mode is active. PyTorch takes as long to say so as a small tensor takes to load."""
    if torch._C._len_torch_dispatch_stack() == 0 and torch._guards.TracingContext.try_get() is None:
        return False  # nothing stands in for PyTorch's own operators
    return torch._guards.detect_fake_mode(None) is not None


def contents_of_zip(map_location: Any) -> Contents:
    """As PyTorch decides it for the zip format."""
    if serialization._is_meta_location(map_location):
        return Contents.META
    if is_faking():
        return Contents.FAKE
    return Contents.UNREAD if serialization._serialization_tls.skip_data else Contents.READ


def contents_of_legacy(map_location: Any) -> Contents:
    """As PyTorch decides it for the legacy format."""
    if torch._guards.active_fake_mode() is not None:
        return Contents.FAKE
    if serialization._serialization_tls.skip_data:
        return Contents.UNREAD
    return Contents.META if serialization._is_meta_location(map_location) else Contents.READ


def dtype_of(storage_class: Any) -> torch.dtype:
    """Of the elements that a storage class in a persistent id stands for; bytes for an untyped one."""
    dtype: torch.dtype = torch.uint8 if storage_class is torch.UntypedStorage else storage_class.dtype
    return dtype


@functools.cache
def ptfile_dtype(dtype: torch.dtype) -> DType:
    """What ptfile calls a dtype of PyTorch."""
    return dtypes.BY_NAME[str(dtype).removeprefix("torch.")]


def torch_dtype(dtype: DType) -> torch.dtype:
    """What PyTorch calls a dtype of ptfile."""
    found: torch.dtype = getattr(torch, dtype.name)
    return found


def typed(storage: torch.UntypedStorage, dtype: torch.dtype) -> torch.TypedStorage:
    """A storage as the tensors' builders of PyTorch take it."""
    return torch.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


def text(part: Any) -> Any:
    """PyTorch's own words in a persistent id, which are bytes in files of Python 2 that are read as such."""
    return part.decode("ascii") if isinstance(part, bytes) else part


def array_of(storage: torch.UntypedStorage) -> npt.NDArray[np.uint8]:
    """The bytes of a CPU storage, in place; valid as long as the storage lives."""
    if not storage.nbytes():
        return np.empty(0, np.uint8)
    return np.frombuffer((ctypes.c_uint8 * storage.nbytes()).from_address(storage.data_ptr()), np.uint8)

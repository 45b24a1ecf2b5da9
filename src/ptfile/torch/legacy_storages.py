"""Real torch storages of a legacy file: made empty, put where they belong, and filled when the pickle is through.

That is PyTorch's own order. What is rebuilt from the bytes of a storage (the sizes of a nested tensor, the state of a
random generator) has them before; PyTorch rebuilds it from whatever the memory holds.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from typing import Any

import torch

from ptfile.errors import FormatError, LimitError, TensorError
from ptfile.formats.legacy_reader import LegacyFormatReader
from ptfile.sources.base import CutShortError
from ptfile.torch.placement import Contents, Restore, array_of, dtype_of, ptfile_dtype, text, typed
from ptfile.torch.source_code import check_source_code

_LOOK_AT_BYTES = (b"_rebuild_nested_tensor", b"torch._C\nGenerator\n", b"torch._C\x94\x8c\tGenerator")
"""What is rebuilt from bytes, as a pickle names it (the last in protocols 4 and 5)."""

_HUGE = 4 << 20
"""Bytes from which on huge pages pay, for numpy too."""
_MADVISE = ctypes.CDLL(None).madvise if hasattr(mmap, "MADV_HUGEPAGE") else None  # Linux


class LegacyTorchStorages:
    """What the persistent ids of one pickle stand for."""

    def __init__(self, reader: LegacyFormatReader, restore: Restore, contents: Contents) -> None:
        self._reader = reader
        self._restore = restore
        self._contents = contents
        self._early = contents is Contents.READ and reader.mentions(*_LOOK_AT_BYTES)
        self._by_key: dict[str, torch.TypedStorage] = {}
        self._sizes: dict[str, int] = {}
        self._views: dict[str, torch.TypedStorage] = {}

    def load(self, persistent_id: Any) -> Any:
        """What a persistent id stands for: a storage, or a class whose source code stands beside it."""
        if not isinstance(persistent_id, tuple):
            message = f"saved_id must be a tuple, got {type(persistent_id).__name__}"
            raise AssertionError(message)  # noqa: TRY004  (PyTorch's)
        typename = text(persistent_id[0])
        if typename == "module":
            kind, file, source = persistent_id[1:]
            if file and source:
                check_source_code(kind, file, source)
            return kind
        if typename != "storage":
            message = f"Unknown saved id type: {persistent_id[0]}"
            raise RuntimeError(message)
        storage_class, key, location, numel, view = persistent_id[1:]
        dtype = dtype_of(storage_class)
        root = self._root(text(key), dtype, text(location), numel)
        return root if view is None else self._view(root, dtype, *view)

    def fill(self) -> None:
        """Read the bytes of all storages, in the order of the file, and leave a file object behind the checkpoint.

        Raises RuntimeError if they are not all there.
        """
        keys = self._keys()
        for key in keys if self._contents is Contents.READ else ():
            self._read_into(key, self._by_key[key]._untyped_storage)
        self._reader.leave(behind_storages=self._contents in (Contents.READ, Contents.META))

    def _keys(self) -> Sequence[str]:
        try:
            return self._reader.keys()
        except CutShortError as error:
            if self._reader.end > self._reader.size:
                raise _cut_short(error.missing) from error
            raise  # it is the list of the keys that is cut

    def _root(self, key: str, dtype: torch.dtype, location: str, numel: int) -> torch.TypedStorage:
        found = self._by_key.get(key)
        if found is not None:
            empty = found._data_ptr() == 0 and not found._untyped_storage.nbytes()
            # One without bytes may be of several types.
            return typed(torch.UntypedStorage(0, device=found._untyped_storage.device), dtype) if empty else found
        nbytes = numel * dtype.itemsize
        if self._contents is Contents.READ and nbytes > self._reader.size:
            raise _cut_short(nbytes - self._reader.size)
        self._reader.ask(key, nbytes, ptfile_dtype(dtype))
        self._sizes[key] = nbytes
        made = self._by_key[key] = typed(self._make(key, nbytes, location), dtype)
        return made

    def _make(self, key: str, nbytes: int, location: str) -> torch.UntypedStorage:
        if self._contents in (Contents.META, Contents.FAKE):
            return torch.UntypedStorage(nbytes, device="meta")
        storage = torch.UntypedStorage(nbytes)
        _ask_for_huge_pages(storage)
        if self._contents is Contents.READ:
            storage._torch_load_uninitialized = True
        if self._early:
            self._read_into(key, storage)
        return self._restore(storage, location)

    def _view(self, root: torch.TypedStorage, dtype: torch.dtype, key: Any, offset: int, size: int) -> Any:
        """A storage that shares memory with a part of another, as PyTorch before 0.4 had them."""
        key = text(key)
        if key not in self._views:
            storage, start = root._untyped_storage, offset * dtype.itemsize
            stop = start + size * dtype.itemsize
            if not 0 <= start <= stop <= storage.nbytes():
                message = f"the view of a storage ends at byte {stop} of {storage.nbytes()}"
                raise RuntimeError(message)
            self._views[key] = typed(storage[start:stop], dtype)
        return self._views[key]

    def _read_into(self, key: str, storage: torch.UntypedStorage) -> None:
        nbytes = self._sizes[key]
        if storage.nbytes() != nbytes:
            message = f"storage has wrong byte size: expected {storage.nbytes()} got {nbytes}"
            raise RuntimeError(message)
        elsewhere = storage.device.type != "cpu"
        target = torch.UntypedStorage(nbytes) if elsewhere else storage
        try:
            self._reader.read_into(key, array_of(target))
        except CutShortError as error:
            raise _cut_short(error.missing) from error
        except (FormatError, LimitError, TensorError) as error:
            raise RuntimeError(str(error)) from error
        if elsewhere and storage.device.type != "meta":
            storage.copy_(target)


def _ask_for_huge_pages(storage: torch.UntypedStorage) -> None:
    """Make large memory cheap to fill for the first time, as numpy does with its own. It must be resizable here."""
    if storage.nbytes() < _HUGE or _MADVISE is None:
        return
    start = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = storage.data_ptr() + storage.nbytes()
    _MADVISE(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_HUGEPAGE)  # no matter what it answers


def _cut_short(missing: int) -> RuntimeError:
    return RuntimeError(f"unexpected EOF, expected {missing} more bytes. The file might be corrupted.")

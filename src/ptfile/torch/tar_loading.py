"""Loading files of the tar format, of PyTorch 0.1, into real torch objects."""

from __future__ import annotations

from typing import Any

import torch
from torch import serialization

from ptfile.errors import FormatError, LimitError, TensorError
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.tar_format import TarFormatReader
from ptfile.limits import Limits
from ptfile.sources import FileObjectSource, Source
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.tensor import Tensor
from ptfile.torch.placement import Restore, array_of, torch_dtype, typed
from ptfile.torch.source_code import check_source_code


def load_tar(source: Source, runner: PickleRunner, map_location: Any, limits: Limits) -> Any:
    """The object in a checkpoint of the tar format. Raises RuntimeError for a file that is damaged, or none."""
    objects = _TorchObjects(serialization._get_restore_location(map_location))
    try:
        reader = objects.reader = TarFormatReader(source, limits)
        value = reader.run(runner, objects.place, objects.load)
    except (FormatError, LimitError, TensorError) as error:
        raise RuntimeError(str(error)) from error
    if isinstance(source, FileObjectSource):
        source.leave_at(reader.end)
    return value


class _TorchObjects:
    """PyTorch's tensors and storages for those that ptfile has read, each once."""

    reader: TarFormatReader

    def __init__(self, restore: Restore) -> None:
        self._restore = restore
        self._storages: dict[int, torch.UntypedStorage] = {}  # by the identity of ptfile's, which the reader keeps
        self._made: dict[int, Any] = {}

    def place(self, storage: Storage, location: str) -> Storage:
        """Read a storage, and put it where it belongs: what is called for each of them, in the order of the file."""
        made = torch.UntypedStorage(storage.nbytes())
        array_of(made)[:] = storage.data
        self._storages[id(storage)] = self._restore(made, location)
        return storage

    def load(self, persistent_id: Any) -> Any:
        """What a persistent id stands for: a tensor, a storage, or a class whose source code stands beside it."""
        if isinstance(persistent_id, tuple):
            kind, file, source = persistent_id
            if file and source:
                check_source_code(kind, file, source)
            return kind
        found = self.reader.find(persistent_id)
        if id(found) not in self._made:
            self._made[id(found)] = self._storage(found) if isinstance(found, TypedStorage) else self._tensor(found)
        return self._made[id(found)]

    def _storage(self, storage: TypedStorage) -> torch.TypedStorage:
        return typed(self._untyped(storage.storage), torch_dtype(storage.dtype))

    def _tensor(self, tensor: Tensor) -> torch.Tensor:
        storage = self._untyped(tensor.untyped_storage())
        empty = torch.empty((0,), dtype=torch_dtype(tensor.dtype), device=storage.device)
        return empty.set_(storage, tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))

    def _untyped(self, storage: Storage) -> torch.UntypedStorage:
        if id(storage) not in self._storages:
            root, start = self.reader.root_of(storage)
            whole = self._storages[id(root)] if id(root) in self._storages else torch.UntypedStorage(0)
            self._storages[id(storage)] = whole[start : start + storage.nbytes()]
        return self._storages[id(storage)]

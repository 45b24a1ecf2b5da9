"""Saving no more of the storages of real torch tensors than they reach: `formats.reachable`, on PyTorch's objects."""

from __future__ import annotations

from typing import Any

import torch

from ptfile.formats.reachable import MET, Reached
from ptfile.machine.encoder import Encoder, saved_types
from ptfile.tensors import strides
from ptfile.tensors.storage import Run
from ptfile.torch.storages import SavedTorchStorages, TypedBytes, reduce_tensor


class ReachableTorchStorages(SavedTorchStorages):
    """The parts of storages that a pickler meets, and the reducers that make it meet them instead of the storages.

    Parts are found for the tensors that `reduce_tensor` does itself; what else has a storage reaches all of it.
    """

    def __init__(self, value: object, *, pickle_module: Any, pickle_protocol: int) -> None:
        """Looks through `value` for tensors. What `pickle_module` raises for it passes through."""
        super().__init__()
        self._reached: dict[int, Reached] = {}
        looking = saved_types({torch.Tensor: self._look_at})
        Encoder(looking, self._look_for_storages, pickle_module=pickle_module, protocol=pickle_protocol).visit(value)
        for found in self._reached.values():
            found.cut()
        self.reducers = saved_types({torch.Tensor: self._reduce})

    def plain_tensors(self) -> None:
        """None: each has to be moved."""

    def _note(self, storage: Any, run: Run, unit: int) -> None:
        def part(start: int, stop: int) -> Any:
            return storage[start:stop]

        self._reached.setdefault(storage._cdata, Reached(storage, part)).note(run, unit)

    def _look_at(self, tensor: torch.Tensor) -> Any:
        reduced = reduce_tensor(tensor)
        if type(reduced[1][0]) is not TypedBytes:
            return reduced
        storage = reduced[1][0].storage
        self._note(storage, _run(reduced), tensor.dtype.itemsize)
        return tuple, ()

    def _look_for_storages(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is torch.TypedStorage:
            self._note(obj._untyped_storage, (0, obj.nbytes()), obj.dtype.itemsize)
            return MET
        if kind in self._classes:
            self._note(obj, (0, obj.nbytes()), 1)
            return MET
        return None

    def _reduce(self, tensor: torch.Tensor) -> Any:
        reduced = reduce_tensor(tensor)
        build, (typed, *arguments) = reduced[:2]
        found = self._reached.get(typed.storage._cdata) if type(typed) is TypedBytes else None
        if found is None:
            return reduced
        start, part = found.part(_run(reduced))
        offset = max(arguments[0] - start // tensor.dtype.itemsize, 0)
        return build, (TypedBytes(part, tensor.dtype), offset, *arguments[1:])


def _run(reduced: Any) -> Run:
    """The bytes from a tensor's first element to its last, given what it is reduced to."""
    typed, offset, sizes, steps = reduced[1][:4]
    first = offset * typed.dtype.itemsize
    return first, first + strides.extent(sizes, steps) * typed.dtype.itemsize

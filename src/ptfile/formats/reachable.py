"""Saving no more of the storages than the tensors reach.

What they reach is known when a pickler has met all of them, and by then it has written where each of them lies. So the
value is pickled twice: once to see which tensors there are, and then with each of them moved to a part of its storage.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from ptfile._types import Buffer
from ptfile.errors import UnsupportedError
from ptfile.formats.rebuild import TENSOR_CLASS
from ptfile.formats.reducers import REDUCERS
from ptfile.formats.storages import SavedStorages
from ptfile.machine.encoder import Encoder, Reducers
from ptfile.tensors.quantized import PerChannel, QuantizedTensor
from ptfile.tensors.reach import joined, reached
from ptfile.tensors.storage import Run, Storage, TypedStorage
from ptfile.tensors.tensor import Tensor

MET = ("storage",)
"""What stands for a storage in the pickle that nobody reads."""


class Reached:
    """A storage, what tensors reach of it, and the parts that will be saved instead of it."""

    def __init__(self, storage: Any, make_part: Callable[[int, int], Any]) -> None:
        """`make_part` gives a storage over the bytes from one to another, in the same memory."""
        self.storage = storage  # held, so that no other object gets its identity
        self._make_part = make_part
        self.runs: list[Run] = []
        self.unit = 1
        """Bytes of the largest element: the parts begin at multiples of it, which are offsets in elements too."""
        self.starts: list[int] = []
        self.parts: list[Any] = []

    def note(self, run: Run, unit: int) -> None:
        """A tensor, of elements of `unit` bytes, reaches these bytes."""
        self.runs.append(run)
        self.unit = max(self.unit, unit)

    def cut(self) -> None:
        """Make the parts. A storage of which all is reached is its own only part."""
        size = self.storage.nbytes()
        runs = [(start, min(stop, size)) for start, stop in joined(self.runs, self.unit)] or [(0, 0)]
        self.starts = [start for start, _ in runs]
        self.parts = [self.storage if run == (0, size) else self._make_part(*run) for run in runs]

    def part(self, run: Run) -> tuple[int, Any]:
        """Where in the storage the part begins that has this run, and the part.

        What is empty needs no byte, and goes with the part that is in front of it, if there is one.
        """
        number = max(bisect_right(self.starts, run[0]) - 1, 0)
        start, part = self.starts[number], self.parts[number]
        if run[0] < run[1] and not start <= run[0] <= run[1] <= start + part.nbytes():
            problem = f"a tensor reaches bytes {run[0]} to {run[1]} of its storage, and did not a moment ago"
            fix = "Do not change the object while it is saved; or save it with storages='whole'"
            raise UnsupportedError(problem, fix=fix)
        return start, part


class ReachableStorages(SavedStorages):
    """The parts of storages that a pickler meets, and the reducers that make it meet them instead of the storages."""

    def __init__(self, value: object, *, pickle_module: Any, pickle_protocol: int) -> None:
        """Looks through `value` for tensors. What `pickle_module` raises for it passes through."""
        super().__init__()
        self._reached: dict[int, Reached] = {}
        looking = {**REDUCERS, Tensor: self._look_at, QuantizedTensor: self._look_at}
        Encoder(looking, self._look_for_storages, pickle_module=pickle_module, protocol=pickle_protocol).visit(value)
        for found in self._reached.values():
            found.cut()
        self.reducers: Reducers = {
            **REDUCERS,
            Tensor: lambda tensor: REDUCERS[Tensor](self._moved(tensor)),
            QuantizedTensor: lambda tensor: REDUCERS[QuantizedTensor](self._moved(tensor)),
        }

    def payload(self, storage: Storage) -> Buffer:
        """The bytes of a storage, read now if they have not been; of parts, none is kept in memory."""
        return storage.data.data if id(storage) in self._reached else storage.peek(0, storage.nbytes()).data

    def _note(self, storage: Storage, run: Run, unit: int) -> None:
        self._reached.setdefault(id(storage), Reached(storage, storage.part)).note(run, unit)

    def _look_at(self, tensor: Any) -> tuple[Any, ...]:
        """Note what a tensor reaches, and let the pickler go on to all that hangs on it."""
        if tensor.device != "meta":
            self._note(tensor.untyped_storage(), reached(tensor), tensor.dtype.itemsize)
        inside = [tensor.python_side.state] if tensor.python_side else []
        if isinstance(tensor, QuantizedTensor) and isinstance(tensor.quantizer, PerChannel):
            inside += [tensor.quantizer.scales, tensor.quantizer.zero_points]
        return TENSOR_CLASS, (*inside,)

    def _look_for_storages(self, obj: object) -> Any:
        """Storages that are in the tree themselves are reached as a whole."""
        kind = type(obj)
        if kind is TypedStorage:
            assert isinstance(obj, TypedStorage)
            self._note(obj.storage, (0, obj.nbytes()), obj.dtype.itemsize)
            return MET
        if kind is Storage:
            assert isinstance(obj, Storage)
            self._note(obj, (0, obj.nbytes()), 1)
            return MET
        return self.persistent_id(obj)

    def _moved(self, tensor: Any) -> Any:
        """The tensor over the part of its storage that is saved."""
        storage = tensor.untyped_storage()
        found = self._reached.get(id(storage))
        if found is None or tensor.device == "meta":  # made anew each time that it is pickled: then all of it is saved
            return tensor
        start, part = found.part(reached(tensor))
        if part is storage:
            return tensor
        offset = max(tensor.storage_offset() - start // tensor.dtype.itemsize, 0)
        place = (part, tensor.dtype, offset, tensor.shape, tensor.stride())
        moved: Tensor | QuantizedTensor
        if isinstance(tensor, QuantizedTensor):
            moved = QuantizedTensor(*place, tensor.quantizer, tensor.requires_grad)
        else:
            moved = Tensor(*place, tensor.requires_grad, tensor.is_conj(), tensor.is_neg())
        moved.python_side = tensor.python_side
        return moved

"""Tensors of another floating point type, whose elements are converted when they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ptfile._tree import Leaf, storage_of, walk
from ptfile.editing.places import Place
from ptfile.errors import UnsupportedError
from ptfile.limits import Limits
from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import DType
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.storage import Bytes, Storage
from ptfile.tensors.tensor import Tensor


def floating_dtype(name: str | DType) -> DType:
    """The dtype of a name. Raises ValueError for what is none that floating point tensors can be cast to."""
    dtype = dtypes.BY_NAME.get(name.removeprefix("torch.")) if isinstance(name, str) else name
    if dtype is None or not dtype.is_floating_point or dtype.numpy_name is None:
        message = f"{name!r} is no dtype that floating point tensors can be cast to"
        raise ValueError(message)
    return dtype


def as_dtype(tensor: Tensor, dtype: DType) -> Tensor:
    """A floating point tensor of another dtype, alone."""
    return _moved(tensor, _converted(tensor.untyped_storage(), tensor.dtype, dtype), dtype)


def cast(root: Any, found: Sequence[Place], wanted: dict[int, DType], limits: Limits) -> dict[int, Any]:
    """What takes the place of the tensors that are cast, by their `id`. Tensors that share a storage still do.

    wanted: dtypes by the numbers of places. Those of other things than floating point tensors count for nothing.

    Raises UnsupportedError for floating point tensors that are not strided ones, and for a storage of which not all
    tensors would be of the same dtype.
    """
    chosen: dict[int, DType] = {}
    for number, dtype in wanted.items():
        value = found[number].value
        if isinstance(value, Attributed) and value.dtype.is_floating_point and value.dtype is not dtype:
            if type(value) not in (Tensor, Parameter) or (value.python_side and value.python_side.kind is not None):
                problem = f"{found[number].name!r} is a {type(value).__name__} or of a subclass, which cannot be cast"
                raise UnsupportedError(problem, fix="Cast the others by their names")
            chosen[id(value)] = dtype
    if not chosen:
        return {}
    storages = _storages(root, chosen, limits)
    return {
        id(place.value): _moved(place.value, storages[id(place.value.untyped_storage())], chosen[id(place.value)])
        for place in {id(place.value): place for place in found}.values()
        if id(place.value) in chosen
    }


def _storages(root: Any, chosen: dict[int, DType], limits: Limits) -> dict[int, Storage]:
    """New storages by the `id` of the old ones."""
    looking: dict[int, list[Leaf]] = {}
    for leaf in walk(root, limits):
        storage = storage_of(leaf.value)
        if storage is not None:
            looking.setdefault(id(storage), []).append(leaf)
    made: dict[int, Storage] = {}
    for identity, leaves in looking.items():
        new = {chosen.get(id(leaf.value)) for leaf in leaves}
        if new == {None}:
            continue
        old = {getattr(leaf.value, "dtype", None) for leaf in leaves}
        dtype = new.pop()
        if new or dtype is None or len(old) > 1:
            names = ", ".join(sorted({leaf.name or "(root)" for leaf in leaves})[:5])
            problem = f"these look at one storage, and not all would be of one dtype: {names}"
            raise UnsupportedError(problem, fix="Cast all of them, or none")
        made[identity] = _converted(storage_of(leaves[0].value), old.pop(), dtype)
    return made


def _converted(storage: Any, old: Any, new: DType) -> Storage:
    elements = _Elements(storage, old, new)
    nbytes = storage.nbytes() // old.itemsize * new.itemsize
    if storage.device == "meta":
        return Storage.meta(nbytes)
    return Storage.deferred(
        nbytes, lambda: elements.range(0, nbytes), storage.device, fetch_range=elements.range, origin=elements
    )


@dataclass(frozen=True, slots=True)
class _Elements:
    """The elements of a storage as others."""

    storage: Storage
    old: DType
    new: DType
    crc: None = None

    @property
    def offset(self) -> int:
        return self.storage.origin.offset if self.storage.origin is not None else 0

    def range(self, start: int, stop: int) -> Bytes:
        size = self.new.itemsize
        first, last = start // size, -(-stop // size)
        data = self._cast(self.storage.peek(first * self.old.itemsize, last * self.old.itemsize))
        return data[start - first * size : stop - first * size]

    def pieces(self) -> Iterator[Bytes]:
        rest = np.zeros(0, np.uint8)
        for piece in self.storage.pieces():
            data = np.concatenate((rest, piece)) if rest.size else piece
            whole = data.size - data.size % self.old.itemsize
            rest = data[whole:]
            if whole:
                yield self._cast(data[:whole])

    def _cast(self, data: Bytes) -> Bytes:
        elements = np.ascontiguousarray(data).view(self.old.numpy)
        with np.errstate(all="ignore"):  # what is too large becomes infinite, as in PyTorch
            if self.new is not dtypes.float64 and (self.old.itemsize in (1, 8) or self.new in _INTO_RANGE):
                elements = _INTO_RANGE.get(self.new, _as_it_is)(elements.astype(np.float32))
            made: Bytes = elements.astype(self.new.numpy).view(np.uint8)
        return made


def _as_it_is(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return numbers


_INTO_RANGE: Mapping[DType, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    dtypes.float8_e4m3fn: lambda numbers: np.clip(numbers, -448, 448),
    dtypes.float8_e8m0fnu: lambda numbers: np.maximum(np.abs(numbers), 2.0**-127),
}
"""What PyTorch makes of float32 numbers first, through which it casts: dtypes without infinity, or zero and sign."""


def _moved(tensor: Any, storage: Storage, dtype: DType) -> Tensor:
    place = (tensor.storage_offset(), tensor.shape, tensor.stride())
    made = Tensor(storage, dtype, *place, tensor.requires_grad, tensor.is_conj(), tensor.is_neg())
    if type(tensor) is Parameter:
        made = Parameter(made, tensor.requires_grad)
    made.python_side = tensor.python_side
    return made

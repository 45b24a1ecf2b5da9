"""Which tensors of a tree are written to a file whose tensors own their bytes, and what the others are made of again.

In a `.pt` tensors look at storages, and may share them. In safetensors and .npz every tensor has bytes of its own, row
by row. So of each storage a few tensors are chosen that together have all the bytes that any tensor reaches; on the way
back they are put where they were, and all tensors look at the storage again.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeAlias

import numpy as np

from ptfile.conversion.composing import Composed, warranted
from ptfile.tensors import dtypes, strides
from ptfile.tensors.dtypes import DType
from ptfile.tensors.elements import element_bytes
from ptfile.tensors.reach import joined, reached
from ptfile.tensors.storage import Bytes, Run, Storage
from ptfile.tensors.tensor import Tensor

View: TypeAlias = "tuple[int, DType, int, tuple[int, ...], tuple[int, ...], bool, bool]"
"""What makes tensors the same to look at: the `id` of the storage, dtype, offset, shape, stride and flags."""


def view_of(tensor: Tensor) -> View:
    """Which view of which storage a tensor is."""
    place = (tensor.storage_offset(), tensor.shape, tensor.stride())
    return (id(tensor.untyped_storage()), tensor.dtype, *place, tensor.is_conj(), tensor.is_neg())


@dataclass(eq=False, slots=True)
class Entry:
    """A tensor of the file, whose elements are written row by row."""

    tensor: Tensor
    start: int
    """Where its first element is in its block, in bytes."""
    name: str = ""
    is_packed: bool = False
    """Whether it comes back row by row, in a storage of its own, however it lies in this one."""
    nbytes: int = field(init=False)
    run: Run | None = field(init=False)
    """The run of bytes of the storage that are just the elements as they are written; None if there is no such."""

    def __post_init__(self) -> None:
        self.nbytes = self.tensor.nbytes
        self.run = run_of(self.tensor)

    @property
    def whole(self) -> Storage | None:
        """The storage, if the elements are just its bytes."""
        storage = self.tensor.untyped_storage()
        return storage if self.run == (0, storage.nbytes()) else None

    def pieces(self) -> Iterator[Bytes]:
        """The elements, little-endian, none of which is kept; a checksum of the storage is verified."""
        tensor = self.tensor
        storage = tensor.untyped_storage()
        if self.whole is not None:
            return storage.pieces()
        origin = storage.origin
        if isinstance(origin, Composed):
            origin.check(*reached(tensor))
        elif not storage.is_loaded:
            for _ in storage.pieces():  # the parts that are read next have no checksum
                pass
        return element_bytes(tensor)

    def alone(self) -> Tensor:
        """The tensor as the file has it: row by row, in a storage of its own, which is read when it is needed."""
        tensor = self.tensor
        if tensor.is_contiguous() and not (tensor.is_conj() or tensor.is_neg()):
            storage = tensor.untyped_storage().part(*reached(tensor))
        else:
            storage = Storage.deferred(
                tensor.nbytes, lambda: np.concatenate([np.zeros(0, np.uint8), *element_bytes(tensor)])
            )
        return Tensor(storage, tensor.dtype, 0, tensor.shape, strides.contiguous(tensor.shape))


def run_of(tensor: Tensor) -> Run | None:
    """Where a tensor's elements are in its storage, if what is written for them are just those bytes."""
    if tensor.dtype is dtypes.bool or tensor.is_conj() or tensor.is_neg() or sys.byteorder != "little":
        return None
    first = tensor.storage_offset() * tensor.itemsize
    return (first, first + tensor.nbytes) if tensor.is_contiguous() else None


@dataclass(eq=False, slots=True)
class Block:
    """A run of bytes of a storage that tensors reach: what becomes of the storage in a file of ours."""

    nbytes: int
    device: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def is_plain(self) -> bool:
        """Whether it is just what the one tensor in it is."""
        whole = len(self.entries) == 1 and self.entries[0].nbytes == self.nbytes
        return whole and self.device == "cpu" and (bool(self.entries[0].run) or self.entries[0].tensor.is_contiguous())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor of the tree is found again."""

    block: Block
    entry: Entry
    """The one that it is, or any of those in its block."""
    offset: int
    """Elements between the start of the block and the first of the tensor."""
    is_entry: bool


def place(tensors: Iterable[Tensor]) -> list[Place]:
    """A place for each of the tensors, the same for those that are the same to look at."""
    views: dict[View, Tensor] = {}
    seen: list[View] = []
    for tensor in tensors:
        view = view_of(tensor)
        views.setdefault(view, tensor)
        seen.append(view)
    by_storage: dict[int, list[View]] = {}
    places: dict[View, Place] = {}
    for view, tensor in views.items():
        if tensor.numel() and not (tensor.is_conj() or tensor.is_neg()):
            by_storage.setdefault(view[0], []).append(view)
        else:  # it has no bytes, or its values are not those in the storage: then it gets a storage of its own
            places[view] = _alone(tensor)
    for together in by_storage.values():
        tensors_of_one = [views[view] for view in together]
        if len(together) == 1 and run_of(tensors_of_one[0]) is not None:  # as nearly always
            places[together[0]] = _alone(tensors_of_one[0])
        else:
            places.update(_placed(tensors_of_one))
    return [places[view] for view in seen]


def _alone(tensor: Tensor) -> Place:
    """The place of a tensor that is to be the only one that has these bytes."""
    entry = Entry(tensor, 0, is_packed=not tensor.is_contiguous() or tensor.is_conj() or tensor.is_neg())
    return Place(Block(entry.nbytes, tensor.device, [entry]), entry, 0, is_entry=True)


def _placed(tensors: list[Tensor]) -> Iterator[tuple[View, Place]]:
    """The places of the tensors of one storage."""
    storage = tensors[0].untyped_storage()
    runs = joined(map(reached, tensors), unit=max(tensor.itemsize for tensor in tensors))
    members: dict[int, list[Tensor]] = {}
    for tensor in tensors:
        members.setdefault(_number(runs, reached(tensor)), []).append(tensor)
    for number, together in members.items():
        start, stop = runs[number]
        block = Block(min(stop, storage.nbytes()) - start, storage.device)
        entries = {view_of(tensor): Entry(tensor, reached(tensor)[0] - start) for tensor in _chosen(together)}
        block.entries.extend(entries.values())
        if block.nbytes > warranted(sum(entry.nbytes for entry in block.entries)):
            yield from ((view_of(tensor), _alone(tensor)) for tensor in together)
            continue
        for tensor in together:
            view = view_of(tensor)
            offset = tensor.storage_offset() - start // tensor.itemsize
            yield view, Place(block, entries.get(view, block.entries[0]), offset, is_entry=view in entries)


def _number(runs: list[Run], run: Run) -> int:
    """The number of the last run that does not begin behind another one."""
    return bisect_right(runs, run[0], key=itemgetter(0)) - 1


def _chosen(tensors: list[Tensor]) -> list[Tensor]:
    """Some of the tensors that have all the bytes which any of them reaches, in the order in which they were given.

    Those whose elements are row by row come first, so that no byte is written twice if it need not be.
    """
    rank = {id(tensor): number for number, tensor in enumerate(tensors)}
    row_by_row = [tensor for tensor in tensors if tensor.is_contiguous()]
    row_by_row.sort(key=lambda tensor: (reached(tensor)[0], -tensor.nbytes, rank[id(tensor)]))
    chosen: list[Tensor] = []
    end = 0
    for tensor in row_by_row:
        start, stop = reached(tensor)
        if not chosen or start >= end:
            chosen.append(tensor)
            end = stop
    covered = joined(map(reached, chosen))
    taken = set(map(id, chosen))
    for tensor in tensors:
        if id(tensor) not in taken:
            start, stop = reached(tensor)
            number = _number(covered, (start, stop))
            if number < 0 or stop > covered[number][1]:
                chosen.append(tensor)
    return sorted(chosen, key=lambda tensor: rank[id(tensor)])

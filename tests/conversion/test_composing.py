"""Storages that are made of several tensors of a file: right, and without reading more than the asked bytes lie in."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ptfile
from ptfile.conversion.composing import Composed, Kept, Part, clusters_of
from ptfile.conversion.restoring import restore
from ptfile.tensors import strides
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor


class Counter:
    """Tensors of a file that counts the bytes that are read of it."""

    def __init__(self) -> None:
        self.read = 0

    def tensor(self, array: Any) -> Tensor:
        data = np.array(array, order="C")
        flat = data.reshape(-1).view(np.uint8)

        def fetch(start: int, stop: int) -> Any:
            self.read += stop - start
            return flat[start:stop]

        storage = Storage.deferred(flat.size, lambda: fetch(0, flat.size), fetch_range=fetch)
        dtype = ptfile.from_numpy(data).dtype
        return Tensor(storage, dtype, 0, data.shape, strides.contiguous(data.shape))


def flat_buffer(count: int, large: int) -> tuple[dict[str, Tensor], dict[str, Any], Counter]:
    """Small tensors in one storage, behind two large ones that lie column by column."""
    counter = Counter()
    named = {"t": counter.tensor(np.arange(large * 2, dtype=np.float32).reshape(2, large))}
    named["u"] = counter.tensor(-np.arange(large * 2, dtype=np.float32).reshape(2, large))
    parts: list[Any] = [["t", 0, [1, 2]], ["u", large * 8, [1, 2]]]
    for number in range(count):
        named[f"x{number}"] = counter.tensor(np.full(4, number, np.float32))
        parts.append([f"x{number}", large * 16 + number * 16])
    note = {
        "version": 1,
        "root": {name: ["tensor", name] for name in named},
        "storages": [[large * 16 + count * 16, "cpu", parts]],
    }
    return named, note, counter


def test_views_of_one_buffer_read_their_own_bytes() -> None:
    """Reading each by itself reads the file once, also in a buffer that has tensors which do not lie row by row."""
    named, note, counter = flat_buffer(200, 1000)
    made = restore(note, named, ptfile.Limits())
    for name in reversed(made):
        tensor = made[name]
        first = tensor.storage_offset() * 4
        seen = tensor.untyped_storage().peek(first, first + 4 * tensor.numel())
        if name.startswith("x"):
            assert np.all(seen.view(np.float32) == int(name[1:]))
    assert counter.read == 200 * 16 + 2 * 8000
    assert made["t"].tolist()[1][:3] == [1000.0, 1001.0, 1002.0]


def test_pieces_of_what_is_not_row_by_row_read_it_once() -> None:
    """A tensor that is larger than a piece is made once, and the rest is not made with it."""
    named, note, counter = flat_buffer(100_000, 400_000)
    storage = restore(note, named, ptfile.Limits())["t"].untyped_storage()
    pieces = list(storage.pieces())
    assert counter.read == storage.nbytes()
    assert max(piece.nbytes for piece in pieces) < 5 << 20
    assert np.array_equal(np.concatenate(pieces), storage.data)


def test_tensors_between_each_other_are_made_once_for_all_of_them() -> None:
    """The columns of a matrix: each reaches from its front to its end."""
    counter = Counter()
    columns = 50
    parts = [Part(counter.tensor(np.full(100, number, np.int16)), number * 2, (columns,)) for number in range(columns)]
    composed = Composed(100 * columns * 2, clusters_of(parts), Kept())
    for number in range(columns):
        seen = composed.range(number * 2, 99 * columns * 2 + number * 2 + 2)
        assert np.all(seen.view(np.int16)[::columns] == number)
    assert counter.read == 100 * columns * 2


def test_of_an_expanded_tensor_no_more_is_read_than_it_was_expanded_of() -> None:
    """It may be a few bytes in a storage and gigabytes in the file."""
    counter = Counter()
    rows = counter.tensor(np.broadcast_to(np.arange(10, dtype=np.float32), (20_000, 10)))
    columns = counter.tensor(np.broadcast_to(np.arange(10, dtype=np.float32)[:, None], (10, 20_000)))
    for tensor, stride in ((rows, (0, 1)), (columns, (1, 0))):
        counter.read = 0
        composed = Composed(40, clusters_of([Part(tensor, 0, stride)]), Kept())
        assert composed.range(0, 40).view(np.float32).tolist() == list(range(10))
        assert counter.read == 40
        assert not tensor.untyped_storage().is_loaded


def test_a_storage_that_is_written_to_does_not_change_what_others_read() -> None:
    """What is kept for the next read is nobody's own."""
    tensor = Counter().tensor(np.arange(6, dtype=np.uint8).reshape(2, 3))
    composed = Composed(6, clusters_of([Part(tensor, 0, (1, 2))]), Kept())
    composed.range(0, 6)[:] = 9
    assert composed.range(0, 6).tolist() == [0, 3, 1, 4, 2, 5]


@st.composite
def parts_of(draw: st.DrawFn) -> tuple[int, list[Part]]:
    made = []
    for number in range(draw(st.integers(1, 6))):
        dtype = draw(st.sampled_from([np.uint8, np.int16, np.float32]))
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
        stride = tuple(draw(st.integers(0, 6)) for _ in shape) if draw(st.booleans()) else strides.contiguous(shape)
        if strides.may_overlap(shape, stride):
            stride = strides.contiguous(shape)
        values = np.arange(np.prod(shape, dtype=int)).reshape(shape) + number * 40
        tensor = Counter().tensor(values.astype(dtype))
        made.append(Part(tensor, draw(st.integers(0, 30)) * tensor.itemsize, stride))
    return max([1, *(part.stop for part in made)]) + draw(st.integers(0, 9)), made


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_range_has_the_bytes_of_the_whole(data: st.DataObject) -> None:
    """Of parts that are laid one over the other, in whatever order ranges are asked for."""
    nbytes, parts = data.draw(parts_of())
    expected = np.zeros(nbytes, np.uint8)
    for part in parts:
        tensor = part.tensor
        if tensor.numel():
            place = Tensor(Storage(expected), tensor.dtype, part.start // tensor.itemsize, tensor.shape, part.stride)
            place.raw_array()[...] = tensor.raw_array()
    composed = Composed(nbytes, clusters_of(parts), Kept())
    for _ in range(4):
        start = data.draw(st.integers(0, nbytes))
        stop = data.draw(st.integers(start, nbytes))
        assert composed.range(start, stop).tolist() == expected[start:stop].tolist()
    assert np.concatenate(list(composed.pieces())).tolist() == expected.tolist()

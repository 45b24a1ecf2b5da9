"""Views of a storage that has not been read: they read what they need, and give what they would give in memory."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import ptfile
from ptfile.errors import TensorError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.blocks import NEAR
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor

ROWS, COLUMNS = 300, 40_000  # a row is 160 kB: further apart than what is joined
MATRIX = np.arange(ROWS * COLUMNS, dtype=np.int32).reshape(ROWS, COLUMNS)


class File:
    """Bytes that are read when they are asked for, and a list of what was."""

    def __init__(self, array: npt.NDArray[np.generic]) -> None:
        self._bytes = array.reshape(-1).view(np.uint8)
        self.reads: list[tuple[int, int]] = []
        self.storage = Storage.deferred(self._bytes.size, self._whole, fetch_range=self._part)

    def _whole(self) -> npt.NDArray[np.uint8]:
        return self._part(0, self._bytes.size)

    def _part(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        self.reads.append((start, stop))
        return np.array(self._bytes[start:stop])

    @property
    def nbytes(self) -> int:
        return sum(stop - start for start, stop in self.reads)


def tensor_of(file: File, shape: tuple[int, ...] = MATRIX.shape, dtype: ptfile.DType = dtypes.int32) -> Tensor:
    return Tensor(file.storage, dtype, 0, shape, strides.contiguous(shape))


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": lambda x: x[10:20],
    "one row": lambda x: x[-1],
    "one element": lambda x: x[7, 9],
    "columns": lambda x: x[:, 5:8],
    "every second row": lambda x: x[::2],
    "every third element of some rows": lambda x: x[3:9, ::3],
    "transposed rows": lambda x: x[10:20].T,
    "transposed columns": lambda x: x.T[5:8],
    "in another shape": lambda x: x[4:8].view(2, 2, 100, 400).permute(2, 0, 3, 1),
    "expanded": lambda x: x[3:5, None, :7].expand(2, 1000, 7),
    "expanded to very many": lambda x: x[3, :1].expand(1 << 40, 1)[:3],
    "sliding windows": lambda x: x[5].as_strided((100, 5), (1, 1), 5 * COLUMNS),
    "nothing": lambda x: x[5:5],
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_what_it_would_be_in_memory(name: str) -> None:
    """Values, shape and strides of tensors made from it; and the storage stays unread."""
    file = File(MATRIX)
    view, expected = VIEWS[name](tensor_of(file)), VIEWS[name](ptfile.from_numpy(MATRIX))

    assert np.array_equal(view.numpy(), expected.numpy())
    assert view.tolist() == expected.tolist()
    assert np.array_equal(view.clone().numpy(), expected.numpy())
    assert not file.storage.is_loaded


@pytest.mark.parametrize(
    ("name", "nbytes", "reads"),
    [
        ("rows", 10 * 160_000, 1),
        ("one row", 160_000, 1),
        ("one element", 4, 1),
        ("columns", ROWS * 12, ROWS),
        ("every second row", ROWS // 2 * 160_000, ROWS // 2),
        ("transposed rows", 10 * 160_000, 1),
        ("transposed columns", ROWS * 12, ROWS),
        ("expanded", 2 * 28, 2),
        ("expanded to very many", 4, 1),
        ("nothing", 0, 0),
    ],
)
def test_a_view_reads_its_bytes_and_no_others(name: str, nbytes: int, reads: int) -> None:
    """In as few reads as the gaps between them allow."""
    file = File(MATRIX)
    VIEWS[name](tensor_of(file)).numpy()

    assert (file.nbytes, len(file.reads)) == (nbytes, reads)


def test_all_of_a_storage_is_read_once_and_kept() -> None:
    """In whatever shape; parts of it are views of the memory from then on."""
    file = File(MATRIX)
    x = tensor_of(file)
    array = x.T.numpy()
    array[5, 3] = -1

    assert x[3, 5].item() == -1
    assert file.reads == [(0, MATRIX.nbytes)]


def test_a_part_is_read_each_time_and_cannot_be_written() -> None:
    """Two arrays of the same rows are two copies, so an array that could be written would be seen by nobody."""
    file = File(MATRIX)
    rows = tensor_of(file)[10:20]
    first, second = rows.numpy(), rows.numpy()

    assert not np.shares_memory(first, second)
    assert not first.flags.writeable
    assert len(file.reads) == 2
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_writing_to_a_part_reads_the_storage() -> None:
    """All views of it see what was written."""
    file = File(MATRIX)
    x = tensor_of(file)
    rows = x[10:20]
    rows += 1
    x[0, :2] = 7

    assert file.storage.is_loaded
    assert x[10, 0].item() == 10 * COLUMNS + 1
    assert x[0, :3].tolist() == [7, 7, 2]


def test_a_copy_of_a_part_is_a_tensor_of_its_own() -> None:
    """A clone has a storage of just its elements, which can be written."""
    copied = tensor_of(File(MATRIX))[10:20].clone()
    copied[0, 0] = 5

    assert copied.untyped_storage().nbytes() == 10 * 160_000
    assert copied[0, 0].item() == 5


def test_small_storages_are_read_whole() -> None:
    """A read of so few bytes takes as long as one of fewer, and the whole can be checked."""
    file = File(np.arange(NEAR, dtype=np.uint8))
    x = tensor_of(file, (NEAR,), dtypes.uint8)

    assert x[5:7].tolist() == [5, 6]
    assert file.reads == [(0, NEAR)]
    assert file.storage.is_loaded


def test_bools_pairs_and_flags_are_read_in_parts_too() -> None:
    """Bytes that are no bool are corrected; 2-byte complex numbers, conjugates and negatives are made of the part."""
    raw = File(np.full(1 << 18, 2, np.uint8))
    pairs = File(np.full(1 << 18, 1.5, np.float16))
    conjugated = Tensor(pairs.storage, dtypes.complex32, 0, (1 << 17,), (1,), False, True, True)

    assert tensor_of(raw, (1 << 18,), dtypes.bool)[5:7].tolist() == [True, True]
    assert conjugated[3:4].tolist() == [-1.5 + 1.5j]
    assert (raw.nbytes, pairs.nbytes) == (2, 4)


def test_pickling_a_part_brings_the_storage() -> None:
    """As it does of tensors in memory: tensors that share a storage still do afterwards."""
    x = tensor_of(File(MATRIX))
    rows, first = pickle.loads(pickle.dumps((x[10:20], x[10])))
    first[0] = -3

    assert rows[0, 0].item() == -3
    assert rows.untyped_storage().nbytes() == MATRIX.nbytes
    assert copy.deepcopy(x[10:12]).tolist() == MATRIX[10:12].tolist()


def test_bytes_without_a_way_to_a_part_are_read_whole() -> None:
    """Those of a deflated record, for one."""
    storage = Storage.deferred(MATRIX.nbytes, lambda: MATRIX.reshape(-1).view(np.uint8))
    x = Tensor(storage, dtypes.int32, 0, MATRIX.shape, (COLUMNS, 1))

    assert x[1, :2].tolist() == [COLUMNS, COLUMNS + 1]
    assert storage.is_loaded


def test_there_is_no_part_of_nothing() -> None:
    """A view on the meta device has no elements, however few they are."""
    with pytest.raises(TensorError, match="meta"):
        Tensor(Storage.meta(1 << 20), dtypes.uint8, 0, (2,), (1,)).numpy()


LARGE = np.arange(1 << 17, dtype=np.int32)
STEPS = st.one_of(st.integers(0, 70), st.sampled_from([256, 4096, 20_000, 33_333]))


@given(st.lists(st.tuples(st.integers(0, 9), STEPS), max_size=4), st.integers(0, 1000))
@example([(5, 6), (5, 20_000)], 0)  # a run with gaps is as many bytes as all elements together
def test_any_view_is_what_it_would_be_in_memory(dimensions: list[tuple[int, int]], offset: int) -> None:
    """With whatever strides: nested, interleaved, overlapping, zero."""
    shape, stride = [size for size, _ in dimensions], [step for _, step in dimensions]
    assume(offset + strides.extent(shape, stride) <= LARGE.size)
    file = File(LARGE)
    lazy = Tensor(file.storage, dtypes.int32, offset, shape, stride)
    expected = ptfile.from_numpy(LARGE).as_strided(shape, stride, offset)

    assert np.array_equal(lazy.numpy(), expected.numpy())
    assert np.array_equal(lazy.clone().numpy(), expected.numpy())
    assert not file.storage.is_loaded
    assert file.nbytes <= 2 * LARGE.nbytes

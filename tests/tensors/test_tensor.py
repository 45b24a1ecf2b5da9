"""Tensors: views, values, writing, copies."""

from __future__ import annotations

import copy
import pickle
import weakref
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, basic_indices

from ptfile.errors import LimitError, TensorError, UnsupportedError
from ptfile.tensors import dtypes
from ptfile.tensors.create import arange, from_numpy, tensor, zeros
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor

ALL = list(dtypes.BY_NAME.values())


def unread(shape: tuple[int, ...], dtype: DType = dtypes.float32) -> Tensor:
    """A tensor whose storage fails the test if it is read."""
    plain = zeros(shape, dtype=dtype)
    storage = Storage.deferred(plain.nbytes, lambda: pytest.fail("the storage was read"))
    return Tensor(storage, dtype, 0, shape, plain.stride())


def conjugated() -> Tensor:
    """1-2j and 3+4j, over a storage that holds 1+2j and 3-4j."""
    storage = tensor([1 + 2j, 3 - 4j]).untyped_storage()
    return Tensor(storage, dtypes.complex64, 0, (2,), (1,), conj=True)


def negated() -> Tensor:
    """-1.0 and 2.0, over a storage that holds 1.0 and -2.0."""
    return Tensor(tensor([1.0, -2.0]).untyped_storage(), dtypes.float32, 0, (2,), (1,), neg=True)


def test_tensor_tells_what_it_was_made_of() -> None:
    """By torch's names and call forms."""
    storage = Storage(bytes(100), "cuda:0")
    x = Tensor(storage, dtypes.float64, 2, (2, 3), (4, 1), requires_grad=True)
    assert (x.dtype, x.shape, x.size(), x.size(-1), x.ndim, x.dim()) == (dtypes.float64, (2, 3), (2, 3), 3, 2, 2)
    assert (x.stride(), x.stride(0), x.storage_offset()) == ((4, 1), 4, 2)
    assert (x.numel(), x.nelement(), x.itemsize, x.element_size(), x.nbytes) == (6, 6, 8, 8, 48)
    assert x.untyped_storage() is storage
    assert x.device is storage.device
    assert x.requires_grad
    assert not x.is_contiguous()
    assert x.data_ptr() == storage.data_ptr() + 16
    assert len(x) == 2
    assert type(x.shape) is tuple


def test_tensor_outside_its_storage_is_refused() -> None:
    """The constructor trusts no number."""
    with pytest.raises(TensorError, match="reaches 12 bytes into a storage of 8"):
        Tensor(Storage(bytes(8)), dtypes.float32, 1, (2,), (1,))


def test_only_floating_point_and_complex_tensors_require_gradients() -> None:
    """As in PyTorch; the flag may be set later too."""
    x = zeros(1)
    x.requires_grad = True
    assert x.requires_grad
    assert x[0].requires_grad
    assert not x.detach().requires_grad
    assert x.detach().untyped_storage() is x.untyped_storage()
    with pytest.raises(TensorError, match="require gradients"):
        tensor([1], requires_grad=True)


def test_only_complex_tensors_have_conjugates() -> None:
    """The flag would mean nothing elsewhere."""
    with pytest.raises(TensorError, match="no conjugate"):
        Tensor(Storage(bytes(4)), dtypes.float32, 0, (1,), (1,), conj=True)


def test_a_scalar_tensor_has_no_len_and_no_iterator() -> None:
    """TypeErrors, as for Python's own scalars."""
    with pytest.raises(TypeError, match="len"):
        len(tensor(1))
    with pytest.raises(TypeError, match="iterated"):
        iter(tensor(1))


def test_views_of_an_unread_storage_read_nothing() -> None:
    """Every view, and every question about one."""
    x = unread((2, 3, 4))
    made = [
        *(x[0], x[:, 1:, ::2], x[..., None], x[tensor(1)], *x),
        *(x.transpose(0, 2), x.permute(2, 0, 1), x.T, x[0].t(), x[:1].squeeze(0), x.unsqueeze(-1)),
        *(x.view(6, 4), x.view(dtypes.uint8), x.reshape(-1), x.flatten(1), x[:1].expand(5, -1, -1)),
        *(x.as_strided((2, 2), (1, 1), 3), x.detach(), x.contiguous(), x.resolve_conj(), x.resolve_neg()),
    ]
    for view in made:
        assert view.untyped_storage() is x.untyped_storage()
        assert "not read" in repr(view)
    assert not x.untyped_storage().is_loaded


@given(array_shapes(min_dims=0, max_dims=3, max_side=4).flatmap(lambda s: st.tuples(st.just(s), basic_indices(s))))
def test_basic_indexing_gives_numpys_elements_in_the_same_memory(case: tuple[tuple[int, ...], Any]) -> None:
    """For ints, slices and Ellipsis."""
    shape, index = case
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    items = index if isinstance(index, tuple) else (index,)
    if any(isinstance(item, slice) and item.step is not None and item.step < 1 for item in items):
        return
    view = from_numpy(array)[index]
    assert view.tolist() == array[index].tolist()
    assert view.numel() == 0 or np.shares_memory(view.numpy(), array)


@pytest.mark.parametrize(
    "index",
    [
        [0, 2],
        ([0, 1], [1, 2]),
        np.array([2, 0]),
        (slice(None), [0, 0]),
        np.array([True, False, True]),
        (np.arange(12).reshape(3, 4) % 3 == 0),
        True,
        (..., [1]),
    ],
)
def test_advanced_indexing_is_a_copy_with_numpys_elements(index: Any) -> None:
    """Lists, arrays and masks."""
    array = np.arange(12).reshape(3, 4)
    x = from_numpy(array)
    chosen = x[index]
    assert chosen.tolist() == array[index].tolist()
    assert chosen.untyped_storage() is not x.untyped_storage()


def test_tensors_are_indexes() -> None:
    """A mask, indexes, and one index, which makes a view."""
    x = arange(5)
    assert x[x > 2].tolist() == [3, 4]
    assert x[tensor([4, 0])].tolist() == [4, 0]
    assert x[tensor(2)].untyped_storage() is x.untyped_storage()
    assert [10, 20, 30][tensor(1)] == 20


def test_advanced_indexing_works_for_dtypes_numpy_lacks() -> None:
    """Choosing elements needs no meaning of them."""
    x = Tensor(Storage(bytes(range(8)), "cuda:0"), dtypes.bits16, 0, (4,), (1,))[[3, 1]]
    assert (x.dtype, x.device, x.untyped_storage().tolist()) == (dtypes.bits16, "cuda:0", [6, 7, 2, 3])


@pytest.mark.parametrize("index", [3, [7], (0, 0), 1.5, "a"])
def test_a_wrong_index_is_an_index_error(index: Any) -> None:
    """Out of range, too many, or no index at all."""
    with pytest.raises(IndexError):
        arange(3)[index]


@pytest.mark.parametrize("dtype", [d for d in ALL if d.numpy_name is not None and d is not dtypes.bool], ids=str)
def test_numpy_array_shares_memory_and_strides(dtype: DType) -> None:
    """For every dtype that numpy has."""
    storage = Storage(bytearray(range(7 * dtype.itemsize)))
    x = Tensor(storage, dtype, 1, (2, 2), (1, 3))
    array = x.numpy()
    assert array.dtype == dtype.numpy
    assert (array.shape, array.strides) == ((2, 2), (dtype.itemsize, 3 * dtype.itemsize))
    assert array.ctypes.data == x.data_ptr()
    assert array.flags.writeable
    expected = np.frombuffer(storage.tobytes(), dtype.numpy)[[1, 4, 2, 5]]
    assert array.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [d for d in ALL if d.numpy_name is None], ids=str)
def test_bytes_of_every_dtype_can_be_seen_and_copied(dtype: DType) -> None:
    """Where numpy has no type there are still bytes."""
    x = Tensor(Storage(bytes(range(1, 3 * dtype.itemsize + 1))), dtype, 1, (2,), (1,))
    with pytest.raises(UnsupportedError, match="view"):
        x.numpy()
    assert x.view(dtypes.uint8).tolist() == list(range(dtype.itemsize + 1, 3 * dtype.itemsize + 1))
    assert x.clone().untyped_storage().tobytes() == x.view(dtypes.uint8).numpy().tobytes()


def test_read_only_bytes_make_read_only_arrays() -> None:
    """And errors of ours for writing through the tensor."""
    x = Tensor(Storage(bytes(8)), dtypes.int32, 0, (2,), (1,))
    assert not x.numpy().flags.writeable
    for write in (lambda: x.fill_(1), x.zero_, lambda: x.__setitem__(0, 1), lambda: x.__iadd__(1)):
        with pytest.raises(TensorError, match="read-only"):
            write()


def test_requires_grad_does_not_block_numpy() -> None:
    """There are no gradients to lose here."""
    assert tensor([1.0], requires_grad=True).numpy().tolist() == [1.0]


@pytest.mark.parametrize("x", [conjugated(), negated()])
def test_flags_are_never_ignored(x: Tensor) -> None:
    """An array or bytes that lack them are refused, not handed out."""
    for ask in (x.numpy, x.__array__, lambda: x.view(dtypes.uint8), lambda: x.fill_(0)):
        with pytest.raises(TensorError, match="resolve_conj"):
            ask()


def test_flags_are_resolved_in_values_and_copies() -> None:
    """Lists, items, clones and what is computed have the values meant."""
    x, y = conjugated(), negated()
    assert x.tolist() == [1 - 2j, 3 + 4j]
    assert x[0].item() == 1 - 2j
    assert x[[1]].tolist() == [3 + 4j]
    assert y.tolist() == [-1.0, 2.0]
    assert (y + 1).tolist() == [0.0, 3.0]
    for z in (x.clone(), x.resolve_conj()):
        assert (z.is_conj(), z.numpy().tolist()) == (False, [1 - 2j, 3 + 4j])
    for z in (y.clone(), y.resolve_neg()):
        assert (z.is_neg(), z.numpy().tolist()) == (False, [-1.0, 2.0])


def test_bytes_that_are_no_bools_never_reach_numpy() -> None:
    """The array is a corrected read-only copy; the storage is left as it is; writing still works."""
    x = Tensor(Storage(bytearray([9, 0, 1, 2, 255])), dtypes.bool, 1, (2, 2), (2, 1))
    array = x.numpy()
    assert array.view(np.uint8).tolist() == [[0, 1], [1, 1]]
    assert not array.flags.writeable
    assert x.tolist() == [[False, True], [True, True]]
    x[1, 1] = False
    assert x.untyped_storage().tolist() == [9, 0, 1, 2, 0]


def test_bools_that_are_bools_share_memory() -> None:
    """Bytes outside the view do not matter."""
    x = Tensor(Storage(bytearray([9, 0, 1])), dtypes.bool, 1, (2,), (1,))
    x.numpy()[0] = True
    assert x.untyped_storage().tolist() == [9, 1, 1]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(dtypes.float16, 0.5), (dtypes.bfloat16, 0.5), (dtypes.float8_e5m2, 0.5), (dtypes.uint64, 1), (dtypes.bool, True)],
)
def test_values_are_pythons_own_numbers(dtype: DType, expected: object) -> None:
    """Also where numpy's scalars would come out."""
    x = tensor([expected], dtype=dtype)
    for value in (x.tolist()[0], x.item()):
        assert value == expected
        assert type(value) is type(expected)


def test_complex_pairs_of_2_byte_floats_have_values() -> None:
    """Exactly, though numpy has no such type."""
    halves = np.array([1.5, -2, 0.25, 3], np.float16)
    x = Tensor(Storage(halves), dtypes.complex32, 0, (2,), (1,), conj=True)
    assert x.tolist() == [1.5 + 2j, 0.25 - 3j]
    brains = tensor([1.5, -2.0], dtype=dtypes.bfloat16).untyped_storage()
    assert Tensor(brains, dtypes.bcomplex32, 0, (), ()).item() == 1.5 - 2j


def test_item_takes_exactly_one_element() -> None:
    """However many dimensions it has."""
    assert tensor([[7]]).item() == 7
    for x in (arange(2), arange(0)):
        with pytest.raises(TensorError, match="one element"):
            x.item()


def test_conversions_to_python_numbers() -> None:
    """int, float, complex, bool, index and format, of one element."""
    assert int(tensor([2.7])) == 2
    assert float(tensor(1)) == 1.0
    assert complex(tensor(1.5)) == 1.5 + 0j
    assert bool(tensor([[0.0]])) is False
    assert range(5)[tensor(3)] == 3
    assert f"{tensor(2.0):.2f}" == "2.00"
    assert f"{arange(2)}" == "tensor([0, 1])"
    with pytest.raises(TensorError, match="ambiguous"):
        bool(arange(2))
    with pytest.raises(TypeError):
        range(5)[tensor(1.0)]


def test_truth_in_membership() -> None:
    """`in` looks at values."""
    assert 2 in arange(3)
    assert 3 not in arange(3)


def test_huge_views_of_few_bytes_are_no_danger() -> None:
    """The view is allowed and its text too; writing it out is a LimitError, allocating nothing."""
    x = zeros(1).expand(1 << 40)
    assert x.numel() == 1 << 40
    assert repr(x) == "tensor([0., 0., 0., ..., 0., 0., 0.])"
    assert x[-1].item() == 0.0
    assert x.numpy().shape == (1 << 40,)
    for copying in (x.clone, x.tolist, x.contiguous):
        with pytest.raises(LimitError) as caught:
            copying()
        assert caught.value.actual > caught.value.allowed
    assert zeros(1).expand(1 << 62)[5].item() == 0.0
    with pytest.raises(TensorError, match="numpy cannot hold"):
        zeros(1).expand(1 << 62).numpy()


def test_no_list_is_made_for_each_of_countless_empty_rows() -> None:
    """A shape with a 0 in it costs nothing in a file, whatever else is in it."""
    with pytest.raises(LimitError):
        zeros(0).view(1 << 60, 0).tolist()
    assert zeros(0).view(2, 0).tolist() == [[], []]


def test_no_elements_are_an_empty_list_in_any_dtype() -> None:
    """Also where numpy has no room for the shape in the dtype in which Python gets its numbers."""
    assert Tensor(Storage(b""), dtypes.bfloat16, 0, (0, 1 << 61), (1, 1)).tolist() == []


def test_writing_where_indexes_share_an_element_is_refused() -> None:
    """A part of the tensor where they do not may be written."""
    x = arange(3).expand(2, 3)
    for write in (
        lambda: x.fill_(1),
        x.zero_,
        lambda: x.__iadd__(1),
        lambda: x.copy_(x),
        lambda: x.__setitem__([0], 1),
    ):
        with pytest.raises(TensorError, match="clone"):
            write()
    assert not x.numpy().flags.writeable
    x[0] = 7
    assert x.tolist() == [[7, 7, 7], [7, 7, 7]]


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, 5),
        ((slice(None), 1), [7, 8, 9]),
        ((0, 0), 1.7),
        ([0, 2], 1),
        (..., 0),
        (slice(1, 3), [[1, 2, 3, 4]]),
        (np.arange(12).reshape(3, 4) > 5, -1),
    ],
)
def test_assignment_writes_what_numpy_writes(index: Any, value: Any) -> None:
    """In place, for basic and advanced indexes; tensors may be the value and the index."""
    array = np.arange(12).reshape(3, 4)
    x, y = tensor(array), tensor(array)
    memory = x.data_ptr()
    x[index] = value
    y[tensor(index) if isinstance(index, np.ndarray) else index] = tensor(value)
    array[index] = value
    assert x.tolist() == y.tolist() == array.tolist()
    assert x.data_ptr() == memory


def test_copy_writes_raw_elements_of_the_same_dtype() -> None:
    """So it works for dtypes numpy lacks, and converts where dtypes differ."""
    x = zeros(2, dtype=dtypes.qint8)
    assert x.copy_(Tensor(Storage(b"\x05"), dtypes.qint8, 0, (), ())) is x
    assert x.untyped_storage().tolist() == [5, 5]
    assert zeros(2, dtype=dtypes.int32).copy_(tensor([1.9, -1.9])).tolist() == [1, -1]
    x.zero_()
    assert x.untyped_storage().tolist() == [0, 0]


def test_values_that_do_not_fit_are_errors() -> None:
    """In shape, in kind, in size."""
    for write in (
        lambda: arange(3).copy_(arange(2)),
        lambda: arange(3).copy_([1, 2]),
        lambda: arange(3).fill_("x"),
        lambda: zeros(1, dtype=dtypes.int64).fill_(1 << 64),
        lambda: zeros(1, dtype=dtypes.uint8).fill_(300),
        lambda: arange(3).__setitem__([0, 1], [1, 2, 3]),
    ):
        with pytest.raises(TensorError):
            write()


def test_clone_owns_exactly_its_elements() -> None:
    """In the order of dimensions that the original has in memory, as in PyTorch."""
    x = Tensor(arange(100).untyped_storage(), dtypes.int64, 5, (3, 2), (1, 10), False)
    y = x.clone()
    assert y.tolist() == x.tolist()
    assert (y.stride(), y.storage_offset(), y.untyped_storage().nbytes()) == ((1, 3), 0, 48)
    z = x.contiguous()
    assert (z.stride(), z.tolist(), z.untyped_storage().nbytes()) == ((2, 1), x.tolist(), 48)
    assert z.contiguous() is z
    assert tensor([1.0], device="cuda:0", requires_grad=True).clone().device == "cuda:0"


def test_view_and_reshape_share_or_copy() -> None:
    """view raises where a copy is needed, reshape makes it."""
    x = arange(6).view(2, 3)
    assert x.view(-1).untyped_storage() is x.untyped_storage()
    assert x.view((3, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(TensorError, match="reshape"):
        x.t().view(6)
    assert x.t().reshape(6).tolist() == [0, 3, 1, 4, 2, 5]
    assert x.flatten().shape == (6,)
    assert x.view(1, 2, 3).flatten(0, 1).shape == (2, 3)
    assert tensor(1).flatten().shape == (1,)
    assert x.flatten(1) is x
    with pytest.raises(TensorError, match="first to a last"):
        x.flatten(1, 0)


def test_view_as_dtype_looks_at_the_same_bytes() -> None:
    """Of the same size, smaller and larger."""
    x = arange(4, dtype=dtypes.int32)[2:]
    for dtype in (dtypes.float32, dtypes.uint8, dtypes.int64):
        assert x.view(dtype).numpy().tobytes() == x.numpy().tobytes()
        assert x.view(dtype).untyped_storage() is x.untyped_storage()
    assert not tensor([1.0], requires_grad=True).view(dtypes.int32).requires_grad


def test_transposes() -> None:
    """t() is for matrices, T for all."""
    x = zeros(2, 3, 4)
    assert x.T.shape == (4, 3, 2)
    assert x.permute((1, 0, 2)).shape == x.permute(1, 0, 2).shape == x.transpose(0, 1).shape == (3, 2, 4)
    assert arange(3).t().shape == (3,)
    with pytest.raises(TensorError, match="at most 2"):
        x.t()


def test_as_strided_keeps_the_offset_unless_told() -> None:
    """And is checked like any tensor."""
    x = arange(6)[2:]
    assert x.as_strided((2,), (2,)).tolist() == [2, 4]
    assert x.as_strided((2, 2), (1, 1), 0).tolist() == [[0, 1], [1, 2]]
    with pytest.raises(TensorError, match="reaches"):
        x.as_strided((3,), (2,))


def test_tensors_are_keys_by_identity_and_can_be_weakly_referenced() -> None:
    """`==` compares elements, so it cannot say whether two tensors are one."""
    x, y = arange(2), arange(2)
    assert len({x, y, x}) == 2
    assert weakref.ref(x)() is x


@pytest.mark.parametrize("again", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_and_pickles_keep_sharing(again: Any) -> None:
    """Views of one storage come back as views of one storage, with all that they are."""
    storage = tensor([1 + 2j, 3j]).untyped_storage()
    storage.device = "cuda:3"
    x = Tensor(storage, dtypes.complex64, 0, (2,), (1,), requires_grad=True, conj=True)
    y = Tensor(storage, dtypes.float32, 1, (2,), (2,), neg=True)
    x2, y2 = again([x, y])
    assert x2.untyped_storage() is y2.untyped_storage()
    assert x2.untyped_storage() is not storage
    assert (x2.tolist(), y2.tolist(), x2.device) == (x.tolist(), y.tolist(), "cuda:3")
    assert (x2.is_conj(), x2.requires_grad, y2.is_neg(), y2.stride()) == (True, True, True, (2,))
    assert x2.dtype is dtypes.complex64


def test_a_plain_copy_is_a_view_of_the_same_storage() -> None:
    """copy.copy copies the tensor and not its bytes."""
    x = arange(3)
    assert copy.copy(x).untyped_storage() is x.untyped_storage()

"""Sparse, quantized and nested tensors, parameters and constants: checks and arithmetic without PyTorch."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.tensors.constants import LAYOUTS, MEMORY_FORMATS, QSCHEMES
from ptfile.tensors.create import empty_meta
from ptfile.tensors.nested import JaggedTensor, NestedTensor
from ptfile.tensors.quantized import PerChannel, PerTensor, QuantizedTensor
from ptfile.tensors.sparse import SparseCompressedTensor, SparseTensor


def coo(indices: Any, values: Any, shape: tuple[int, ...]) -> SparseTensor:
    return SparseTensor(ptfile.tensor(indices), ptfile.tensor(values), shape)


def csr(pointers: Any, indices: Any, shape: tuple[int, ...] = (2, 3), layout: str = "sparse_csr") -> Any:
    values = ptfile.ones(len(indices))
    return SparseCompressedTensor(LAYOUTS[layout], ptfile.tensor(pointers), ptfile.tensor(indices), values, shape)


def test_coordinates_that_are_there_twice_are_added() -> None:
    """As in PyTorch, for a tensor that is not coalesced."""
    assert coo([[0, 1, 0], [2, 0, 2]], [1.0, 2.0, 4.0], (2, 3)).tolist() == [[0, 0, 5.0], [2.0, 0, 0]]


@pytest.mark.parametrize("indices", [[[0], [3]], [[2], [0]], [[-1], [0]], [[0], [2**62]]])
def test_coordinates_outside_the_shape_are_refused(indices: Any) -> None:
    """Before anything is written anywhere."""
    with pytest.raises(ptfile.TensorError, match="outside"):
        coo(indices, [1.0], (2, 3)).to_dense()


@pytest.mark.parametrize(
    ("indices", "values", "shape"),
    [
        ([0, 1], [1.0, 2.0], (3,)),  # indices of one dimension
        ([[0, 1]], [1.0], (3,)),  # fewer values
        ([[0], [1]], [1.0], (3,)),  # more dimensions than the shape has
        ([[0]], [[1.0, 2.0]], (3, 3)),  # dense sizes that differ
        ([[0.5]], [1.0], (3,)),  # indices that are no integers
        ([[0]], [1.0], (-3,)),
    ],
)
def test_parts_that_do_not_fit_the_shape_are_refused(indices: Any, values: Any, shape: tuple[int, ...]) -> None:
    """When the tensor is made, for that needs no bytes."""
    with pytest.raises(ptfile.TensorError):
        coo(indices, values, shape)


@pytest.mark.parametrize(
    ("pointers", "indices"),
    [
        ([0, 1, 3], [0, 1]),  # points behind the end
        ([1, 1, 2], [0, 1]),  # does not begin at 0
        ([0, 2, 1], [0, 1]),  # goes back
        ([0, 1, 2], [0, 3]),  # a column that does not exist
        ([0, 1, 2], [-1, 0]),
        ([0, 5, 2], [0, 1]),
    ],
)
def test_pointers_that_lie_are_refused(pointers: Any, indices: Any) -> None:
    """Before they are followed."""
    with pytest.raises(ptfile.TensorError):
        csr(pointers, indices).to_dense()


@pytest.mark.parametrize(
    ("pointers", "indices", "shape", "layout"),
    [
        ([0, 1], [0], (2, 3), "sparse_csr"),  # too few pointers
        ([0, 1, 2], [0, 1], (2,), "sparse_csr"),
        ([0, 1, 2], [0, 1], (2, 3), "sparse_csc"),  # as many as there are rows, not columns
        ([0, 1, 2], [0, 1], (2, 3), "sparse_bsr"),  # values that are no blocks
        ([0, 1, 2], [0, 1], (2, 3), "strided"),
    ],
)
def test_compressed_parts_that_do_not_fit_are_refused(
    pointers: Any, indices: Any, shape: tuple[int, ...], layout: str
) -> None:
    """When the tensor is made."""
    with pytest.raises(ptfile.TensorError):
        csr(pointers, indices, shape, layout)


def test_a_compressed_tensor_is_written_out_densely() -> None:
    """Rows by pointers, columns by indices."""
    tensor = csr([0, 2, 3], [0, 2, 1])
    np.testing.assert_array_equal(np.asarray(tensor), [[1, 0, 1], [0, 1, 0]])
    assert "crow" not in repr(tensor)
    assert "compressed_indices=tensor([0, 2, 3])" in repr(tensor)


def quantized(data: bytes, dtype: ptfile.DType, shape: tuple[int, ...], quantizer: Any = None) -> QuantizedTensor:
    stride = tuple(np.cumprod((1, *shape[:0:-1]))[::-1].tolist()) if shape else ()
    return QuantizedTensor(ptfile.UntypedStorage(data), dtype, 0, shape, stride, quantizer or PerTensor(0.5, 1))


def test_integers_become_numbers_by_scale_and_zero_point() -> None:
    """value = (integer - zero point) * scale."""
    assert quantized(bytes([1, 2, 5]), ptfile.quint8, (3,)).tolist() == [0.0, 0.5, 2.0]
    channels = PerChannel(ptfile.tensor([1.0, 0.5]), ptfile.tensor([0, 1]), 0)
    assert quantized(bytes([1, 2, 5, 7]), ptfile.qint8, (2, 2), channels).tolist() == [[1.0, 2.0], [2.0, 3.0]]


def test_integers_that_share_bytes_are_taken_apart() -> None:
    """Low bits first."""
    assert quantized(bytes([0x21, 0x43]), ptfile.quint4x2, (4,), PerTensor(1.0, 0)).tolist() == [1, 2, 3, 4]
    assert quantized(bytes([0b11100100]), ptfile.quint2x4, (4,), PerTensor(1.0, 0)).tolist() == [0, 1, 2, 3]


def test_the_offset_of_integers_that_share_bytes_counts_bytes() -> None:
    """As PyTorch reads them; a view beyond the storage is refused."""
    storage, scale = ptfile.UntypedStorage(bytes([0x21, 0x43, 0x65])), PerTensor(1.0, 0)
    assert QuantizedTensor(storage, ptfile.quint4x2, 1, (3,), (1,), scale).tolist() == [3, 4, 5]
    for offset, length in ((2, 3), (3, 1)):
        with pytest.raises(ptfile.TensorError, match="bytes into a storage of 6"):
            QuantizedTensor(storage, ptfile.quint4x2, offset, (length,), (1,), scale)


@pytest.mark.parametrize("dtype", [ptfile.qint8, ptfile.quint4x2], ids=str)
def test_a_huge_view_of_few_quantized_integers_is_not_written_out(dtype: ptfile.DType) -> None:
    """It is a view; the numbers that its integers stand for are a copy."""
    huge = QuantizedTensor(ptfile.UntypedStorage(bytes(8)), dtype, 0, (1 << 40,), (0,), PerTensor(1.0, 0))
    assert repr(huge).startswith("tensor(..., shape=(1099511627776,), dtype=")
    for copy_of in (QuantizedTensor.dequantize, QuantizedTensor.numpy, QuantizedTensor.tolist):
        with pytest.raises(ptfile.LimitError):
            copy_of(huge)


@pytest.mark.parametrize(
    ("shape", "quantizer"),
    [
        ((5,), None),  # more than there are bytes
        ((2, 2), PerChannel(ptfile.zeros(3), ptfile.zeros(3), 0)),
        ((2, 2), PerChannel(ptfile.zeros(2), ptfile.zeros(3), 0)),
        ((2, 2), PerChannel(ptfile.zeros(2), ptfile.zeros(2), 2)),
        ((2, 2), PerChannel(ptfile.zeros(2), ptfile.zeros(2), -1)),
    ],
)
def test_scales_and_views_that_do_not_fit_are_refused(shape: tuple[int, ...], quantizer: Any) -> None:
    """An axis and channels that the shape has, a view inside the storage."""
    with pytest.raises(ptfile.TensorError):
        quantized(bytes(4), ptfile.qint8, shape, quantizer)


def test_a_tensor_of_plain_numbers_is_not_quantized() -> None:
    """The dtype has to be one of the quantized ones."""
    with pytest.raises(ptfile.TensorError):
        quantized(bytes(4), ptfile.int8, (4,))


def nested(sizes: Any, strides: Any, offsets: Any) -> NestedTensor:
    return NestedTensor(ptfile.arange(8), ptfile.tensor(sizes), ptfile.tensor(strides), ptfile.tensor(offsets))


def test_components_of_a_nested_tensor_share_its_buffer() -> None:
    """They are views: writing to one writes to the buffer."""
    tensor = nested([[2], [3]], [[1], [2]], [0, 3])
    assert tensor.tolist() == [[0, 1], [3, 5, 7]]
    tensor.unbind()[0].zero_()
    assert tensor.values().tolist()[:3] == [0, 0, 2]


@pytest.mark.parametrize(
    ("sizes", "strides", "offsets"),
    [([[9]], [[1]], [0]), ([[4]], [[3]], [0]), ([[2]], [[1]], [7]), ([[2]], [[1]], [-1]), ([[2]], [[-1]], [3])],
)
def test_components_outside_the_buffer_are_refused(sizes: Any, strides: Any, offsets: Any) -> None:
    """When they are taken out."""
    with pytest.raises(ptfile.TensorError):
        nested(sizes, strides, offsets).unbind()


def test_tables_of_a_nested_tensor_that_do_not_match_are_refused() -> None:
    """A size, a stride and an offset for each component."""
    with pytest.raises(ptfile.TensorError):
        nested([[2], [3]], [[1], [2]], [0])


def jagged(**changed: Any) -> JaggedTensor:
    """Two components, of 2 and 4 rows, with what is said of them changed."""
    parts: dict[str, Any] = {
        "values": ptfile.arange(12).reshape(6, 2),
        "offsets": ptfile.tensor([0, 2, 6]),
        "lengths": None,
        "_ragged_idx": 1,
        "_metadata_cache": {},
        "requires_grad": False,
    }
    return JaggedTensor(parts | changed)


def test_components_of_a_jagged_tensor_share_its_values() -> None:
    """They are views: writing to one writes to the values."""
    tensor = jagged()
    assert (len(tensor), tensor.dtype, tensor.device) == (2, ptfile.int64, "cpu")
    assert tensor.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7], [8, 9], [10, 11]]]
    tensor.unbind()[0].zero_()
    assert tensor.values().tolist()[:3] == [[0, 0], [0, 0], [4, 5]]


def test_components_of_a_jagged_tensor_may_leave_gaps() -> None:
    """Then it has lengths beside the offsets; the ragged dimension may be any."""
    assert jagged(lengths=ptfile.tensor([1, 2])).tolist() == [[[0, 1]], [[4, 5], [6, 7]]]
    columns = jagged(values=ptfile.arange(6).reshape(1, 6), _ragged_idx=2)
    assert columns.tolist() == [[[0, 1]], [[2, 3, 4, 5]]]


@pytest.mark.parametrize(
    "changed",
    [
        {"offsets": ptfile.tensor([0, 2, 7])},
        {"offsets": ptfile.tensor([-1, 2, 6])},
        {"offsets": ptfile.tensor([0, 4, 2])},
        {"lengths": ptfile.tensor([1, 5])},
        {"lengths": ptfile.tensor([1, -1])},
    ],
)
def test_components_outside_the_values_are_refused(changed: Any) -> None:
    """When they are taken out, or checked after loading."""
    with pytest.raises(ptfile.TensorError, match="component"):
        jagged(**changed).check()


def expanded(count: int, *columns: int) -> ptfile.Tensor:
    """A table that says the same number again and again, in eight bytes."""
    return ptfile.tensor([1]).as_strided((count, *columns), (0,) * (1 + len(columns)), 0)


FEW, MANY = 1 << 20, 1 << 40


def tensors_with_tables(count: int) -> list[Any]:
    """One of each layout, with so many indices or components."""
    one, values = expanded(count), expanded(count)
    return [
        SparseTensor(one[None], values, (5,)),
        SparseCompressedTensor(
            LAYOUTS["sparse_csr"], expanded(count, 2) - 1 if count == FEW else expanded(count, 2), expanded(count, 0),
            expanded(count, 0), (count, 1, 5),
        ),
        NestedTensor(ptfile.arange(8), expanded(count, 1), expanded(count, 1), one),
        JaggedTensor(jagged().saved_as | {"offsets": expanded(count), "lengths": None}),
    ]  # fmt: skip


@pytest.mark.parametrize("place", range(4), ids=["coo", "csr", "nested", "jagged"])
def test_a_check_costs_in_proportion_to_the_bytes_of_the_indices(place: int) -> None:
    """A few bytes may be any number of them: a million are looked at, more than memory has room for are not."""
    tensors_with_tables(FEW)[place].check()
    with pytest.raises(ptfile.LimitError):
        tensors_with_tables(MANY)[place].check()


def test_components_that_are_all_the_same_are_not_listed_without_end() -> None:
    """They are checked; a list of them would take a thousand times as much."""
    many = NestedTensor(ptfile.arange(8), expanded(1 << 23, 1), expanded(1 << 23, 1), expanded(1 << 23))
    many.check()
    with pytest.raises(ptfile.LimitError):
        many.unbind()
    wide = NestedTensor(
        ptfile.zeros(1 << 20),
        expanded(1 << 10, 1) * (1 << 20),
        expanded(1 << 10, 1),
        ptfile.zeros(1 << 10, dtype=ptfile.int64),
    )
    with pytest.raises(ptfile.LimitError):
        wide.tolist()
    assert (
        repr(NestedTensor(ptfile.arange(8), expanded(2_000, 1), expanded(2_000, 1), expanded(2_000))).count(
            "tensor([1])"
        )
        == 6
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"offsets": None},
        {"offsets": ptfile.zeros(0, dtype=ptfile.int64)},
        {"offsets": ptfile.tensor([0.0, 6.0])},
        {"lengths": ptfile.tensor([1])},
        {"values": [1, 2]},
        {"_ragged_idx": 0},
        {"_ragged_idx": 3},
        {"_ragged_idx": True},
        {"_metadata_cache": None},
        {"requires_grad": 1},
        {"more": 1},
    ],
)
def test_parts_of_a_jagged_tensor_that_do_not_match_are_refused(changed: Any) -> None:
    """Before any bytes are read."""
    with pytest.raises(ptfile.TensorError):
        jagged(**changed)


def test_a_meta_tensor_takes_no_memory_and_has_no_elements() -> None:
    """However large it says it is."""
    tensor = empty_meta((2**30, 2**30), (2**30, 1))
    assert (tensor.shape, tensor.device) == ((2**30, 2**30), "meta")
    assert "meta" in repr(tensor)
    with pytest.raises(ptfile.TensorError, match="meta"):
        tensor.tolist()


def test_a_parameter_shares_the_storage_of_its_data() -> None:
    """And is printed, copied and pickled as a parameter."""
    data = ptfile.zeros(2)
    parameter = ptfile.Parameter(data)
    data += 1
    assert parameter.tolist() == [1.0, 1.0]
    assert parameter.requires_grad
    assert type(parameter.data) is ptfile.Tensor
    assert not parameter.data.requires_grad
    assert repr(parameter) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    for copied in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert type(copied) is ptfile.Parameter
        assert copied.tolist() == [1.0, 1.0]


def test_an_integer_parameter_has_no_gradient() -> None:
    """As in PyTorch."""
    with pytest.raises(ptfile.TensorError):
        ptfile.Parameter(ptfile.arange(3))
    assert not ptfile.Parameter(ptfile.arange(3), requires_grad=False).requires_grad


def test_constants_are_one_object_for_each_name() -> None:
    """Copies too; they print as PyTorch's do, under ptfile's name."""
    for table in (LAYOUTS, MEMORY_FORMATS, QSCHEMES):
        for name, constant in table.items():
            assert copy.deepcopy(constant) is constant
            assert pickle.loads(pickle.dumps(constant)) == constant
            assert repr(constant) == f"ptfile.{name}"


def test_sizes_and_devices_are_values() -> None:
    """A size is a tuple; a device prints as the tag that storages have."""
    assert ptfile.Size([2, 3]) == (2, 3)
    assert ptfile.Size([2, 3]).numel() == 6
    assert [str(ptfile.Device("cuda", 1)), str(ptfile.Device("cpu"))] == ["cuda:1", "cpu"]
    assert ptfile.Device("cuda", 1) == ptfile.Device("cuda", 1)

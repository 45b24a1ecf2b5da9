"""Constructors, with PyTorch's default dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptfile.errors import TensorError
from ptfile.tensors import dtypes
from ptfile.tensors.create import arange, empty, from_numpy, full, ones, tensor, zeros
from ptfile.tensors.dtypes import DType


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1, dtypes.int64, ()),
        (True, dtypes.bool, ()),
        (1.5, dtypes.float32, ()),
        (1j, dtypes.complex64, ()),
        ([1, 2.5], dtypes.float32, (2,)),
        ([True, 2], dtypes.int64, (2,)),
        ([], dtypes.float32, (0,)),
        ([[], []], dtypes.float32, (2, 0)),
        (((1, 2), (3, 4)), dtypes.int64, (2, 2)),
        (np.float64(1), dtypes.float64, ()),
        ([np.float64(1)], dtypes.float64, (1,)),
        ([np.int32(1)], dtypes.int32, (1,)),
        (np.zeros((2, 3), np.uint16), dtypes.uint16, (2, 3)),
        (np.zeros(2), dtypes.float64, (2,)),
        (tensor([1.0], dtype=dtypes.bfloat16), dtypes.bfloat16, (1,)),
    ],
)
def test_tensor_has_the_dtype_pytorch_gives_it(data: Any, dtype: DType, shape: tuple[int, ...]) -> None:
    """Defaults for Python's numbers; numpy's and tensors' own."""
    x = tensor(data)
    assert (x.dtype, x.shape) == (dtype, shape)
    assert x.is_contiguous()


@pytest.mark.parametrize("data", ["a", None, [1, [2]], 1 << 63, [1 << 64], object(), np.array(["a"])])
def test_tensor_refuses_what_is_no_number(data: Any) -> None:
    """Text, nothing, ragged rows, integers beyond int64."""
    with pytest.raises(TensorError):
        tensor(data)


@pytest.mark.parametrize(
    ("data", "dtype", "expected"),
    [
        ([1.5], dtypes.int64, [1]),
        ([1 << 63], dtypes.uint64, [1 << 63]),
        ([0, 2], dtypes.bool, [False, True]),
        ([1.1], dtypes.bfloat16, [1.1015625]),
        (np.array([1.5]), dtypes.float16, [1.5]),
    ],
)
def test_tensor_converts_to_the_dtype_asked_for(data: Any, dtype: DType, expected: list[Any]) -> None:
    """As PyTorch does."""
    x = tensor(data, dtype=dtype, device="cuda:0")
    assert (x.dtype, x.tolist(), x.device) == (dtype, expected, "cuda:0")


@pytest.mark.parametrize(("data", "dtype"), [([300], dtypes.uint8), ([1j], dtypes.float32), ([1 << 64], dtypes.int64)])
def test_tensor_refuses_numbers_the_dtype_cannot_hold(data: Any, dtype: DType) -> None:
    """Never wrong in silence."""
    with pytest.raises(TensorError, match="no data for a tensor"):
        tensor(data, dtype=dtype)


def test_tensor_copies() -> None:
    """Arrays and tensors alike, also backwards ones."""
    array = np.arange(3)
    x = tensor(array[::-1])
    y = tensor(x)
    array[:] = 9
    x[0] = 7
    assert (x.tolist(), y.tolist()) == ([7, 1, 0], [2, 1, 0])


def test_from_numpy_shares_memory_both_ways() -> None:
    """Writable arrays stay writable, read-only ones read-only."""
    array = np.arange(4)
    x = from_numpy(array)
    x[0] = 9
    array[1] = 8
    assert array.tolist() == x.tolist() == [9, 8, 2, 3]
    array.flags.writeable = False
    assert not from_numpy(array).numpy().flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4)[1:, ::2],
        np.arange(12).reshape(3, 4).T,
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(5, np.int8),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.broadcast_to(np.arange(3), (2, 3)),
        np.arange(4)[2:2],
    ],
)
def test_from_numpy_keeps_shape_strides_and_values(array: np.ndarray[Any, np.dtype[Any]]) -> None:
    """Of slices, transposes, scalars and empty arrays; the storage begins at the first element."""
    x = from_numpy(array)
    assert (x.shape, x.tolist()) == (array.shape, array.tolist())
    assert x.stride() == tuple(step // array.itemsize for step in array.strides)
    assert x.storage_offset() == 0
    if array.size:
        assert x.data_ptr() == array.ctypes.data
        assert x.untyped_storage().nbytes() <= array.base.nbytes if array.base is not None else array.nbytes


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.arange(3)[::-1], "copy"),
        (np.zeros(3, [("a", "i4"), ("b", "i1")])["a"], "copy"),
        (np.arange(3).astype(">i4"), "newbyteorder"),
        (np.array(["a"]), "no tensor can hold"),
        ([1, 2], "Use tensor"),
    ],
)
def test_from_numpy_refuses_with_a_fix(array: Any, message: str) -> None:
    """Negative and uneven strides, foreign byte order, text, no array."""
    with pytest.raises(TensorError, match=message):
        from_numpy(array)


@pytest.mark.parametrize("dtype", list(dtypes.BY_NAME.values()), ids=str)
def test_zeros_and_empty_are_bytes_of_zero_for_every_dtype(dtype: DType) -> None:
    """Memory is never left as it was found."""
    for make in (zeros, empty):
        x = make(2, 3, dtype=dtype, device="cuda:0")
        assert (x.shape, x.dtype, x.device) == ((2, 3), dtype, "cuda:0")
        assert x.untyped_storage().tobytes() == bytes(6 * dtype.itemsize)


def test_shapes_are_given_as_ints_or_a_tuple() -> None:
    """Nothing is a shape too; negative sizes are none."""
    assert zeros(2, 3).shape == zeros((2, 3)).shape == zeros([2, 3]).shape == (2, 3)
    assert zeros(()).shape == zeros().shape == ()
    with pytest.raises(TensorError, match="0 or more"):
        zeros(-1)


def test_ones_and_full_hold_one_value() -> None:
    """float32 unless told; `full` looks at its value."""
    assert (ones(2).tolist(), ones(2).dtype) == ([1.0, 1.0], dtypes.float32)
    assert ones((1,), dtype=dtypes.int16, requires_grad=False).dtype is dtypes.int16
    for value, dtype in ((7, dtypes.int64), (0.5, dtypes.float32), (True, dtypes.bool), (1j, dtypes.complex64)):
        x = full((2,), value)
        assert (x.tolist(), x.dtype) == ([value, value], dtype)
    assert full((1,), 1, dtype=dtypes.float64, requires_grad=True).requires_grad


@pytest.mark.parametrize(
    ("args", "dtype", "expected"),
    [
        ((3,), dtypes.int64, [0, 1, 2]),
        ((2, 5), dtypes.int64, [2, 3, 4]),
        ((1, 10, 3), dtypes.int64, [1, 4, 7]),
        ((10, 0, -4), dtypes.int64, [10, 6, 2]),
        ((0,), dtypes.int64, []),
        ((5, 5), dtypes.int64, []),
        ((2.0,), dtypes.float32, [0.0, 1.0]),
        ((0, 1, 0.25), dtypes.float32, [0.0, 0.25, 0.5, 0.75]),
        ((1, 2.5), dtypes.float32, [1.0, 2.0]),
    ],
)
def test_arange_counts_as_pytorch_does(args: tuple[float, ...], dtype: DType, expected: list[float]) -> None:
    """int64, or float32 if a float is among the arguments."""
    x = arange(*args)
    assert (x.dtype, x.tolist()) == (dtype, expected)


def test_arange_takes_a_dtype() -> None:
    """Also one that only ml_dtypes has."""
    x = arange(3, dtype=dtypes.bfloat16)
    assert (x.dtype, x.tolist()) == (dtypes.bfloat16, [0.0, 1.0, 2.0])


@pytest.mark.parametrize("args", [(0, 1, 0), (3, 1), (0, 5, -1)])
def test_arange_refuses_steps_that_never_arrive(args: tuple[int, ...]) -> None:
    """As PyTorch does, where Python's range is empty."""
    with pytest.raises(TensorError, match="no steps"):
        arange(*args)


def test_arrays_of_ml_dtypes_become_tensors_in_the_same_memory() -> None:
    """All of its types that a tensor can have, with strides or without."""
    for dtype in (dtypes.bfloat16, dtypes.float8_e4m3fn, dtypes.float8_e5m2, dtypes.float8_e8m0fnu):
        array = np.zeros((3, 4), dtype.numpy)[:, ::2]
        tensor = from_numpy(array)
        tensor[1, 1] = 2
        assert tensor.dtype is dtype
        assert array[1, 1] == 2

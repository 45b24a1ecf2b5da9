"""numpy's protocols: operators, ufuncs, conversion, DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptfile.errors import TensorError, UnsupportedError
from ptfile.tensors import dtypes
from ptfile.tensors.create import arange, ones, tensor, zeros
from ptfile.tensors.operators import OPERATORS
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor

add: Any = np.add  # numpy's stubs know no `out` but arrays


def test_there_is_every_operator_that_numpy_gives_to_such_classes() -> None:
    """They are numpy's own, looked up when they are used."""
    theirs = {name for name, method in vars(np.lib.mixins.NDArrayOperatorsMixin).items() if callable(method)}

    assert {f"__{name}__" for name in OPERATORS} == theirs


def test_operators_give_tensors_by_numpys_rules() -> None:
    """With tensors, arrays and numbers on either side."""
    x = arange(3)
    for y in (x + 1, 1 + x, x + np.ones(3, np.int64), np.ones(3, np.int64) + x, x + tensor([1, 1, 1])):
        assert type(y) is Tensor
        assert (y.tolist(), y.dtype) == ([1, 2, 3], dtypes.int64)
    assert (x == tensor([0, 9, 2])).tolist() == [True, False, True]
    assert (tensor([1.0], dtype=dtypes.bfloat16) * 2).dtype is dtypes.bfloat16
    assert (ones(2, 3) @ ones(3)).tolist() == [3.0, 3.0]
    quotient, rest = divmod(x, 2)
    assert (quotient.tolist(), rest.tolist()) == ([0, 0, 1], [0, 1, 0])


def test_ufunc_methods_give_tensors() -> None:
    """Reductions, and `where` by a tensor."""
    assert np.add.reduce(arange(4)).item() == 6
    assert add(arange(3), 1, out=zeros(3, dtype=dtypes.int64), where=arange(3) > 1).tolist() == [0, 0, 3]
    assert np.sqrt(tensor([4.0])).tolist() == [2.0]


def test_in_place_operators_change_every_view_of_the_storage() -> None:
    """The example on PyTorch's page: views keep sharing."""
    numbers = arange(1, 10)
    evens = numbers[1::2]
    same = evens
    evens *= 2
    assert evens is same
    assert numbers.tolist() == [1, 4, 3, 8, 5, 12, 7, 16, 9]


def test_out_and_at_write_in_place() -> None:
    """Into tensors and arrays; the result is what was given."""
    x, array = zeros(3, dtype=dtypes.int64), np.zeros(3, np.int64)
    assert add(arange(3), 1, out=x) is x
    assert add(arange(3), 1, out=array) is array
    np.add.at(x, [0, 0], 5)
    assert (x.tolist(), array.tolist()) == ([11, 2, 3], [1, 2, 3])
    with pytest.raises(TensorError, match="clone"):
        np.add.at(zeros(1).expand(3), 0, 1)


def test_in_place_operators_read_corrected_bools() -> None:
    """And write into the storage itself."""
    x = Tensor(Storage(bytearray([0, 1, 7])), dtypes.bool, 0, (3,), (1,))
    x &= True
    assert x.untyped_storage().tolist() == [0, 1, 1]


def test_results_no_tensor_can_hold_stay_arrays() -> None:
    """Such as numpy's long doubles."""
    result = arange(2) + np.ones(2, np.longdouble)
    assert isinstance(result, Tensor | np.ndarray)
    assert np.asarray(result).tolist() == [1.0, 2.0]


def test_dtypes_numpy_lacks_do_not_compute() -> None:
    """An error of ours."""
    with pytest.raises(UnsupportedError):
        zeros(1, dtype=dtypes.qint8) + 1


def test_asarray_shares_and_array_copies() -> None:
    """With another dtype it converts."""
    x = arange(3)
    np.asarray(x)[0] = 9
    np.array(x)[1] = 9
    assert x.tolist() == [9, 1, 2]
    assert np.asarray(x, np.float32).dtype == np.float32
    assert x.__array__(np.int64, copy=True) is not x.numpy()
    with pytest.raises(ValueError, match="takes a copy"):
        x.__array__(np.float32, copy=False)
    assert np.sum(x) == 12


def test_dlpack_shares_memory() -> None:
    """Through numpy, on the CPU, whatever the tag says."""
    x = tensor([1.0, 2.0], device="cuda:0")
    array = np.from_dlpack(x)
    assert array.ctypes.data == x.data_ptr()
    assert x.__dlpack_device__() == (1, 0)


@pytest.mark.parametrize(
    "x",
    [
        zeros(1, dtype=dtypes.bfloat16),
        zeros(1, dtype=dtypes.bits8),
        Tensor(zeros(1).untyped_storage(), dtypes.float32, 0, (), (), neg=True),
    ],
)
def test_dlpack_refuses_by_buffer_error(x: Tensor) -> None:
    """The protocol's own error, for what numpy cannot export."""
    with pytest.raises(BufferError):
        np.from_dlpack(x)

"""Tensors from Python values and numpy arrays, with PyTorch's names, call forms and default dtypes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, SupportsIndex

from ptfile._lazy import np
from ptfile.errors import TensorError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor, check_range
from ptfile.tensors.view import ints

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from ptfile.tensors.dtypes import DType


def tensor(data: Any, *, dtype: DType | None = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the data: a number, nested lists of numbers, a numpy array, a tensor.

    Python's numbers become bool, int64, float32 and complex64 as in PyTorch; arrays and tensors keep their dtype.
    Raises TensorError for what is no number, for rows of different length, and for a number the dtype cannot hold.

    >>> import ptfile
    >>> ptfile.tensor([[1.0, 2.0], [3.0, 4.5]])
    tensor([[1.0000, 2.0000],
            [3.0000, 4.5000]])
    >>> ptfile.tensor(3, dtype=ptfile.uint8)
    tensor(3, dtype=ptfile.uint8)
    """
    if isinstance(data, Tensor):
        data.afford(data.numel() * (dtype or data.dtype).itemsize)
    values = data.values_array() if isinstance(data, Tensor) else data
    if dtype is None:
        dtype = data.dtype if isinstance(data, Tensor) else _natural_dtype(values)
    try:
        check_range(values, dtype.numpy)
        array = np.array(values, dtype=dtype.numpy, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        raise TensorError(f"this is no data for a tensor of {dtype}: {error}") from error
    return _own(array, dtype, device, requires_grad)


def _natural_dtype(values: Any) -> DType:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise TensorError(f"this is no data for a tensor: {error}") from error
    if not isinstance(values, np.ndarray | np.generic) and not _has_numpy(values):
        # Python's numbers. An integer beyond int64 became an array of uint64 or of objects, which is an error below.
        if array.dtype.kind == "u":
            raise TensorError("an integer does not fit int64", fix="Give a dtype")
        default = {"f": dtypes.float32, "c": dtypes.complex64}.get(array.dtype.kind)
        if default is not None:
            return default
    return dtypes.from_numpy_dtype(array.dtype)


def _has_numpy(values: Any) -> bool:
    """Whether nested lists hold something that knows its dtype. PyTorch too looks at the first element."""
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return isinstance(values, np.ndarray | np.generic | Tensor)


def _own(array: npt.NDArray[Any], dtype: DType, device: str, requires_grad: bool) -> Tensor:
    shape = array.shape
    storage = Storage(array, device)
    return Tensor(storage, dtype, 0, shape, strides.contiguous(shape), requires_grad)


def from_numpy(array: npt.NDArray[Any]) -> Tensor:
    """A tensor in the same memory as the array; read-only if the array is.

    Raises TensorError for element types no tensor has, another byte order, and strides that are negative or no whole
    number of elements.
    """
    if not isinstance(array, np.ndarray):
        raise TensorError(f"from_numpy() takes a numpy array, not {type(array).__name__}", fix="Use tensor()")
    dtype = dtypes.from_numpy_dtype(array.dtype)
    if any(step < 0 or step % array.itemsize for step in array.strides):
        raise TensorError(
            f"strides of {array.strides} bytes are negative or no whole number of {array.itemsize}-byte elements",
            fix="Copy the array first: `a.copy()`",
        )
    stride = tuple(step // array.itemsize for step in array.strides)
    if array.size == 0:
        return Tensor(Storage(b""), dtype, 0, array.shape, stride)
    reach = strides.extent(array.shape, stride)
    raw = array.view(np.ndarray).view((np.void, array.itemsize))  # numpy makes no strided views of ml_dtypes' elements
    run = np.lib.stride_tricks.as_strided(raw, (reach,), (array.itemsize,))
    return Tensor(Storage(run), dtype, 0, array.shape, stride)


def zeros(
    *size: SupportsIndex | Sequence[SupportsIndex],
    dtype: DType = dtypes.float32,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor whose bytes are all zero, of any dtype. The shape is given as ints or as one tuple."""
    shape = ints(size)
    if any(number < 0 for number in shape):
        raise TensorError(f"a shape has sizes of 0 or more, not {shape}")
    storage = Storage(np.zeros(strides.numel(shape) * dtype.itemsize, np.uint8), device)
    return Tensor(storage, dtype, 0, shape, strides.contiguous(shape), requires_grad)


def empty(
    *size: SupportsIndex | Sequence[SupportsIndex],
    dtype: DType = dtypes.float32,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """The same as `zeros`: memory is never left as it was found, because it might end up in a file."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def ones(
    *size: SupportsIndex | Sequence[SupportsIndex],
    dtype: DType = dtypes.float32,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of ones. The shape is given as ints or as one tuple."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad).fill_(1)


def full(
    size: Sequence[SupportsIndex],
    fill_value: complex,
    *,
    dtype: DType | None = None,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one value, whose kind gives the dtype as in `tensor`."""
    return zeros(
        size,
        dtype=dtype or _natural_dtype(fill_value),
        device=device,
        requires_grad=requires_grad,
    ).fill_(fill_value)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: DType | None = None,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """The numbers from `start` (0 if only one is given) up to `end`, which is left out.

    They are int64, or float32 if one of the three is a float.

    >>> import ptfile
    >>> ptfile.arange(1, 10, 3)
    tensor([1, 4, 7])
    """
    if end is None:
        start, end = 0, start
    whole = not any(isinstance(number, float | np.floating) for number in (start, end, step))
    if step == 0 or (end - start) * step < 0:
        raise TensorError(f"no steps of {step} lead from {start} to {end}")
    if dtype is None:
        dtype = dtypes.int64 if whole else dtypes.float32
    count = -((start - end) // step) if whole else math.ceil((end - start) / step)
    try:
        steps: Any = np.arange(count, dtype=np.int64 if whole else np.float64)
        values: npt.NDArray[Any] = steps * step + start
    except OverflowError as error:
        raise TensorError(f"numbers up to {end} do not fit int64") from error
    return _own(values.astype(dtype.numpy), dtype, device, requires_grad)


def empty_meta(
    shape: Sequence[int], stride: Sequence[int], *, dtype: DType = dtypes.float32, requires_grad: bool = False
) -> Tensor:
    """A tensor on PyTorch's `meta` device: a shape and strides without elements. It takes no memory, however large."""
    reach = strides.extent(shape, stride)
    storage = Storage.meta(reach * dtype.itemsize)
    return Tensor(storage, dtype, 0, shape, stride, requires_grad)

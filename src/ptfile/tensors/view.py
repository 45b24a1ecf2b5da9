"""The part of a tensor that is arithmetic: where its elements lie in the storage, and the views made from it.

Nothing here looks at a byte, so that all of it works on a storage that has not been read.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from ptfile.errors import TensorError
from ptfile.tensors import strides
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.11 has it in `typing`

    from ptfile.tensors.storage import Storage
    from ptfile.tensors.strides import Ints
    from ptfile.tensors.tensor import Tensor


class View(Attributed):
    """Storage, dtype, offset, shape, stride and flags of a tensor; offset and strides count elements."""

    __slots__ = ("_conj", "_dtype", "_neg", "_offset", "_requires_grad", "_shape", "_storage", "_stride")

    def __init__(
        self,
        storage: Storage,
        dtype: DType,
        offset: int,
        shape: Sequence[int],
        stride: Sequence[int],
        requires_grad: bool = False,
        conj: bool = False,
        neg: bool = False,
    ) -> None:
        strides.check_view(storage.nbytes(), dtype.itemsize, offset, shape, stride)
        self._storage = storage
        self._dtype = dtype
        self._offset = offset
        self._shape = tuple(shape)
        self._stride = tuple(stride)
        self._requires_grad = False
        self._conj = conj
        self._neg = neg
        self.python_side = None
        if requires_grad:
            self.requires_grad = requires_grad
        if conj and not dtype.is_complex:
            raise TensorError(f"elements of {dtype} have no conjugate")

    @classmethod
    def checked(cls, storage: Storage, dtype: DType, offset: int, shape: Ints, stride: Ints) -> Self:
        """A view that is known to lie within the storage, since `check_view` let it, or one like it, pass."""
        self = cls.__new__(cls)
        self._storage = storage
        self._dtype = dtype
        self._offset = offset
        self._shape = shape
        self._stride = stride
        self._requires_grad = False
        self._conj = False
        self._neg = False
        self.python_side = None
        return self

    def _derive(self, offset: int, shape: Sequence[int], stride: Sequence[int], dtype: DType | None = None) -> Tensor:
        """Another view of the storage, flags kept."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def shape(self) -> Ints:
        return self._shape

    @property
    def ndim(self) -> int:
        return len(self._shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, which is not the size of the storage."""
        return self.numel() * self._dtype.itemsize

    @property
    def device(self) -> str:
        """The device tag of the storage: where the tensor was, or shall be in PyTorch."""
        return self._storage.device

    @property
    def requires_grad(self) -> bool:
        """What PyTorch shall know about the tensor; ptfile computes no gradients. May be set."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not (self._dtype.is_floating_point or self._dtype.is_complex):
            raise TensorError(f"only floating point and complex tensors can require gradients, not {self._dtype}")
        self._requires_grad = bool(value)

    def dim(self) -> int:
        """How many dimensions there are."""
        return len(self._shape)

    @overload
    def size(self) -> Ints: ...
    @overload
    def size(self, dim: int) -> int: ...
    def size(self, dim: int | None = None) -> Ints | int:
        """The shape, or the size of one dimension."""
        return self._shape if dim is None else self._shape[strides.normal_dim(dim, self.ndim)]

    @overload
    def stride(self) -> Ints: ...
    @overload
    def stride(self, dim: int) -> int: ...
    def stride(self, dim: int | None = None) -> Ints | int:
        """Elements from one index to the next in each dimension, or in one."""
        return self._stride if dim is None else self._stride[strides.normal_dim(dim, self.ndim)]

    def storage_offset(self) -> int:
        """Elements between the start of the storage and the first of the tensor."""
        return self._offset

    def untyped_storage(self) -> Storage:
        """The storage, the same object for every view of it."""
        return self._storage

    def numel(self) -> int:
        """How many elements there are."""
        return strides.numel(self._shape)

    def nelement(self) -> int:
        """The same as `numel()`."""
        return self.numel()

    def element_size(self) -> int:
        """The same as `itemsize`."""
        return self._dtype.itemsize

    def is_contiguous(self) -> bool:
        """Whether the elements lie row by row without gaps."""
        return strides.is_contiguous(self._shape, self._stride)

    def is_conj(self) -> bool:
        """Whether the values are the conjugates of what the storage holds."""
        return self._conj

    def is_neg(self) -> bool:
        """Whether the values are the negatives of what the storage holds."""
        return self._neg

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("a tensor without dimensions has no len()")
        return self._shape[0]

    @property
    def T(self) -> Tensor:  # noqa: N802  (PyTorch's name)
        """The dimensions in reverse order."""
        return self.permute(*range(self.ndim - 1, -1, -1))

    def t(self) -> Tensor:
        """The transpose of a tensor of at most two dimensions."""
        if self.ndim > 2:
            raise TensorError(f"t() takes a tensor of at most 2 dimensions, not {self.ndim}", fix="Use transpose()")
        return self.T

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """The view with two dimensions swapped."""
        return self._derive(self._offset, *strides.transpose(self._shape, self._stride, dim0, dim1))

    def permute(self, *dims: SupportsIndex | Sequence[SupportsIndex]) -> Tensor:
        """The view with its dimensions in this order."""
        return self._derive(self._offset, *strides.permute(self._shape, self._stride, ints(dims)))

    def squeeze(self, dim: int | None = None) -> Tensor:
        """The view without dimensions of size 1, or without `dim` if its size is 1."""
        return self._derive(self._offset, *strides.squeeze(self._shape, self._stride, dim))

    def unsqueeze(self, dim: int) -> Tensor:
        """The view with a new dimension of size 1 in front of `dim`."""
        return self._derive(self._offset, *strides.unsqueeze(self._shape, self._stride, dim))

    def expand(self, *sizes: SupportsIndex | Sequence[SupportsIndex]) -> Tensor:
        """The view with dimensions of size 1 repeated to these sizes, without copying; -1 keeps a size."""
        return self._derive(self._offset, *strides.expand(self._shape, self._stride, ints(sizes)))

    def as_strided(
        self, size: Sequence[SupportsIndex], stride: Sequence[SupportsIndex], storage_offset: int | None = None
    ) -> Tensor:
        """Any view of the storage. The offset counts from the storage's start.

        Raises TensorError if the view reaches outside.
        """
        offset = self._offset if storage_offset is None else operator.index(storage_offset)
        return self._derive(offset, ints([size]), ints([stride]))

    def view(self, *shape: SupportsIndex | Sequence[SupportsIndex] | DType) -> Tensor:
        """The same elements in another shape (one size may be -1), or the same bytes as another dtype.

        Raises TensorError if that is not possible without a copy; `reshape` copies then.

        >>> import ptfile
        >>> ptfile.arange(6).view(2, -1)
        tensor([[0, 1, 2],
                [3, 4, 5]])
        >>> ptfile.tensor([1.0]).view(ptfile.int32)
        tensor([1065353216], dtype=ptfile.int32)
        """
        if len(shape) == 1 and isinstance(shape[0], DType):
            return self._view_dtype(shape[0])
        new_shape = strides.infer_size(ints(shape), self.numel())
        new_stride = strides.reshape_view(self._shape, self._stride, new_shape)
        if new_stride is None:
            raise TensorError(
                f"no view of shape {new_shape} exists of sizes {self._shape} with strides {self._stride}",
                fix="Use reshape(), which copies where it must",
            )
        return self._derive(self._offset, new_shape, new_stride)

    def _view_dtype(self, dtype: DType) -> Tensor:
        if (self._conj or self._neg) and dtype is not self._dtype:
            raise TensorError(
                "the bytes of this tensor are not its values, which are conjugated or negated",
                fix="Call resolve_conj() and resolve_neg() first",
            )
        place = strides.reinterpret(self._offset, self._shape, self._stride, self.itemsize, dtype.itemsize)
        return self._derive(*place, dtype)


def ints(sizes: Sequence[Any]) -> Ints:
    """Sizes as a user gives them, `(2, 3)` or `((2, 3),)`, as a tuple of ints."""
    if len(sizes) == 1 and isinstance(sizes[0], Sequence):
        sizes = sizes[0]
    return tuple(operator.index(size) for size in sizes)

"""The tensor: a view of a storage with the values in it, in numpy's terms and PyTorch's names."""

from __future__ import annotations

import operator
from itertools import accumulate
from types import EllipsisType
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

from ptfile._lazy import np
from ptfile.errors import LimitError, TensorError, UnsupportedError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.operators import NumpyProtocols
from ptfile.tensors.python_side import give_attributes
from ptfile.tensors.reading import as_array, bytes_of_view
from ptfile.tensors.storage import Bytes, Storage, import_torch, interpret, python_values
from ptfile.tensors.view import View, ints

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import jax
    import numpy.typing as npt
    import torch

    from ptfile.tensors.dtypes import DType
    from ptfile.tensors.strides import BasicIndex

EXPANDED_COPY = 1 << 32
"""Bytes that a copy may take when it is larger than the storage it copies from.

A few bytes of a file can describe a view of 2**60 elements, all of them the same one.
"""
LIST_ITEM = 64
"""Bytes that an element costs in a list, roughly."""
CHECKED_ELEMENT = 16
"""Bytes that an index costs while it is checked, at most."""


class Tensor(View, NumpyProtocols):
    """A strided view of a storage: everything a `.pt` file says about a tensor. Never the owner of the bytes.

    `offset` and `stride` count elements. `conj` and `neg` say that the values are the conjugates or the negatives of
    what the storage holds. Raises TensorError if the view does not lie within the storage.

    Views share the storage, and making them reads nothing:

    >>> import ptfile
    >>> numbers = ptfile.arange(10)
    >>> evens = numbers[::2]
    >>> evens *= 2
    >>> numbers
    tensor([ 0,  1,  4,  3,  8,  5, 12,  7, 16,  9])
    """

    __slots__ = ("__weakref__",)

    def _derive(self, offset: int, shape: Sequence[int], stride: Sequence[int], dtype: DType | None = None) -> Tensor:
        dtype = dtype or self._dtype
        grad = self._requires_grad and (dtype.is_floating_point or dtype.is_complex)
        return Tensor(self._storage, dtype, offset, shape, stride, grad, self._conj, self._neg)

    # Reading ------------------------------------------------------------------------------------------------------

    def numpy(self) -> npt.NDArray[Any]:
        """The elements as a numpy array in the same memory; `requires_grad` does not matter.

        The array is read-only if the storage is, if several indexes are one element (an expanded tensor), and if it had
        to be a copy: bool bytes other than 0 and 1 are no bools to numpy, and are corrected; and of an open checkpoint,
        a view of part of a large storage that has not been read is read alone (docs/open.md). Raises UnsupportedError
        for a dtype numpy lacks, TensorError if the conj or neg flag is set.
        """
        if self._conj or self._neg:
            raise TensorError(
                "a numpy array cannot say that its values are conjugated or negated",
                fix="Call resolve_conj() and resolve_neg() first",
            )
        array = self._elements()
        if strides.may_overlap(self._shape, self._stride):
            array.flags.writeable = False
        return array

    def _elements(self) -> npt.NDArray[Any]:
        """The elements as stored, flags ignored."""
        if self._dtype is not dtypes.bool:
            return self._strided(self._dtype.numpy)
        # Look at no more than the bytes that the view reaches, which are few even if its elements are very many.
        data, offset, stride = self._bytes()
        reached = data[offset:][: strides.extent(self._shape, stride)]
        return as_array(interpret(reached, dtypes.bool), dtypes.bool.numpy, 0, self._shape, stride)

    def raw_array(self) -> npt.NDArray[Any]:
        """The elements as bytes without a meaning: enough to copy them, whatever the dtype."""
        return self._strided(np.dtype((np.void, self.itemsize)))

    def _strided(self, element: np.dtype[Any]) -> npt.NDArray[Any]:
        data, offset, stride = self._bytes()
        return as_array(data, element, offset, self._shape, stride)

    def _bytes(self) -> tuple[Bytes, int, strides.Ints]:
        """Bytes in memory, and the offset and strides with which they hold the elements."""
        return bytes_of_view(self._storage, self._offset, self._shape, self._stride, self.itemsize)

    def values_array(self) -> npt.NDArray[Any]:
        """The values for reading, conj and neg resolved: an array that may share the memory or be a copy."""
        part = {dtypes.complex32: dtypes.float16, dtypes.bcomplex32: dtypes.bfloat16}.get(self._dtype)
        if part is None:
            array = self._elements()
        else:
            # numpy has no pairs of 2-byte floats; complex64 holds each of their values exactly.
            pairs = Tensor(
                self._storage, part, self._offset * 2, (*self._shape, 2), (*(step * 2 for step in self._stride), 1)
            )
            self.afford(pairs.numel() * 4)
            array = pairs._elements().astype(np.float32, order="C").view(np.complex64)[..., 0]
        if self._conj or self._neg:
            self.afford(self.nbytes)
        if self._conj:
            array = np.conjugate(array)
        return np.negative(array) if self._neg else array

    def afford(self, cost: int, nbytes: int | None = None) -> None:
        """Refuse to write out a huge view of a small storage. `nbytes`: of what is written out, if not the elements."""
        if cost > EXPANDED_COPY and (self.nbytes if nbytes is None else nbytes) > self._storage.nbytes():
            raise LimitError(
                f"a copy of this view takes {cost} bytes, of a storage of {self._storage.nbytes()}",
                limit="expanded_copy",
                allowed=EXPANDED_COPY,
                actual=cost,
                fix="If you mean it, copy it in numpy: `x.numpy().copy()`",
            )

    def tolist(self) -> Any:
        """The values as Python numbers, in lists as deep as there are dimensions; a number if there are none."""
        # Of (2**60, 0) there is no element, and a list for each of 2**60 rows.
        rows = max(accumulate(self._shape, operator.mul), default=1)
        self.afford(rows * LIST_ITEM, rows * self.itemsize)
        return python_values(self.values_array())

    def item(self) -> Any:
        """The only value as a Python number. Raises TensorError if there is more or less than one."""
        if self.numel() != 1:
            raise TensorError(f"item() takes a tensor of one element, and this has {self.numel()}")
        return python_values(self.values_array().reshape(()))

    def data_ptr(self) -> int:
        """Address of the first element; 0 if there is none."""
        return self._storage.data_ptr() + self._offset * self.itemsize if self.numel() else 0

    def torch(self) -> torch.Tensor:
        """The same view as a `torch.Tensor`, on the CPU (or meta). Tensors that share a storage here share it there.

        Read-only bytes are copied, once a storage. Raises UnsupportedError if PyTorch is missing or has no such dtype,
        or if the tensor was of a subclass.
        """
        package = import_torch()
        element = getattr(package, self._dtype.name, None)
        if element is None:
            raise UnsupportedError(
                f"PyTorch {package.__version__} has no dtype {self._dtype.name}", fix="Install a newer PyTorch"
            )
        tensor: torch.Tensor
        if self.device == "meta":
            tensor = package.empty_strided(self._shape, self._stride, dtype=element, device="meta")
        else:
            storage = self._storage.torch()
            tensor = package.empty(0, dtype=element, device="cpu").set_(
                storage, self._offset, self._shape, self._stride
            )
        if self._conj:
            tensor = tensor.conj()
        if self._neg:
            tensor = package._neg_view(tensor)  # noqa: SLF001  (there is no public way)
        tensor.requires_grad_(self._requires_grad)
        return cast("torch.Tensor", give_attributes(self.python_side, tensor))

    def jax(self, *, narrow: bool = False) -> jax.Array:
        """The elements as a JAX array, in the same memory where JAX can: do not write to the tensor then.

        narrow: whether 64-bit elements become 32-bit ones while JAX's own 64-bit types are off, rather than an error.
        Raises UnsupportedError if JAX is missing or has no such dtype, TensorError for numbers that narrow ones cannot
        hold, or if the conj or neg flag is set.
        """
        from ptfile.tensors.jax_arrays import jax_array

        return jax_array(self.numpy(), narrow=narrow)

    # Copies -------------------------------------------------------------------------------------------------------

    def _copy(self, stride: Sequence[int]) -> Tensor:
        """A copy with a storage of its own and these strides, which leave no gaps."""
        self.afford(self.nbytes)
        storage = Storage(np.zeros(self.nbytes, np.uint8), self.device)
        copy = Tensor(storage, self._dtype, 0, self._shape, stride, self._requires_grad)
        if self._conj or self._neg:
            copy._elements()[...] = self.values_array()
        else:
            copy.raw_array()[...] = self.raw_array()
        return copy

    def clone(self) -> Tensor:
        """A copy with a storage of its own that holds these elements and no others.

        As in PyTorch the dimensions keep their order in memory, and the conj and neg flags are resolved.
        """
        return self._copy(strides.dense(self._shape, self._stride))

    def contiguous(self) -> Tensor:
        """The tensor itself if its elements lie row by row without gaps, else a copy that does."""
        return self if self.is_contiguous() else self._copy(strides.contiguous(self._shape))

    def detach(self) -> Tensor:
        """The same view without `requires_grad`."""
        return Tensor(self._storage, self._dtype, self._offset, self._shape, self._stride, False, self._conj, self._neg)

    def resolve_conj(self) -> Tensor:
        """The tensor itself, or a copy whose storage holds the conjugates if the flag is set."""
        return self.clone() if self._conj else self

    def resolve_neg(self) -> Tensor:
        """The tensor itself, or a copy whose storage holds the negatives if the flag is set."""
        return self.clone() if self._neg else self

    def reshape(self, *shape: SupportsIndex | Sequence[SupportsIndex]) -> Tensor:
        """The elements in another shape, one size may be -1: a view if there is one, else a copy."""
        new_shape = strides.infer_size(ints(shape), self.numel())
        viewable = strides.reshape_view(self._shape, self._stride, new_shape) is not None
        return (self if viewable else self.contiguous()).view(new_shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The dimensions from `start_dim` to `end_dim`, both counted, joined into one."""
        rank = max(self.ndim, 1)
        start, end = strides.normal_dim(start_dim, rank), strides.normal_dim(end_dim, rank)
        if not self._shape:
            return self.reshape(1)
        if start == end:
            return self
        if start > end:
            raise TensorError(f"flatten() joins dimensions from a first to a last, not {start} to {end}")
        joined = strides.numel(self._shape[start : end + 1])
        return self.reshape(*self._shape[:start], joined, *self._shape[end + 1 :])

    # Writing ------------------------------------------------------------------------------------------------------

    def writable_array(self) -> npt.NDArray[Any]:
        """The elements for writing in place. Raises TensorError if they are read-only, overlap or have a flag set."""
        if self._conj or self._neg:
            raise TensorError(
                "a tensor with its conj or neg flag set cannot be written in place",
                fix="Call resolve_conj() and resolve_neg() first",
            )
        self._check_writable()
        return self._strided(self._dtype.numpy)

    def _check_writable(self) -> None:
        if strides.may_overlap(self._shape, self._stride):
            raise TensorError(
                "several indexes of this tensor may be one element, so it cannot be written in place",
                fix="Copy it first: `.clone()`",
            )
        if not self._storage.data.flags.writeable:
            raise TensorError("the bytes of this tensor are read-only", fix="Copy it first: `.clone()`")

    def copy_(self, source: Tensor | npt.ArrayLike) -> Tensor:
        """Write the values of another tensor or array over these, converted and broadcast. Returns this tensor."""
        if isinstance(source, Tensor):
            strides.expand(source.shape, source.stride(), self._shape)  # raises if it does not broadcast
            if source.dtype is self._dtype and (source.is_conj(), source.is_neg()) == (self._conj, self._neg):
                self._check_writable()
                self.raw_array()[...] = source.raw_array()
                return self
        self._assign(..., source)
        return self

    def _assign(self, index: Any, value: Any) -> None:
        target = self.writable_array()
        values = value.values_array() if isinstance(value, Tensor) else value
        try:
            check_range(values, target.dtype)
            target[index] = values
        except (ValueError, OverflowError) as error:
            raise TensorError(f"this value cannot be written into a tensor of {self._dtype}: {error}") from error

    def fill_(self, value: Any) -> Tensor:
        """Write one value over every element. Returns this tensor."""
        return self.copy_(value)

    def zero_(self) -> Tensor:
        """Write bytes of zero over every element. Returns this tensor."""
        self._check_writable()
        self.raw_array()[...] = np.zeros((), np.dtype((np.void, self.itemsize)))
        return self

    # Indexing -----------------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        """A view for ints, slices, Ellipsis and None, which reads nothing; a copy for masks and lists of indexes."""
        basic = _basic(index)
        if basic is not None:
            return self._derive(*strides.index_view(self._offset, self._shape, self._stride, basic))
        chosen = self.resolve_conj().resolve_neg()
        # Raw elements, because choosing among them needs no meaning. numpy's IndexErrors are what a user expects.
        result = np.asarray(chosen.raw_array()[_numpy_index(index)])
        stride = strides.contiguous(result.shape)
        return Tensor(Storage(result, self.device), self._dtype, 0, result.shape, stride, self._requires_grad)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write in place, into the storage that every other view of it sees."""
        if _basic(index) is not None:
            self[index].copy_(value)
        else:
            self._assign(_numpy_index(index), value)

    def __iter__(self) -> Iterator[Tensor]:
        if not self._shape:
            raise TypeError("a tensor without dimensions cannot be iterated over")
        return (self[i] for i in range(self._shape[0]))

    def __contains__(self, element: Any) -> bool:
        self.afford(self.numel())
        return element in self.values_array()

    # One value, copies, text --------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise TensorError(
                f"the truth of a tensor of {self.numel()} elements is ambiguous",
                fix="Ask numpy: `x.numpy().any()` or `.all()`",
            )
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.numel() != 1 or self._dtype.is_floating_point or self._dtype.is_complex:
            raise TypeError("only an integer tensor of one element can be an index")
        return operator.index(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self._shape else super().__format__(spec)

    def __reduce__(self) -> tuple[Any, ...]:
        # The storage is an object of its own in a pickle or a deepcopy, so views that share it still do afterwards.
        flags = (self._requires_grad, self._conj, self._neg)
        place = (self._storage, self._dtype, self._offset, self._shape, self._stride, *flags)
        return (type(self), place, self.python_state())

    def __repr__(self) -> str:
        from ptfile.tensors.text import tensor_text

        return tensor_text(self)


def check_range(values: Any, element: np.dtype[Any]) -> None:
    """Raise OverflowError for Python's ints that the element type cannot hold: numpy before 2.0 wraps them around."""
    if element.kind in "iu" and isinstance(values, int | list | tuple):
        natural = np.asarray(values)
        bounds = np.iinfo(element)
        if (
            natural.dtype.kind in "iu"
            and natural.size
            and not bounds.min <= natural.min() <= natural.max() <= bounds.max
        ):
            raise OverflowError(f"{element} holds numbers from {bounds.min} to {bounds.max}")


def _basic(index: Any) -> tuple[BasicIndex, ...] | None:
    """The index as a tuple if strides can say it, else None."""
    items = index if isinstance(index, tuple) else (index,)
    basic = all(
        item is None
        or isinstance(item, slice | EllipsisType)
        or (isinstance(item, SupportsIndex) and not isinstance(item, bool) and _is_one_index(item))
        for item in items
    )
    return items if basic else None


def _is_one_index(item: Any) -> bool:
    """Arrays and tensors have `__index__`; only integer ones without dimensions are an index."""
    if isinstance(item, Tensor):
        return not item.shape and item.dtype is not dtypes.bool
    if isinstance(item, np.ndarray | np.generic):
        return not item.shape and item.dtype.kind in "iu"
    return True


def _numpy_index(index: Any) -> Any:
    items = index if isinstance(index, tuple) else (index,)
    arrays = tuple(item.values_array() if isinstance(item, Tensor) else item for item in items)
    return arrays if isinstance(index, tuple) else arrays[0]

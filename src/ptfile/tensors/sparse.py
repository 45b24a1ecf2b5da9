"""Sparse tensors: COO, and the compressed layouts CSR, CSC, BSR and BSC.

The indices are checked when a tensor is made only as far as its shape says; that they point inside it is checked before
they are followed, once their bytes are there (`check`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ptfile._lazy import np
from ptfile.errors import LimitError, TensorError
from ptfile.tensors import dtypes
from ptfile.tensors.constants import LAYOUTS, Constant
from ptfile.tensors.create import zeros
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed, give_attributes
from ptfile.tensors.storage import import_torch
from ptfile.tensors.strides import numel
from ptfile.tensors.tensor import CHECKED_ELEMENT, EXPANDED_COPY, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

_TOO_LARGE = 1 << 63
"""Sizes are 64-bit integers to PyTorch."""
_INDEX_DTYPES = (dtypes.int64, dtypes.int32)
COMPRESSED = {"sparse_csr": "row", "sparse_bsr": "row", "sparse_csc": "column", "sparse_bsc": "column"}
"""The compressed layouts, and which dimension of the matrix their pointers run along."""


class _Sparse(Attributed):
    """What the sparse layouts have in common."""

    __slots__ = ("_values", "layout", "requires_grad", "shape")

    def __init__(self, layout: Constant, values: Tensor, shape: tuple[int, ...], requires_grad: bool) -> None:
        if not all(type(size) is int and 0 <= size < _TOO_LARGE for size in shape):
            raise TensorError(f"the shape of a sparse tensor is {shape!r:.60}, which is not a tuple of counts")
        self.layout = layout
        self.shape = tuple(shape)
        self.requires_grad = requires_grad
        self.python_side = None
        self._values = values

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def device(self) -> str:
        return self._values.device

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def size(self) -> tuple[int, ...]:
        return self.shape

    def tables(self) -> tuple[Tensor, ...]:
        """What `check` reads."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise TensorError unless every index lies inside the shape; LimitError if that would take long to tell."""
        for table in self.tables():
            table.afford(table.numel() * CHECKED_ELEMENT)
        self._check_tables()

    def _check_tables(self) -> None:
        raise NotImplementedError

    def _fill(self, target: npt.NDArray[Any]) -> None:
        """Put the elements into a dense array of zeros; called after `check`."""
        raise NotImplementedError

    def to_dense(self) -> Tensor:
        """A strided tensor with the same elements. Raises TensorError if an index points outside the shape."""
        self.check()
        cost = numel(self.shape) * self.dtype.itemsize
        if cost > EXPANDED_COPY:
            problem = f"the dense elements of a sparse tensor of shape {self.shape} take too much memory"
            raise LimitError(problem, limit="expanded_copy", allowed=EXPANDED_COPY, actual=cost, fix="Use its values()")
        self._values.afford(self._values.nbytes)
        dense = zeros(self.shape, dtype=self.dtype, device=self.device)
        self._fill(dense.writable_array())
        return dense

    def numpy(self) -> npt.NDArray[Any]:
        """The dense elements as a numpy array: always a copy."""
        return self.to_dense().numpy()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("a sparse tensor as an array is always a copy")
        return np.asarray(self.numpy(), dtype)

    def tolist(self) -> Any:
        return self.to_dense().tolist()

    def _text(self, **parts: Tensor) -> str:
        inner = ", ".join(f"{name}={part!r}" for name, part in parts.items())
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({inner}, size={self.shape}, layout={self.layout}{grad})"


class SparseTensor(_Sparse):
    """A COO tensor: `indices` of shape (sparse dimensions, elements), `values` of shape (elements, *dense)."""

    __slots__ = ("_indices", "_is_coalesced")

    def __init__(
        self,
        indices: Tensor,
        values: Tensor,
        shape: tuple[int, ...],
        is_coalesced: bool | None = None,
        requires_grad: bool = False,
    ) -> None:
        """`is_coalesced`: whether every index is there once, in order; None if nothing said so."""
        super().__init__(LAYOUTS["sparse_coo"], values, shape, requires_grad)
        if indices.ndim != 2 or indices.dtype not in _INDEX_DTYPES or values.ndim < 1:
            raise TensorError("the indices of a COO tensor are not integers of shape (dimensions, elements)")
        sparse, elements = indices.shape
        if values.shape[0] != elements or sparse > len(shape) or values.shape[1:] != tuple(shape[sparse:]):
            problem = f"indices of shape {indices.shape} and values of shape {values.shape} do not fit {tuple(shape)}"
            raise TensorError(f"a COO tensor: {problem}")
        self._indices = indices
        self._is_coalesced = is_coalesced

    def indices(self) -> Tensor:
        return self._indices

    def values(self) -> Tensor:
        return self._values

    def is_coalesced(self) -> bool:
        """Whether every index is there once, in order. Where nothing says so it is known only for fewer than two."""
        return self._indices.shape[1] < 2 if self._is_coalesced is None else self._is_coalesced

    @property
    def coalesced_flag(self) -> bool | None:
        """What the file said: files up to PyTorch 2.0 say nothing, which is None."""
        return self._is_coalesced

    def sparse_dim(self) -> int:
        return self._indices.shape[0]

    def dense_dim(self) -> int:
        return self.ndim - self.sparse_dim()

    def tables(self) -> tuple[Tensor, ...]:
        return (self._indices,)

    def _check_tables(self) -> None:
        indices = self._indices.numpy()
        bounds = np.array(self.shape[: self.sparse_dim()], np.int64).reshape(-1, 1)
        if indices.size and not ((indices >= 0) & (indices < bounds)).all():
            raise TensorError(f"an index of a COO tensor lies outside its shape {self.shape}")

    def _fill(self, target: npt.NDArray[Any]) -> None:
        values = self._values.values_array()
        if not self.sparse_dim():
            target[...] = values.sum(0, dtype=target.dtype) if len(values) else 0
        elif target.size:
            np.add.at(target, tuple(self._indices.numpy()), values)  # an index that is there twice counts twice

    def torch(self) -> torch.Tensor:
        """The same as a sparse `torch.Tensor`, checked."""
        self.check()
        package = import_torch()
        tensor = package.sparse_coo_tensor(
            self._indices.torch(),
            self._values.torch(),
            self.shape,
            is_coalesced=self._is_coalesced,
            check_invariants=True,
        )
        return cast("torch.Tensor", give_attributes(self.python_side, tensor.requires_grad_(self.requires_grad)))

    def __repr__(self) -> str:
        return self._text(indices=self._indices, values=self._values)


class SparseCompressedTensor(_Sparse):
    """A CSR, CSC, BSR or BSC tensor: pointers along one dimension, indices along the other, and values or blocks."""

    __slots__ = ("_compressed_indices", "_plain_indices")

    def __init__(
        self,
        layout: Constant,
        compressed_indices: Tensor,
        plain_indices: Tensor,
        values: Tensor,
        shape: tuple[int, ...],
        requires_grad: bool = False,
    ) -> None:
        """`compressed_indices` has shape (*batch, rows + 1) (columns for CSC and BSC; blocks of them for BSR and BSC),
        `plain_indices` (*batch, elements), `values` (*batch, elements[, block rows, block columns], *dense).
        """
        if layout.name not in COMPRESSED:
            raise TensorError(f"{layout} is not a compressed layout")
        super().__init__(layout, values, shape, requires_grad)
        self._compressed_indices = compressed_indices
        self._plain_indices = plain_indices
        batch = compressed_indices.ndim - 1
        if batch < 0 or plain_indices.ndim != batch + 1 or len(shape) < batch + 2:
            raise TensorError(f"the parts of a {layout} tensor do not fit its shape {self.shape}")
        if {compressed_indices.dtype, plain_indices.dtype} - set(_INDEX_DTYPES):
            raise TensorError(f"the indices of a {layout} tensor are not integers")
        block = values.shape[batch + 1 : batch + 3] if self._has_blocks else ()
        dense = self.shape[batch + 2 :]
        if values.shape != (*plain_indices.shape, *block, *dense) or (self._has_blocks and len(block) != 2):
            raise TensorError(f"values of shape {values.shape} do not fit a {layout} tensor of shape {self.shape}")
        expected = (*self.shape[:batch], self._lines + 1)
        if compressed_indices.shape != expected or plain_indices.shape[:batch] != self.shape[:batch]:
            raise TensorError(
                f"the pointers of a {layout} tensor have shape {compressed_indices.shape}, not {expected}"
            )

    @property
    def _has_blocks(self) -> bool:
        return self.layout.name in ("sparse_bsr", "sparse_bsc")

    @property
    def _batch(self) -> int:
        return self._compressed_indices.ndim - 1

    @property
    def _block(self) -> tuple[int, int]:
        rows, columns = self._values.shape[self._batch + 1 : self._batch + 3] if self._has_blocks else (1, 1)
        return rows, columns

    def _grid(self) -> tuple[int, int]:
        """Rows and columns of elements, or of blocks."""
        sizes = self.shape[self._batch : self._batch + 2]
        for size, block in zip(sizes, self._block, strict=True):
            if block == 0 or size % block:
                raise TensorError(f"blocks of {self._block} do not divide the shape {self.shape}")
        return sizes[0] // self._block[0], sizes[1] // self._block[1]

    @property
    def _lines(self) -> int:
        return self._grid()[0 if COMPRESSED[self.layout.name] == "row" else 1]

    def compressed_indices(self) -> Tensor:
        """PyTorch's crow_indices() or ccol_indices()."""
        return self._compressed_indices

    def plain_indices(self) -> Tensor:
        """PyTorch's col_indices() or row_indices()."""
        return self._plain_indices

    def values(self) -> Tensor:
        return self._values

    def tables(self) -> tuple[Tensor, ...]:
        return self._compressed_indices, self._plain_indices

    def _check_tables(self) -> None:
        pointers = self._compressed_indices.numpy().astype(np.int64)
        indices = self._plain_indices.numpy()
        rows, columns = self._grid()
        bound = columns if COMPRESSED[self.layout.name] == "row" else rows
        steps = np.diff(pointers)
        fits = (pointers[..., 0] == 0).all() and (pointers[..., -1] == indices.shape[-1]).all()
        if not fits or (steps < 0).any() or (steps > bound).any():
            raise TensorError(f"the pointers of a {self.layout} tensor do not run from 0 to its number of elements")
        if indices.size and (indices.min() < 0 or indices.max() >= bound):
            raise TensorError(f"an index of a {self.layout} tensor lies outside its shape {self.shape}")

    def _fill(self, target: npt.NDArray[Any]) -> None:
        (height, width), (rows, columns), dense = self._block, self._grid(), self.shape[self._batch + 2 :]
        pointers, indices = self._compressed_indices.numpy(), self._plain_indices.numpy()
        steps = np.diff(pointers).reshape(numel(self.shape[: self._batch]), self._lines)  # elements of each line
        batches, lines = (np.repeat(place.reshape(-1), steps.reshape(-1)) for place in np.indices(steps.shape))
        places = (lines, indices.reshape(-1)) if COMPRESSED[self.layout.name] == "row" else (indices.reshape(-1), lines)
        blocks = target.reshape(len(steps), rows, height, columns, width, *dense).swapaxes(2, 3)
        values = self._values.values_array().reshape(indices.size, height, width, *dense)
        np.add.at(blocks, (batches, *places), values)

    def torch(self) -> torch.Tensor:
        """The same as a sparse `torch.Tensor`, checked."""
        self.check()
        package = import_torch()
        parts = (self._compressed_indices.torch(), self._plain_indices.torch(), self._values.torch())
        layout = getattr(package, self.layout.name)
        tensor = package.sparse_compressed_tensor(*parts, self.shape, layout=layout, check_invariants=True)
        return cast("torch.Tensor", give_attributes(self.python_side, tensor.requires_grad_(self.requires_grad)))

    def __repr__(self) -> str:
        return self._text(
            compressed_indices=self._compressed_indices, plain_indices=self._plain_indices, values=self._values
        )

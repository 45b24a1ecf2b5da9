"""Nested tensors: several tensors of different shapes in one buffer; and wrappers without elements of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ptfile.errors import TensorError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.storage import import_torch
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    import torch


class NestedTensor(Attributed):
    """A strided nested tensor: a flat buffer, and for each component its shape, strides and offset in it.

    `sizes` and `strides` have shape (components, dimensions), `offsets` (components,); all count elements and are
    int64. Whether the components lie inside the buffer is checked when they are taken out, for that needs their bytes.
    """

    __slots__ = ("_buffer", "_offsets", "_sizes", "_strides")

    def __init__(self, buffer: Tensor, sizes: Tensor, strides: Tensor, offsets: Tensor) -> None:
        tables = (sizes, strides, offsets)
        if buffer.ndim != 1 or any(table.dtype is not dtypes.int64 for table in tables):
            raise TensorError("a nested tensor is not made of a flat buffer and three tables of int64")
        if sizes.shape != strides.shape or sizes.shape[:1] != offsets.shape or offsets.ndim != 1:
            raise TensorError(
                f"a nested tensor has {sizes.shape} sizes, {strides.shape} strides, {offsets.shape} offsets"
            )
        self._buffer = buffer
        self._sizes = sizes
        self._strides = strides
        self._offsets = offsets
        self.python_side = None

    @property
    def dtype(self) -> DType:
        return self._buffer.dtype

    @property
    def device(self) -> str:
        return self._buffer.device

    @property
    def requires_grad(self) -> bool:
        return self._buffer.requires_grad

    def values(self) -> Tensor:
        """The flat buffer."""
        return self._buffer

    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Buffer, sizes, strides and offsets, as they are saved."""
        return self._buffer, self._sizes, self._strides, self._offsets

    def unbind(self) -> list[Tensor]:
        """The components, as views of the buffer. Raises TensorError if one lies outside it."""
        base = self._buffer
        step = base.stride(0) if base.numel() else 1
        components = []
        tables = (self._sizes.tolist(), self._strides.tolist(), self._offsets.tolist())
        # A scalar component has no sizes: the table has no columns then, and its rows are empty.
        for shape, stride, offset in zip(*tables, strict=True):
            strides.check_view(base.numel() * base.itemsize, base.itemsize, offset, shape, stride)
            place = base.storage_offset() + offset * step
            view = [length * step for length in stride]
            components.append(Tensor(base.untyped_storage(), base.dtype, place, shape, view, base.requires_grad))
        return components

    def check(self) -> None:
        """Raise TensorError unless every component lies inside the buffer."""
        self.unbind()

    def tolist(self) -> list[Any]:
        """The components as lists of Python numbers."""
        return [component.tolist() for component in self.unbind()]

    def torch(self) -> torch.Tensor:
        """The same as a nested `torch.Tensor` over the same buffer, checked."""
        self.check()
        package = import_torch()
        view = package._nested_view_from_buffer  # noqa: SLF001  (what torch.load itself calls)
        return cast("torch.Tensor", view(*(part.torch() for part in self.parts())))

    def __len__(self) -> int:
        return self._offsets.shape[0]

    def __repr__(self) -> str:
        if not all(part.untyped_storage().is_loaded for part in self.parts()):
            return f"nested_tensor({len(self)} components, dtype={self.dtype}, not read)"
        inner = ",\n  ".join(repr(component) for component in self.unbind())
        return f"nested_tensor([\n  {inner}\n])"


class WrapperTensor(Attributed):
    """A tensor without elements, of a subclass that keeps them elsewhere, such as among its attributes."""

    __slots__ = ("dtype", "layout", "requires_grad", "saved_as", "shape")

    def __init__(self, dtype: DType, shape: tuple[int, ...], layout: Any, requires_grad: bool, saved_as: Any) -> None:
        """`saved_as`: the arguments it is saved with."""
        self.dtype = dtype
        self.shape = shape
        self.layout = layout
        self.requires_grad = requires_grad
        self.saved_as = saved_as
        self.python_side = None

    def size(self) -> tuple[int, ...]:
        return self.shape

    def __repr__(self) -> str:
        kind = self.python_side.kind if self.python_side else self.saved_as[0]
        names = ", ".join(self.attributes)
        return f"<tensor of {kind}, shape={self.shape}, dtype={self.dtype}, attributes: {names or 'none'}>"

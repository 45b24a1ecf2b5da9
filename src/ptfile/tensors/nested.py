"""Nested tensors: several tensors of different shapes in one buffer; and wrappers without elements of their own."""

from __future__ import annotations

import importlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from ptfile.errors import TensorError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed, PythonSide, give_attributes
from ptfile.tensors.storage import import_torch
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    import torch


class _Components(Attributed):
    """What all nested tensors do: they are several tensors in the memory of one."""

    __slots__ = ()

    def values(self) -> Tensor:
        """The tensor in whose memory the components lie."""
        raise NotImplementedError

    def unbind(self) -> list[Tensor]:
        """The components, as views of the values. Raises TensorError if one lies outside them."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        return self.values().dtype

    @property
    def device(self) -> str:
        return self.values().device

    def tables(self) -> tuple[Tensor, ...]:
        """What `check` reads."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise TensorError unless every component lies inside the values."""
        self.unbind()

    def tolist(self) -> list[Any]:
        """The components as lists of Python numbers."""
        return [component.tolist() for component in self.unbind()]


class NestedTensor(_Components):
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
    def requires_grad(self) -> bool:
        return self._buffer.requires_grad

    def values(self) -> Tensor:
        """The flat buffer."""
        return self._buffer

    def tables(self) -> tuple[Tensor, ...]:
        return self._sizes, self._strides, self._offsets

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


class JaggedTensor(_Components):
    """A jagged nested tensor: components that differ in one dimension, joined along it.

    `values` holds the components one behind the other along its dimension `ragged_dim`; component i begins at
    `offsets[i]` there, and ends at `offsets[i + 1]`, or after `lengths[i]` if there are lengths: those who have them
    leave gaps. Whether that lies inside the values is checked when the components are taken out, for it needs bytes.
    """

    __slots__ = ("saved_as",)

    _PARTS = ("values", "offsets", "lengths", "_ragged_idx", "_metadata_cache", "requires_grad")
    _OWN = ("_values", "_offsets", "_lengths", "_ragged_idx", "_metadata_cache", "_dynamo_")

    def __init__(self, saved_as: dict[str, Any]) -> None:
        """`saved_as`: the keyword arguments that PyTorch saves and builds it with."""
        self.saved_as = saved_as
        self.python_side = None
        if set(saved_as) != set(self._PARTS):
            raise TensorError("a jagged tensor has other parts than PyTorch gives it")
        values, offsets, lengths, ragged_idx, cache, requires_grad = (saved_as[name] for name in self._PARTS)
        for table in (offsets,) if lengths is None else (offsets, lengths):
            if type(table) is not Tensor or table.ndim != 1 or table.dtype not in (dtypes.int32, dtypes.int64):
                raise TensorError("the offsets or lengths of a jagged tensor are no 1-D tensor of integers")
        if not isinstance(values, Tensor) or type(ragged_idx) is not int or not 1 <= ragged_idx <= values.ndim:
            raise TensorError("a jagged tensor has no values with a ragged dimension")
        if offsets.numel() < 1 or (lengths is not None and lengths.numel() != offsets.numel() - 1):
            raise TensorError("a jagged tensor has offsets and lengths that do not belong together")
        if type(cache) is not dict or type(requires_grad) is not bool:
            raise TensorError("a jagged tensor has a cache or a requires_grad that PyTorch does not write")

    @property
    def requires_grad(self) -> bool:
        return bool(self.saved_as["requires_grad"])

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes by name; a dict of its own, without what PyTorch keeps in attributes for itself."""
        return {name: value for name, value in super().attributes.items() if not name.startswith(self._OWN)}

    def tables(self) -> tuple[Tensor, ...]:
        lengths = self.lengths()
        return (self.offsets(),) if lengths is None else (self.offsets(), lengths)

    @property
    def ragged_dim(self) -> int:
        """The dimension of `values`, and of each component, along which the components are joined."""
        return int(self.saved_as["_ragged_idx"]) - 1

    def values(self) -> Tensor:
        """All components, joined."""
        return cast("Tensor", self.saved_as["values"])

    def offsets(self) -> Tensor:
        """Where the components begin, and where the last one ends; shape (components + 1,)."""
        return cast("Tensor", self.saved_as["offsets"])

    def lengths(self) -> Tensor | None:
        """The sizes of the components along the ragged dimension, shape (components,); None: up to the next offset."""
        return cast("Tensor | None", self.saved_as["lengths"])

    def unbind(self) -> list[Tensor]:
        """The components, as views of the values. Raises TensorError if one lies outside them."""
        values, offsets, lengths = self.values(), self.offsets().tolist(), self.lengths()
        size = values.shape[self.ragged_dim]
        sizes = [stop - start for start, stop in pairwise(offsets)] if lengths is None else lengths.tolist()
        before = (slice(None),) * self.ragged_dim
        components = []
        for start, length in zip(offsets, sizes, strict=False):  # the last offset begins nothing
            if not 0 <= start <= start + length <= size:
                raise TensorError(f"a component of a jagged tensor is at {start}, {length} long, of {size}")
            components.append(values[(*before, slice(start, start + length))])
        return components

    def torch(self) -> torch.Tensor:
        """The same as a jagged `torch.Tensor` over the same values, checked."""
        self.check()
        import_torch()
        module = importlib.import_module("torch.nested._internal.nested_tensor")

        def plain(part: object) -> object:  # PyTorch adds its own attributes when it builds the tensor
            return part.detach().torch() if isinstance(part, Tensor) else part

        arguments = {name: plain(part) for name, part in self.saved_as.items()}
        arguments["_metadata_cache"] = {name: plain(part) for name, part in self.saved_as["_metadata_cache"].items()}
        made = module.NestedTensor(**arguments)
        return cast("torch.Tensor", give_attributes(PythonSide(state=self.attributes), made))

    def __len__(self) -> int:
        return self.offsets().shape[0] - 1

    def __repr__(self) -> str:
        parts = [part for part in (self.values(), self.offsets(), self.lengths()) if part is not None]
        if not all(part.untyped_storage().is_loaded for part in parts):
            return f"nested_tensor({len(self)} components, dtype={self.dtype}, layout=jagged, not read)"
        inner = ",\n  ".join(repr(component) for component in self.unbind())
        return f"nested_tensor([\n  {inner}\n], layout=jagged)"


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

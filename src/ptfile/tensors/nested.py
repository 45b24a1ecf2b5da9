"""Nested tensors: several tensors of different shapes in one buffer; and wrappers without elements of their own."""

from __future__ import annotations

import importlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from ptfile._lazy import np
from ptfile.errors import TensorError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed, PythonSide, give_attributes
from ptfile.tensors.storage import import_torch
from ptfile.tensors.tensor import CHECKED_ELEMENT, LIST_ITEM, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import torch

_COMPONENT = 1 << 10
"""Bytes that a number in a table of components costs, roughly, when the components are made."""
_AT_ONCE = 1 << 14
"""Components that are checked at once, for the sake of the memory that it takes."""
_MOST_SHOWN, _EDGES = 1_000, 3
"""Components that are written out one by one; of more, this many at each end."""


class _Components(Attributed):
    """What all nested tensors do: they are several tensors in the memory of one."""

    __slots__ = ()

    def values(self) -> Tensor:
        """The tensor in whose memory the components lie."""
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
        """Raise TensorError unless every component lies inside the values; LimitError if that would take long to tell.

        The tables are looked at as they are: there may be very many components, and none of them is made for this.
        """
        for table in self.tables():
            table.afford(table.numel() * CHECKED_ELEMENT)
        self._check_tables()

    def _check_tables(self) -> None:
        raise NotImplementedError

    def _components(self) -> Iterator[Tensor]:
        """The views, not checked."""
        raise NotImplementedError

    def unbind(self) -> list[Tensor]:
        """The components, as views of the values. Raises TensorError if one lies outside them."""
        self.check()
        for table in self.tables():
            table.afford(table.numel() * _COMPONENT)
        return list(self._components())

    def tolist(self) -> list[Any]:
        """The components as lists of Python numbers."""
        components = self.unbind()
        # Components may share their elements, and be very many more than there are values.
        elements = sum(component.numel() for component in components)
        self.values().afford(elements * LIST_ITEM, elements * self.dtype.itemsize)
        return [component.tolist() for component in components]

    def _listed(self) -> str:
        """All components, or the first and the last of many."""
        components = self.unbind()
        if len(components) > _MOST_SHOWN:
            shown = [*map(repr, components[:_EDGES]), "...", *map(repr, components[-_EDGES:])]
        else:
            shown = list(map(repr, components))
        return ",\n  ".join(shown)


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

    def _check_tables(self) -> None:
        base = self._buffer
        tables = [table.numpy() for table in self.tables()]
        for start in range(0, len(self), _AT_ONCE):
            sizes, steps, offsets = (table[start : start + _AT_ONCE] for table in tables)
            bad = _first_outside(base.numel(), offsets, sizes, steps)
            if bad is not None:
                place = int(offsets[bad]), sizes[bad].tolist(), steps[bad].tolist()
                strides.check_view(base.numel() * base.itemsize, base.itemsize, *place)

    def _components(self) -> Iterator[Tensor]:
        base = self._buffer
        step = base.stride(0) if base.numel() else 1
        tables = (self._sizes.tolist(), self._strides.tolist(), self._offsets.tolist())
        # A scalar component has no sizes: the table has no columns then, and its rows are empty.
        for shape, stride, offset in zip(*tables, strict=True):
            place = base.storage_offset() + offset * step
            view = [length * step for length in stride]
            yield Tensor(base.untyped_storage(), base.dtype, place, shape, view, base.requires_grad)

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
        return f"nested_tensor([\n  {self._listed()}\n])"


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

    def _check_tables(self) -> None:
        offsets, lengths = self.offsets().numpy().astype(np.int64), self.lengths()
        starts, whole = offsets[:-1], np.int64(self.values().shape[self.ragged_dim])
        # In an order in which no number overflows.
        bad = (starts < 0) | (starts > whole)
        if lengths is None:
            bad |= (offsets[1:] < starts) | (offsets[1:] > whole)
        else:
            bad |= (lengths.numpy() < 0) | (lengths.numpy() > whole - np.clip(starts, 0, whole))
        if bad.any():
            first = int(bad.argmax())
            length = offsets[first + 1].item() - starts[first].item() if lengths is None else lengths.numpy()[first]
            raise TensorError(f"a component of a jagged tensor is at {starts[first]}, {length} long, of {whole}")

    def _components(self) -> Iterator[Tensor]:
        offsets, lengths = self.offsets().tolist(), self.lengths()
        sizes = [stop - start for start, stop in pairwise(offsets)] if lengths is None else lengths.tolist()
        values, before = self.values(), (slice(None),) * self.ragged_dim
        for start, length in zip(offsets, sizes, strict=False):  # the last offset begins nothing
            yield values[(*before, slice(start, start + length))]

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
        return f"nested_tensor([\n  {self._listed()}\n], layout=jagged)"


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


def _first_outside(
    numel: int, offsets: npt.NDArray[Any], shapes: npt.NDArray[Any], steps: npt.NDArray[Any]
) -> int | None:
    """The first of many views that `strides.check_view` would refuse in so many elements; None if it takes them all.

    offsets: of shape (views,); shapes, steps: (views, dimensions), all int64. No number overflows on the way.
    """
    bad = (offsets < 0) | (shapes < 0).any(1) | (steps < 0).any(1)
    left = numel - 1 - np.maximum(offsets, 0)  # elements behind the last one that the dimensions so far reach
    count = np.ones(offsets.shape, np.int64)
    beyond = left < 0
    for size, step in zip(np.maximum(shapes.T, 1), steps.T, strict=True):
        beyond |= ((size > 1) & (step > left // np.maximum(size - 1, 1))) | (count > strides.INT64_MAX // size)
        left = left - np.where(beyond, 0, (size - 1) * np.where(beyond, 0, step))
        count = count * np.where(beyond, 1, size)
    bad |= beyond & (shapes != 0).all(1)
    if shapes.shape[1] > strides.MAX_RANK:
        bad[:] = True
    return int(bad.argmax()) if bad.any() else None

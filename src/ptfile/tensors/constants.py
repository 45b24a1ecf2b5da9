"""PyTorch's small constants: sizes, devices, layouts, memory formats, quantization schemes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import SupportsIndex


class Size(tuple[int, ...]):
    """`torch.Size`: a shape that was saved as a value. A tuple of ints."""

    __slots__ = ()

    def __new__(cls, sizes: Iterable[SupportsIndex] = ()) -> Size:  # noqa: PYI034
        return super().__new__(cls, (size.__index__() for size in sizes))

    def numel(self) -> int:
        """Number of elements of a tensor of this size."""
        product = 1
        for size in self:
            product *= size
        return product

    def __repr__(self) -> str:
        return f"ptfile.Size({list(self)})"


@dataclass(frozen=True)
class Device:
    """`torch.device`: a kind of device, and which of them.

    >>> Device("cuda", 0)
    device(type='cuda', index=0)
    """

    type: str
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"


class Constant:
    """One of a closed set of names. There is one object per name; compare with `is`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"ptfile.{self.name}"

    def __reduce__(self) -> tuple[type[Constant], tuple[str]]:
        return type(self), (self.name,)

    def __copy__(self) -> Constant:
        return self

    def __deepcopy__(self, _: object) -> Constant:
        return self

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Constant) and other.name == self.name

    def __hash__(self) -> int:
        return hash((type(self), self.name))


class Layout(Constant):
    """How a tensor's elements are kept: strided or one of the sparse ways."""


class MemoryFormat(Constant):
    """In which order the dimensions of a strided tensor follow one another."""


class QScheme(Constant):
    """How quantized integers become numbers."""


def _table(kind: type[Constant], names: str) -> Mapping[str, Constant]:
    return MappingProxyType({name: kind(name) for name in names.split()})


LAYOUTS = _table(Layout, "strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc jagged _mkldnn")
MEMORY_FORMATS = _table(MemoryFormat, "contiguous_format preserve_format channels_last channels_last_3d")
QSCHEMES = _table(
    QScheme,
    "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams",
)

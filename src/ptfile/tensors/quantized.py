"""Quantized tensors: integers, and the scales and zero points that make numbers of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ptfile._lazy import np
from ptfile.errors import TensorError, UnsupportedError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.constants import QSCHEMES, Constant
from ptfile.tensors.create import from_numpy
from ptfile.tensors.dtypes import DType
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.storage import Storage, import_torch
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import torch

_INTEGERS = {dtypes.qint8: dtypes.int8, dtypes.quint8: dtypes.uint8, dtypes.qint32: dtypes.int32}
PER_BYTE = {dtypes.quint4x2: 2, dtypes.quint2x4: 4}
"""Elements in a byte where that is more than one; the first is in the lowest bits."""
_MOST_SHOWN = 1 << 20
"""Elements of a tensor whose numbers are worked out to be printed."""


@dataclass(frozen=True, slots=True)
class PerTensor:
    """One scale and zero point: value = (integer - zero_point) * scale."""

    scale: float
    zero_point: int

    @property
    def qscheme(self) -> Constant:
        return QSCHEMES["per_tensor_affine"]


@dataclass(frozen=True, slots=True, eq=False)
class PerChannel:
    """A scale and a zero point, of integers or floats, for each index along one axis: tensors of shape (channels,)."""

    scales: Tensor
    zero_points: Tensor
    axis: int

    @property
    def qscheme(self) -> Constant:
        floating = self.zero_points.dtype.is_floating_point
        return QSCHEMES["per_channel_affine_float_qparams" if floating else "per_channel_affine"]


class QuantizedTensor(Attributed):
    """A strided view of quantized integers. Strides count elements, of which a byte may hold several.

    So does the offset, but where a byte holds several it counts bytes: that is where PyTorch begins to read.
    """

    __slots__ = ("_offset", "_storage", "_stride", "dtype", "quantizer", "requires_grad", "shape")

    def __init__(
        self,
        storage: Storage,
        dtype: DType,
        offset: int,
        shape: Sequence[int],
        stride: Sequence[int],
        quantizer: PerTensor | PerChannel,
        requires_grad: bool = False,
    ) -> None:
        """Raises TensorError if the view lies outside the storage or the scales do not fit the shape."""
        if not dtype.is_quantized:
            raise TensorError(f"a quantized tensor cannot be of {dtype}")
        per_byte = PER_BYTE.get(dtype, 1)
        strides.check_view(storage.nbytes() * per_byte, dtype.itemsize, offset, shape, stride)
        if per_byte > 1:
            strides.check_view(storage.nbytes() * per_byte, 1, offset * per_byte, shape, stride)
        self._storage = storage
        self._offset = offset
        self._stride = tuple(stride)
        self.dtype = dtype
        self.shape = tuple(shape)
        self.quantizer = quantizer
        self.requires_grad = requires_grad
        self.python_side = None
        if isinstance(quantizer, PerChannel):
            self._check_channels(quantizer)

    def _check_channels(self, quantizer: PerChannel) -> None:
        axis, scales, zero_points = quantizer.axis, quantizer.scales, quantizer.zero_points
        if not 0 <= axis < len(self.shape):
            raise TensorError(f"a tensor of shape {self.shape} is quantized along axis {axis}")
        channels = (self.shape[axis],)
        if scales.shape != channels or zero_points.shape != channels:
            raise TensorError(f"{channels[0]} channels have scales of shape {scales.shape} and {zero_points.shape}")

    @property
    def device(self) -> str:
        return self._storage.device

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def size(self) -> tuple[int, ...]:
        return self.shape

    def stride(self) -> tuple[int, ...]:
        return self._stride

    def storage_offset(self) -> int:
        return self._offset

    def untyped_storage(self) -> Storage:
        return self._storage

    def numel(self) -> int:
        return strides.numel(self.shape)

    def qscheme(self) -> Constant:
        return self.quantizer.qscheme

    def int_repr(self) -> Tensor:
        """The integers, sharing the storage. Raises UnsupportedError where a byte holds several."""
        integers = _INTEGERS.get(self.dtype)
        if integers is None:
            raise UnsupportedError(f"the integers of {self.dtype} share bytes", fix="Use dequantize()")
        return Tensor(self._storage, integers, self._offset, self.shape, self._stride)

    def dequantize(self) -> Tensor:
        """The numbers that the integers stand for, as a float32 tensor of its own."""
        integers = self._integers()
        if isinstance(self.quantizer, PerTensor):
            return from_numpy(
                (integers - self.quantizer.zero_point).astype(np.float32) * np.float32(self.quantizer.scale)
            )
        along = [-1 if axis == self.quantizer.axis else 1 for axis in range(self.ndim)]
        scales = self.quantizer.scales.numpy().astype(np.float32).reshape(along)
        zero_points = self.quantizer.zero_points.numpy().reshape(along)
        return from_numpy((integers - zero_points).astype(np.float32) * scales)

    def _integers(self) -> npt.NDArray[np.int64]:
        integers = self.unpacked() if self.dtype in PER_BYTE else self.int_repr()
        integers.afford(integers.numel() * 8)
        return integers.numpy().astype(np.int64)

    def unpacked(self) -> Tensor:
        """The integers, one in a byte, where several share one: a copy."""
        per_byte = PER_BYTE[self.dtype]
        bits = 8 // per_byte
        data = self._storage.data
        parts = [data >> (bits * place) & ((1 << bits) - 1) for place in range(per_byte)]
        every = Storage(np.stack(parts, axis=1).reshape(-1))
        return Tensor(every, dtypes.uint8, self._offset * per_byte, self.shape, self._stride)

    def numpy(self) -> npt.NDArray[Any]:
        """The dequantized numbers: a copy."""
        return self.dequantize().numpy()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("a quantized tensor as an array is always a copy")
        return np.asarray(self.numpy(), dtype)

    def tolist(self) -> Any:
        return self.dequantize().tolist()

    def torch(self) -> torch.Tensor:
        """The same as a quantized `torch.Tensor`, on the same torch storage as other tensors of this storage."""
        package = import_torch()
        typed = package.storage.TypedStorage(
            wrap_storage=self._storage.torch(), dtype=getattr(package, self.dtype.name), _internal=True
        )
        quantizer = self.quantizer
        if isinstance(quantizer, PerTensor):
            parameters: tuple[Any, ...] = (package.per_tensor_affine, quantizer.scale, quantizer.zero_point)
        else:
            scheme = getattr(package, quantizer.qscheme.name)
            parameters = (scheme, quantizer.scales.torch(), quantizer.zero_points.torch(), quantizer.axis)
        place = (self._offset, self.shape, self._stride)
        rebuild = package._utils._rebuild_qtensor  # noqa: SLF001  (what torch.load itself calls)
        return cast("torch.Tensor", rebuild(typed, *place, parameters, self.requires_grad, {}))

    def __repr__(self) -> str:
        if not self._storage.is_loaded:
            values = f"tensor(..., shape={self.shape}, not read"
        elif self.numel() > _MOST_SHOWN:
            values = f"tensor(..., shape={self.shape}"
        else:
            values = repr(self.dequantize())[:-1]
        return f"{values}, dtype={self.dtype}, quantizer={self.quantizer})"

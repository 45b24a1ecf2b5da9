"""`torch.nn.Parameter`: a tensor that a module trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ptfile.tensors.python_side import give_attributes
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    import torch


class Parameter(Tensor):
    """A tensor that was a parameter of a module. It shares the storage of the tensor it is made from.

    >>> import ptfile
    >>> Parameter(ptfile.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        place = (data.untyped_storage(), data.dtype, data.storage_offset(), data.shape, data.stride())
        super().__init__(*place, requires_grad, data.is_conj(), data.is_neg())

    @property
    def data(self) -> Tensor:
        """The same elements as a plain tensor without gradient: a new object each time."""
        return self.detach()

    def torch(self) -> torch.nn.Parameter:
        """The same as a `torch.nn.Parameter`."""
        from ptfile.tensors.storage import import_torch

        parameter = import_torch().nn.Parameter(self.data.torch(), self.requires_grad)
        return cast("torch.nn.Parameter", give_attributes(self.python_side, parameter))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.data, self.requires_grad), self.python_state()

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

"""`torch.Generator`: the state of a source of random numbers, kept and not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ptfile.tensors.constants import Device
from ptfile.tensors.storage import import_torch
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    import torch


class Generator:
    """What PyTorch saves of a generator: its device, seed, offset (on devices that count) and state bytes."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.seed = 0
        self.offset: int | None = None
        self.state: Tensor | None = None

    def torch(self) -> torch.Generator:
        """The same as a `torch.Generator` on the CPU."""
        generator = import_torch().Generator()
        if self.state is not None:
            generator.set_state(self.state.torch())
        return cast("torch.Generator", generator)

    def __repr__(self) -> str:
        return f"<ptfile.Generator on {self.device}, seed={self.seed}>"

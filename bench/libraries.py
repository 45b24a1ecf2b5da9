"""The libraries that save and load, each with tensors of its own, behind one face."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt


class Library(Protocol):
    """Nothing is imported before one is made."""

    def save(self, value: object, path: Path) -> None: ...

    def load(self, path: Path) -> Any: ...

    def tensor(self, array: npt.NDArray[Any]) -> Any:
        """A tensor of the library, in memory as the library likes it."""

    def array(self, tensor: Any) -> npt.NDArray[Any]:
        """The array that a tensor of the library is; raises if it is none of its tensors."""


class Ptfile:
    def __init__(self) -> None:
        import ptfile

        self._ptfile = ptfile

    def save(self, value: object, path: Path) -> None:
        self._ptfile.save(value, path)

    def load(self, path: Path) -> Any:
        return self._ptfile.load(path)

    def tensor(self, array: npt.NDArray[Any]) -> Any:
        return self._ptfile.from_numpy(array)

    def array(self, tensor: Any) -> npt.NDArray[Any]:
        assert type(tensor) is self._ptfile.Tensor
        return tensor.numpy()


class Torch:
    def __init__(self) -> None:
        import torch

        self._torch = torch

    def save(self, value: object, path: Path) -> None:
        self._torch.save(value, path)

    def load(self, path: Path) -> Any:
        return self._torch.load(path, weights_only=True)

    def tensor(self, array: npt.NDArray[Any]) -> Any:
        return self._torch.from_numpy(array).clone()

    def array(self, tensor: Any) -> npt.NDArray[Any]:
        assert type(tensor) is self._torch.Tensor
        return tensor.numpy()


class DropIn(Torch):
    """PyTorch's tensors, saved and loaded by ptfile."""

    def __init__(self) -> None:
        super().__init__()
        import ptfile.torch

        self._drop_in = ptfile.torch

    def save(self, value: object, path: Path) -> None:
        self._drop_in.save(value, path)

    def load(self, path: Path) -> Any:
        return self._drop_in.load(path, weights_only=True)


LIBRARIES: Mapping[str, type[Library]] = {"ptfile": Ptfile, "torch": Torch, "drop-in": DropIn}

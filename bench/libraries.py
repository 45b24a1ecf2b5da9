"""The libraries that save and load, each with tensors of its own, behind one face."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

File: TypeAlias = Path | BytesIO


class Library(Protocol):
    """Nothing is imported before one is made."""

    def save(self, value: object, file: File, *, fsync: bool = False) -> None:
        """`fsync`: and have it on the disk."""

    def load(self, file: File, *, mmap: bool = False) -> Any: ...

    def part(self, path: Path, name: str, part: slice) -> npt.NDArray[Any]:
        """A part of one tensor of a dict, read from a file of which no more is wanted."""

    def tensor(self, array: npt.NDArray[Any]) -> Any:
        """A tensor of the library, in memory as the library likes it."""

    def array(self, tensor: Any) -> npt.NDArray[Any]:
        """The array that a tensor of the library is; raises if it is none of its tensors."""


class Ptfile:
    def __init__(self) -> None:
        import ptfile

        self._ptfile = ptfile

    def save(self, value: object, file: File, *, fsync: bool = False) -> None:
        self._ptfile.save(value, file, fsync=fsync)

    def load(self, file: File, *, mmap: bool = False) -> Any:
        return self._ptfile.load(file, mmap=mmap)

    def part(self, path: Path, name: str, part: slice) -> npt.NDArray[Any]:
        with self._ptfile.open(path) as checkpoint:
            return checkpoint[name][part].numpy()

    def tensor(self, array: npt.NDArray[Any]) -> Any:
        return self._ptfile.from_numpy(array)

    def array(self, tensor: Any) -> npt.NDArray[Any]:
        assert type(tensor) is self._ptfile.Tensor
        return tensor.numpy()


class Torch:
    def __init__(self) -> None:
        import torch

        self._torch = torch

    def save(self, value: object, file: File, *, fsync: bool = False) -> None:
        self._torch.save(value, file)
        if fsync:
            assert isinstance(file, Path)
            handle = os.open(file, os.O_RDWR)
            os.fsync(handle)
            os.close(handle)

    def load(self, file: File, *, mmap: bool = False) -> Any:
        return self._torch.load(file, weights_only=True, mmap=mmap)

    def part(self, path: Path, name: str, part: slice) -> npt.NDArray[Any]:
        return self.load(path, mmap=True)[name][part].clone().numpy()

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

    def save(self, value: object, file: File, *, fsync: bool = False) -> None:
        self._drop_in.save(value, file, fsync=fsync)

    def load(self, file: File, *, mmap: bool = False) -> Any:
        return self._drop_in.load(file, weights_only=True, mmap=mmap)


class Safetensors:
    """Another format, of tensors by name and nothing else; its tensors are numpy's arrays."""

    def __init__(self) -> None:
        import safetensors.numpy

        self._safetensors = safetensors.numpy

    def save(self, value: Any, path: Path) -> None:
        self._safetensors.save_file(value, path)

    def load(self, path: Path) -> dict[str, npt.NDArray[Any]]:
        return self._safetensors.load_file(path)

    def tensor(self, array: npt.NDArray[Any]) -> Any:
        return array

    def array(self, tensor: Any) -> npt.NDArray[Any]:
        return tensor


LIBRARIES: Mapping[str, type[Library]] = {"ptfile": Ptfile, "torch": Torch, "drop-in": DropIn}

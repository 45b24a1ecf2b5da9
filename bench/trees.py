"""What the works save and load. Always the same values, so that a loaded tree can be checked without the saved one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from libraries import Library


@dataclass(frozen=True, slots=True)
class Tensors:
    """A dict of float32 tensors, no two alike."""

    count: int
    numel: int

    @property
    def payload(self) -> int:
        return self.count * self.numel * 4

    def build(self, library: Library) -> dict[str, Any]:
        values = self._values()
        return {_name(i): library.tensor(values + np.float32(i)) for i in range(self.count)}

    def check(self, library: Library, loaded: Any) -> None:
        assert list(loaded) == [_name(i) for i in range(self.count)]
        values = self._values()
        for i, tensor in enumerate(loaded.values()):
            array = library.array(tensor)
            assert array.dtype == np.float32
            assert np.array_equal(array, values + np.float32(i)), f"{_name(i)} is wrong"

    def _values(self) -> npt.NDArray[np.float32]:
        return np.random.default_rng(0).random(self.numel, dtype=np.float32)


def _name(i: int) -> str:
    return f"layers.{i}.weight"


@dataclass(frozen=True, slots=True)
class Dicts:
    """A dict of dicts of scalars: 18 ints, 18 floats, 2 bools, 2 Nones for 40; no tensors."""

    count: int
    scalars: int = 40
    payload: int = 0

    def build(self, _: Library) -> dict[str, Any]:
        keys = [f"field{j:02}" for j in range(self.scalars)]
        return {f"entry{i}": dict(zip(keys, self._scalars(i), strict=True)) for i in range(self.count)}

    def check(self, library: Library, loaded: Any) -> None:
        expected = self.build(library)
        assert loaded == expected
        assert [type(value) for value in loaded["entry0"].values()] == [type(value) for value in self._scalars(0)]

    def _scalars(self, i: int) -> list[Any]:
        values: list[Any] = [i * 1000 + j if j % 2 else i + j / 64 for j in range(self.scalars)]
        values[-4:] = [True, False, None, None]
        return values


@dataclass(frozen=True, slots=True)
class Ints:
    """One tensor of 5 ints: the example of PyTorch's page about saving."""

    payload: int = 40

    def build(self, library: Library) -> Any:
        return library.tensor(np.arange(5))

    def check(self, library: Library, loaded: Any) -> None:
        assert library.array(loaded).tolist() == [0, 1, 2, 3, 4]

"""100,000 tensors of 16 floats: almost no bytes, so what is seen is the work for each tensor."""

from __future__ import annotations

from typing import Any

from harness import Contestant, Context
from libraries import Safetensors
from round_trip import file_of, round_trip
from trees import Tensors

_FULL, _QUICK = Tensors(100_000, 16), Tensors(10_000, 16)


class LoadSafetensors(Contestant):
    """The same tensors from a file of safetensors, as numpy's arrays."""

    def __init__(self, context: Context) -> None:
        self._library = Safetensors()
        self._tree = _QUICK if context.quick else _FULL
        self._path = file_of(context, "safetensors")
        self._library.save(self._tree.build(self._library), self._path)
        self.payload = self.touches = self._tree.payload

    def run(self) -> object:
        return self._library.load(self._path)

    def check(self, result: Any) -> None:
        in_order = sorted(result, key=lambda name: int(name.split(".")[1]))  # the format has an order of its own
        self._tree.check(self._library, {name: result[name] for name in in_order})


WORK = round_trip(
    name="small_tensors",
    title="100,000 tensors of 16 floats",
    quick_title="10,000 tensors of 16 floats",
    full=_FULL,
    quick=_QUICK,
    tiny=Tensors(2, 16),
    loading={"safetensors": LoadSafetensors},
    rounds=4,
    quick_rounds=1,
    scratch=256 << 20,
)

"""100,000 tensors of 16 floats: almost no bytes, so what is seen is the work for each tensor."""

from __future__ import annotations

from round_trip import round_trip
from trees import Tensors

WORK = round_trip(
    name="small_tensors",
    title="100,000 tensors of 16 floats",
    quick_title="10,000 tensors of 16 floats",
    full=Tensors(100_000, 16),
    quick=Tensors(10_000, 16),
    tiny=Tensors(2, 16),
    rounds=4,
    quick_rounds=1,
    scratch=256 << 20,
)

"""Target: `ptfile.scan`, which reads whatever there is and raises nothing. What it says is what `load` does."""

from __future__ import annotations

import io

import ptfile
from fuzz import load
from fuzz.oracle import attempt, require

generate = load.generate
mutate = load.mutate
_LIMITS = ptfile.Limits(inflated=1 << 20)


def check(data: bytes) -> None:
    """Raise Violation for a promise that does not hold for this file."""
    scanned = attempt("scan", lambda: ptfile.scan(io.BytesIO(data), limits=_LIMITS))
    require(scanned.loaded, f"scan gives {scanned}")
    verdict = scanned.value.verdict
    loaded = attempt("load", lambda: ptfile.load(io.BytesIO(data), limits=_LIMITS))
    if isinstance(loaded.error, ptfile.UnsafeError):
        require(verdict is not None and verdict.value == "unsafe", f"the verdict is {verdict}, and load gives {loaded}")
    if loaded.loaded:
        require(not scanned.value.refused_as, f"load is said to raise {scanned.value.refused_as}, and does not")

"""Target: `ptfile.open` and `ptfile.inspect`, which read tensors late or never. They agree with `load`."""

from __future__ import annotations

import io
from typing import Any

import ptfile
from fuzz import load
from fuzz.oracle import Outcome, attempt, require, require_same
from ptfile.tensors.python_side import Attributed

generate = load.generate
mutate = load.mutate
_LIMITS = ptfile.Limits(inflated=1 << 20)


def check(data: bytes) -> None:
    """Raise Violation for a promise that does not hold for this file."""
    eager = load.read(data, unknown="inert")
    opened = attempt("open", lambda: ptfile.open(io.BytesIO(data), limits=_LIMITS))
    summary = attempt("inspect", lambda: ptfile.inspect(io.BytesIO(data), limits=_LIMITS))
    if opened.loaded:
        with opened.value as checkpoint:
            _check_opened(checkpoint, eager, summary)
    else:
        require(type(eager.error) is type(opened.error), f"open gives {opened}, and load {eager}")
        require(type(summary.error) is type(opened.error), f"open gives {opened}, and inspect {summary}")


def _check_opened(checkpoint: ptfile.Checkpoint, eager: Outcome, summary: Outcome) -> None:
    names = attempt("the names of a checkpoint", lambda: list(checkpoint))
    if names.loaded:
        require(len(set(names.value)) == len(names.value), "two things in a checkpoint have one name")
        tensors = [name for name in names.value if isinstance(checkpoint[name], Attributed)]
        if summary.loaded:
            listed = {info.name for info in summary.value.tensors}
            require(listed <= set(tensors), f"inspect lists tensors that open has not: {listed - set(tensors)}")
    else:
        require(not summary.loaded, f"the names are {names}, and inspect gives a summary")
    for value in _tensors(checkpoint, names):
        attempt("reading a tensor", lambda: _read(value))  # noqa: B023  (called at once)
    if eager.loaded:
        require_same("what is loaded and what is opened", eager.value, checkpoint.root)


def _tensors(checkpoint: ptfile.Checkpoint, names: Outcome) -> list[Any]:
    return [checkpoint[name] for name in names.value or () if isinstance(checkpoint[name], Attributed)]


def _read(tensor: Any) -> None:
    """Have the bytes, and the checks that need them."""
    if hasattr(tensor, "untyped_storage") and tensor.device != "meta":
        tensor.untyped_storage().load()
    if hasattr(tensor, "check") and tensor.device != "meta":
        tensor.check()

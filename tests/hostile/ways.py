"""The ways to read a file. A further way is one more row of the table at the end.

What each way does with a file goes as far as a program would: whatever can be seen only in the tensors' bytes is looked
at as well.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ptfile
from tests.hostile.case import Case, Fails, Loads, Outcome, PyTorchs, Refuses

_SMALL = 1 << 12
"""Elements that are read one by one; of larger tensors only the storage is read."""
_LEFT_TO_PYTORCH = (60, 64)
"""TorchScript, and what is no checkpoint."""
_BUILT_BY_PYTORCH = frozenset({*range(14, 21), 25, 33, 36, *range(38, 48), 62})
"""Cases about what objects are given: with the drop-in they are PyTorch's own objects."""


@dataclass(frozen=True, slots=True)
class Way:
    run: Callable[[str], Any]
    """Reads the file at a path."""
    expects: Callable[[Case], Outcome | None]
    """What it must answer; None: such files are not its business."""
    loads: bool = True
    """Whether it gives the value, for the case to look at."""


def _same(case: Case) -> Outcome:
    return case.expected


def _lenient(case: Case) -> Outcome:
    """What is unsafe to make is what these ways are for: they make an inert record of it."""
    unsafe = isinstance(case.expected, Fails) and case.expected.letters == "U"
    return Loads() if unsafe else case.expected


def _drop_in(case: Case) -> Outcome | None:
    """PyTorch's rules and PyTorch's errors."""
    if case.number in _LEFT_TO_PYTORCH:
        return None
    if case.number in _BUILT_BY_PYTORCH:
        return PyTorchs()
    return Refuses() if isinstance(case.expected, Fails) else case.expected


def _read_lazily(path: str) -> Any:
    with ptfile.open(path, unknown="error") as checkpoint:
        for _, tensor in checkpoint.tensors():
            _read(tensor)
        return checkpoint.root


def _read(tensor: Any) -> None:
    """All of its elements."""
    for part in vars(type(tensor)).get("parts", lambda _: ())(tensor):
        _read(part)
    if hasattr(tensor, "check"):
        tensor.check()
    elif hasattr(tensor, "untyped_storage") and tensor.device != "meta":
        tensor.untyped_storage().load()
        if tensor.numel() <= _SMALL:
            tensor.tolist()


def _drop_in_load(path: str) -> Any:
    import ptfile.torch

    return ptfile.torch.load(path, weights_only=True)


def _scan(path: str) -> None:
    """A scan raises nothing, and says what a load does."""
    verdict = ptfile.scan(path).verdict
    try:
        ptfile.load(path)
    except ptfile.UnsafeError:
        assert verdict is not None
        assert verdict.value == "unsafe"
    except ptfile.PtfileError:
        pass


WAYS: dict[str, Way] = {
    "path": Way(ptfile.load, _same),
    "file": Way(lambda path: ptfile.load(io.BytesIO(Path(path).read_bytes())), _same),
    "mmap": Way(lambda path: ptfile.load(path, mmap=True), _same),
    "lazy": Way(_read_lazily, _same),
    "inert": Way(lambda path: ptfile.load(path, unknown="inert"), _lenient),
    "inspect": Way(ptfile.inspect, _lenient, loads=False),
    "scan": Way(_scan, lambda _: Loads(), loads=False),
    **({"torch": Way(_drop_in_load, _drop_in, loads=False)} if importlib.util.find_spec("torch") else {}),
}


def expected(case: Case, way: str) -> Outcome | None:
    """What a way must answer to a case; None: nothing, it is not asked."""
    return case.but[way] if way in case.but else WAYS[way].expects(case)

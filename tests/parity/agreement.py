"""Compare what ptfile loaded with what PyTorch loaded from the same file."""

from __future__ import annotations

import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

import ptfile
from ptfile.machine.names import Global, InertName
from ptfile.tensors.constants import Constant, Device, Size
from ptfile.tensors.generator import Generator
from tests.golden.expected_objects import attributes, class_name, is_record


def disagreements(ours: Any, theirs: Any) -> list[str]:
    """Where the two differ; empty if they agree."""
    comparison = Comparison()
    comparison.later("value", ours, theirs)
    comparison.finish()
    return comparison.found


class Comparison:
    """The state of one comparison: which objects and storages of one side are which of the other."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._pending: list[tuple[str, Any, Any]] = []
        self._by_theirs: dict[int, tuple[Any, Any]] = {}  # by identity; the tuples keep both sides alive
        self._by_ours: dict[int, tuple[Any, Any]] = {}
        self._storages: dict[int, tuple[ptfile.UntypedStorage, int]] = {}

    def same(self, path: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            self.found.append(f"{path}: ptfile {ours!r:.100}, PyTorch {theirs!r:.100}")

    def later(self, path: str, ours: Any, theirs: Any) -> None:
        self._pending.append((path, ours, theirs))

    def finish(self) -> None:
        while self._pending:
            path, ours, theirs = self._pending.pop()
            if not self._is_met(path, ours, theirs):
                self._compare(path, ours, theirs)

    def _is_met(self, path: str, ours: Any, theirs: Any) -> bool:
        """Whether both were met before; they must have been met together."""
        if not isinstance(theirs, (list, dict, set, np.ndarray, torch.Tensor)) or is_small(theirs):
            return False
        is_met = id(theirs) in self._by_theirs
        if self._by_theirs.setdefault(id(theirs), (ours, theirs))[0] is not ours:
            self.found.append(f"{path}: one object in PyTorch, two in ptfile")
        if self._by_ours.setdefault(id(ours), (theirs, ours))[0] is not theirs:
            self.found.append(f"{path}: one object in ptfile, two in PyTorch")
        return is_met

    def storage(self, path: str, ours: ptfile.UntypedStorage, theirs: torch.UntypedStorage) -> None:
        """The same bytes, and shared where the other side shares."""
        self.same(f"{path}.storage", ours.tobytes(), bytes(theirs))
        if ours.nbytes():  # PyTorch does not keep which storages without bytes are one
            known = self._storages.setdefault(id(ours), (ours, theirs._cdata))
            self.same(f"{path}.sharing", known[1], theirs._cdata)
            self.same(f"{path}.sharing", 1, sum(cdata == theirs._cdata for _, cdata in self._storages.values()))

    def _compare(self, path: str, ours: Any, theirs: Any) -> None:
        for kind, check in CHECKS.items():
            if isinstance(theirs, kind):
                check(self, path, ours, theirs)
                return
        if is_record(ours):
            _record(self, path, ours, theirs)
        else:
            self.same(f"{path}.class", type(ours), type(theirs))
            self.same(path, repr(ours), repr(theirs))
            for name, value in getattr(theirs, "__dict__", {}).items():
                self.later(f"{path}.{name}", vars(ours)[name], value)


def is_small(value: Any) -> bool:
    """Whether it may be one object on one side and several on the other, for nobody can tell."""
    return isinstance(value, torch.Size)


# containers


def _mapping(comparison: Comparison, path: str, ours: Any, theirs: Any) -> None:
    pairs = ours.inert_pairs if is_record(ours) else list(ours.items())
    if not is_record(ours):
        comparison.same(f"{path}.class", type(ours), type(theirs))
    comparison.same(f"{path}.length", len(pairs), len(theirs))
    for (our_key, our_value), (their_key, their_value) in zip(pairs, theirs.items(), strict=False):
        comparison.later(f"{path} key", our_key, their_key)
        comparison.later(f"{path}[{their_key!r:.40}]", our_value, their_value)
    if isinstance(theirs, OrderedDict):
        comparison.later(f"{path}.attributes", attributes(ours), theirs.__dict__)
    if isinstance(theirs, defaultdict):
        comparison.later(f"{path}.default_factory", ours.default_factory, theirs.default_factory)


def _sequence(comparison: Comparison, path: str, ours: Any, theirs: Any) -> None:
    if is_record(ours):  # a named tuple
        comparison.same(f"{path}.class", class_name(ours), f"{type(theirs).__module__}.{type(theirs).__qualname__}")
        ours = ours.inert_arguments if ours.inert_how == "new" else ours.inert_arguments[0]
    else:
        comparison.same(f"{path}.class", type(ours), type(theirs))
    comparison.same(f"{path}.length", len(ours), len(theirs))
    for index, pair in enumerate(zip(ours, theirs, strict=False)):
        comparison.later(f"{path}[{index}]", *pair)


def _set(comparison: Comparison, path: str, ours: Any, theirs: Any) -> None:
    comparison.same(f"{path}.class", type(ours), type(theirs))
    comparison.same(path, ours, theirs)


def _array(comparison: Comparison, path: str, ours: Any, theirs: Any) -> None:
    if is_record(ours):
        comparison.same(f"{path}.class", class_name(ours), "numpy.ma.core._mareconstruct")
        comparison.same(path, ours.inert_state[1:3], (theirs.shape, theirs.dtype))
        return
    comparison.same(f"{path}.class", type(ours), type(theirs))
    comparison.same(f"{path}.dtype", ours.dtype, theirs.dtype)
    comparison.same(f"{path}.strides", (ours.shape, ours.strides), (theirs.shape, theirs.strides))
    if theirs.dtype.hasobject:
        comparison.later(f"{path}.items", ours.tolist(), theirs.tolist())
    else:
        comparison.same(path, ours.tobytes(), theirs.tobytes())


def _number(comparison: Comparison, path: str, ours: Any, theirs: Any) -> None:
    comparison.same(f"{path}.class", type(ours), type(theirs))
    comparison.same(path, (ours.dtype, ours.tobytes()), (theirs.dtype, theirs.tobytes()))


# PyTorch's values


def _size(comparison: Comparison, path: str, ours: Any, theirs: torch.Size) -> None:
    comparison.same(path, (type(ours), tuple(ours)), (Size, tuple(theirs)))


def _device(comparison: Comparison, path: str, ours: Any, theirs: torch.device) -> None:
    comparison.same(path, ours, Device(theirs.type, theirs.index))


def _dtype(comparison: Comparison, path: str, ours: Any, theirs: torch.dtype) -> None:
    comparison.same(path, (type(ours), f"torch.{ours.name}"), (ptfile.DType, str(theirs)))


def _constant(comparison: Comparison, path: str, ours: Any, theirs: object) -> None:
    comparison.same(path, (isinstance(ours, Constant), f"torch.{ours.name}"), (True, str(theirs)))


def _generator(comparison: Comparison, path: str, ours: Any, theirs: torch.Generator) -> None:
    if is_record(ours):  # without a state, in files of PyTorch 1.0
        comparison.same(f"{path}.class", ours.inert_class, "torch._C.Generator")
        return
    comparison.same(f"{path}.class", type(ours), Generator)
    comparison.later(f"{path}.state", ours.state, theirs.get_state())
    comparison.later(f"{path}.torch", ours.torch().get_state().tolist(), theirs.get_state().tolist())


def _typed_storage(comparison: Comparison, path: str, ours: Any, theirs: torch.TypedStorage) -> None:
    is_typed = isinstance(ours, ptfile.TypedStorage)  # PyTorch gives these for untyped ones too
    comparison.same(f"{path}.dtype", f"torch.{ours.dtype.name}" if is_typed else "torch.uint8", str(theirs.dtype))
    comparison.storage(path, ours.untyped() if is_typed else ours, theirs._untyped_storage)


def _untyped_storage(comparison: Comparison, path: str, ours: Any, theirs: torch.UntypedStorage) -> None:
    comparison.storage(path, ours, theirs)


def _tensor(comparison: Comparison, path: str, ours: Any, theirs: torch.Tensor) -> None:
    from tests.parity.tensor_agreement import check_tensor

    check_tensor(comparison, path, ours, theirs)


# objects and names


def _name(comparison: Comparison, path: str, ours: Any, theirs: Any) -> None:
    """Only the last part of the name: where PyTorch keeps a function may differ from where it looks for it."""
    if is_record(ours):  # a method, of the object before it
        actual = ours.inert_arguments[-1]
    else:
        actual = str(ours) if isinstance(ours, Global | InertName) else ours.__qualname__
    comparison.same(path, actual.rpartition(".")[2], theirs.__name__)


def _record(comparison: Comparison, path: str, ours: Any, theirs: Any) -> None:
    """An inert record: the attributes that it has are those of the object, which may have more once it is loaded."""
    state = attributes(ours)
    for name in state.keys() & getattr(theirs, "__dict__", {}).keys():
        comparison.later(f"{path}.{name}", state[name], vars(theirs)[name])


CHECKS: Mapping[Any, Callable[[Comparison, str, Any, Any], None]] = {
    torch.Size: _size,
    torch.Tensor: _tensor,
    torch.TypedStorage: _typed_storage,
    torch.UntypedStorage: _untyped_storage,
    torch.Generator: _generator,
    torch.device: _device,
    torch.dtype: _dtype,
    (torch.layout, torch.memory_format, torch.qscheme): _constant,
    dict: _mapping,
    (list, tuple, deque): _sequence,
    (set, frozenset): _set,
    np.ndarray: _array,
    np.generic: _number,
    (type, types.FunctionType, types.BuiltinFunctionType): _name,
}
"""By the type on PyTorch's side; the first that fits."""

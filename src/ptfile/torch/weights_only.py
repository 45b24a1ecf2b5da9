"""What a pickle may name when real torch objects are built safely: PyTorch's own list, and what its user adds.

The rules are those of PyTorch's weights-only unpickler; the machine that applies them is ptfile's.
"""

from __future__ import annotations

import codecs
import functools
import pickle
import re
from collections import Counter, OrderedDict
from dataclasses import replace
from typing import Any

import torch
from torch import _weights_only_unpickler as theirs
from torch import serialization

from ptfile.errors import brief
from ptfile.machine.policy import TypeRules


def _cannot_extend(target: Any, items: list[Any]) -> None:
    what = "append to lists" if len(items) == 1 else "extend lists"
    message = f"Can only {what}, but got {type(target)}"
    raise pickle.UnpicklingError(message)


def _cannot_update(target: Any, pairs: list[tuple[Any, Any]]) -> None:
    opcode = "SETITEM" if len(pairs) == 1 else "SETITEMS"
    message = f"Can only {opcode} for dict, collections.OrderedDict, collections.Counter, but got {type(target)}"
    raise pickle.UnpicklingError(message)


def _cannot_build(target: Any, _: Any) -> None:
    message = (
        "Can only build Tensor, Parameter, OrderedDict or types allowlisted "
        f"via `add_safe_globals`, but got {type(target)}"
    )
    raise pickle.UnpicklingError(message)


_NOTHING = TypeRules(extend=_cannot_extend, update=_cannot_update, set_state=_cannot_build)
_TYPES: dict[type, TypeRules] = {
    list: replace(_NOTHING, extend=list.extend),
    dict: replace(_NOTHING, update=dict.update),
    set: replace(_NOTHING, add=set.update),
    OrderedDict: replace(
        _NOTHING, update=OrderedDict.update, set_state=lambda target, state: vars(target).update(state)
    ),
    Counter: replace(_NOTHING, update=dict.update),
    torch.Tensor: replace(_NOTHING, set_state=lambda target, state: target.set_(*state)),
    torch.nn.Parameter: replace(_NOTHING, set_state=lambda target, state: target.__setstate__(state)),
}
_REBUILD_MODULE = torch._utils.__name__
_NEED_NESTED = (
    "torch.nested._internal.nested_tensor.NestedTensor",
    "torch.nested._internal.nested_tensor._rebuild_njt",
    "torch._dynamo.decorators._DimRange",
)
_NEED_DISTRIBUTED = (
    "torch.distributed.device_mesh.DeviceMesh",
    "torch.distributed.tensor._dtensor_spec.DTensorSpec",
    "torch.distributed.tensor._dtensor_spec.TensorMeta",
    "torch.distributed.tensor.DTensor",
    "torch.distributed.tensor.placement_types.Partial",
    "torch.distributed.tensor.placement_types.Replicate",
    "torch.distributed.tensor.placement_types.Shard",
)
_PLEASE = (
    "Please file an issue with the following so that we can make `weights_only=True` compatible with your use case: "
)
_DOCS = (
    "\n\nCheck the documentation of torch.load to learn more about types accepted by default with weights_only "
    "https://pytorch.org/docs/stable/generated/torch.load.html."
)


@functools.cache  # PyTorch makes its table once, too
def _ids_of_allowed() -> frozenset[int]:
    return frozenset(map(id, theirs._get_allowed_globals().values()))


class TorchPolicy:
    """The rules for one load, as they stand when it begins. Raises pickle.UnpicklingError with PyTorch's messages."""

    def __init__(self) -> None:
        self._allowed: dict[str, Any] = theirs._get_allowed_globals()
        self._users: dict[str, Any] = theirs._get_user_allowed_globals()
        self._ids: frozenset[int] | None = None

    def _allows(self, target: Any) -> bool:
        """Whether an object may be called."""
        if self._ids is None:  # only the plain machine asks
            users = {id(value) for name, value in self._users.items() if name not in self._allowed}
            self._ids = _ids_of_allowed() | users
        return id(target) in self._ids

    def resolve(self, module: str, name: str) -> Any:
        """The object that a name stands for."""
        path = f"{module}.{name}"
        if module in theirs._blocklisted_modules:
            message = f"Trying to load unsupported GLOBAL {path} whose module {module} is blocked."
            raise pickle.UnpicklingError(message)
        # Python 2's names, which Python 3 still writes in protocol 2, and a module that PyTorch renamed.
        for old, new in (("__builtin__.", "builtins."), ("torch.tensor.", "torch._tensor.")):
            path = path.replace(old, new, 1) if path.startswith(old) else path
        for allowed in (self._allowed, self._users):
            if path in allowed:
                return allowed[path]
        if path in _NEED_NESTED:
            message = "``torch.nested`` and ``torch._dynamo`` must be imported to load nested jagged tensors (NJTs)"
            raise pickle.UnpicklingError(message)
        if path in _NEED_DISTRIBUTED:
            raise pickle.UnpicklingError("``torch.distributed.tensor`` must be imported to load DTensors")
        path = path.removeprefix("builtins.")
        message = (
            f"Unsupported global: GLOBAL {path} was not an allowed global by default. "
            f"Please use `torch.serialization.add_safe_globals([{path}])` or the "
            f"`torch.serialization.safe_globals([{path}])` context manager to allowlist this global "
            "if you trust this class/function."
        )
        raise pickle.UnpicklingError(message)

    def resolve_proved(self, module: str, name: str) -> Any:
        """The same for a pickle that was proved to call what makes tensors as PyTorch does, and no fake tensors."""
        if name == _rebuild_tensor_v2.__name__ and module == _REBUILD_MODULE:
            return _rebuild_tensor_v2
        return self.resolve(module, name)

    def call(self, target: Any, arguments: Any) -> Any:
        """REDUCE."""
        if not self._allows(target):
            message = f"Trying to call reduce for unrecognized function {_text(target)}"
            if hasattr(target, "__self__"):
                message += f" which belongs to {target.__self__}"
            raise pickle.UnpicklingError(message)
        if target in (codecs.encode, bytearray) and not _is_written(target, arguments):
            message = f"Trying to call {target} with arguments that no pickler writes"
            raise pickle.UnpicklingError(message)
        return self._to_validate(target, target(*arguments))

    def new(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None) -> Any:
        """NEWOBJ."""
        if target is torch.nn.Parameter:
            return torch.nn.Parameter(*arguments)
        if not self._allows(target) or keywords:
            message = (
                "Can only create new object for nn.Parameter or classes allowlisted "
                f"via `add_safe_globals` but got {_text(target)}"
            )
            raise pickle.UnpicklingError(message)
        return self._to_validate(target, target.__new__(target, *arguments))

    def rules(self, kind: type) -> TypeRules:
        """What may be done to objects of a type."""
        if kind in _TYPES:
            return _TYPES[kind]
        return replace(_NOTHING, set_state=_set_state) if self._allows(kind) else _NOTHING

    def may_be_key(self, kind: type) -> bool:  # noqa: ARG002  (PyTorch lets anything that hashes be a key)
        return True

    @staticmethod
    def _to_validate(target: Any, made: Any) -> Any:
        if target in torch._tensor_classes and "sparse" in target.__module__:
            torch._utils._sparse_tensors_to_validate.append(made)
        return made


def _rebuild_tensor_v2(
    storage: torch.TypedStorage, offset: int, size: Any, stride: Any, requires_grad: bool, hooks: Any
) -> torch.Tensor:
    """PyTorch's function of that name, which takes most of its time to ask whether the tensor is a fake one."""
    untyped = storage._untyped_storage
    made = torch.empty((0,), dtype=storage.dtype, device=untyped.device).set_(untyped, offset, size, stride)
    if requires_grad:
        made.requires_grad = True
    made._backward_hooks = hooks
    return made


def _text(target: Any) -> str:
    """A function or a class as Python writes it; other values may be too much to write."""
    return str(target) if callable(target) else brief(target)


def _is_written(target: Any, arguments: Any) -> bool:
    """Whether arguments are such as picklers write. PyTorch calls these two with any: with the name of any codec, which
    Python then imports, or with any amount of memory to set aside.
    """
    if type(arguments) is not tuple:
        return False
    if target is bytearray:
        return int not in map(type, arguments)
    return [type(argument) for argument in arguments] == [str, str] and arguments[1] == "latin1"


def _set_state(target: Any, state: Any) -> None:
    """As Python's own unpickler does for a class."""
    if hasattr(target, "__setstate__"):
        target.__setstate__(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        vars(target).update(state)
    for name, value in (slots or {}).items():
        setattr(target, name, value)


def weights_only_message(problem: str) -> str:
    """What PyTorch says around a problem of the weights-only unpickler; programs match on parts of it."""
    if re.search(r"GLOBAL (\S+) was not an allowed global by default.", problem):
        return (
            "Weights only load failed. This file can still be loaded, to do so you have two options, "
            "\033[1mdo those steps only if you trust the source of the checkpoint\033[0m. "
            f"\n\t(1) {serialization.UNSAFE_MESSAGE}\n\t(2) Alternatively, to load with `weights_only=True` please "
            f"check the recommended steps in the following error message.\n\tWeightsUnpickler error: {problem}{_DOCS}"
        )
    if re.search(r"(\S+) must be (\S+) to load", problem):
        return f"Weights only load failed. {problem}\n {serialization.UNSAFE_MESSAGE}\n"
    blocked = re.search(r"whose module (\S+) is blocked", problem)
    please = "" if blocked else f"{_PLEASE}WeightsUnpickler error: "
    return f"Weights only load failed. {serialization.UNSAFE_MESSAGE}\n{please}\n\n{problem}{_DOCS}"

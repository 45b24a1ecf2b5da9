"""Prove, then run: a pickle that was proved harmless is run by CPython's own unpickler, many times as fast.

The vm stays the judge: it runs what cannot be proved, and again what fails here, so that there is one set of errors.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from ptfile.limits import Limits
from ptfile.machine.extent import check_tree
from ptfile.machine.phrases import LONGEST_TEXT
from ptfile.machine.proof import DEEPEST, is_harmless
from ptfile.machine.proof_memo import LONG_PUT, SHORT, Role, Roles

_LONGEST_INTEGER = 17
"""Decimal digits of what a phrase can say."""
Find = Callable[[str, str], Any]
"""From a module and a name, of those that have a role, to what is called, or stands for the name."""
BuildTensor = Callable[[tuple[Any, ...], int, tuple[int, ...], tuple[int, ...], bool, Any], object]
"""From the arguments that a name of the role TENSOR is called with, but for the storage, in whose place its persistent
id stands, to the tensor."""


def run_if_harmless(
    data: bytes,
    roles: Roles,
    find: Find,
    load_persistent: Callable[[object], object],
    limits: Limits,
    tensor: BuildTensor | None = None,
) -> tuple[Any, bool]:
    """The pickle's value, and whether there is one: False if it has to be left to the vm, for whatever reason.

    tensor: makes tensors from persistent ids, which are then given to nothing else.
    """
    if not _within(limits, len(data), len(roles)) or not is_harmless(data, roles):
        return None, False
    try:
        if tensor is None:
            unpickler = _Unpickler(data, find, load_persistent)
        else:
            unpickler = _TensorUnpickler(data, _with_tensors(roles, find, tensor), load_persistent)
        value = unpickler.load()
        del unpickler  # with its memo
        check_tree(value, limits)
    except Exception:  # noqa: BLE001  (whatever it is, the vm finds it again, and says where)
        return None, False
    return value, True


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, find: Find, load_persistent: Callable[[object], object]) -> None:
        super().__init__(io.BytesIO(data))
        self._find = find
        self._load_persistent = load_persistent

    def find_class(self, module: str, name: str) -> Any:
        return self._find(module, name)

    def persistent_load(self, persistent_id: object) -> object:
        return self._load_persistent(persistent_id)


class _TensorUnpickler(_Unpickler):
    """Gives persistent ids, which are tuples, to those who ask for storages, as they are: by no function in Python."""

    persistent_load = staticmethod(tuple)  # type: ignore[assignment]


def _with_tensors(roles: Roles, find: Find, tensor: BuildTensor) -> Find:
    def find_or_build(module: str, name: str) -> Any:
        return tensor if roles[f"{module}\n{name}".encode()] is Role.TENSOR else find(module, name)

    return find_or_build


def _within(limits: Limits, size: int, names: int) -> bool:
    """Whether no phrase, and no pickle of that size and with so many names, can meet the limits that the vm counts."""
    entries = SHORT + size // LONG_PUT
    least = (limits.text_size >= LONGEST_TEXT, limits.integer_digits >= _LONGEST_INTEGER, limits.names >= names)
    return size <= limits.opcodes and entries <= limits.memo and limits.depth >= DEEPEST and all(least)

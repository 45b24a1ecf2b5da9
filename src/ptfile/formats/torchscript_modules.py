"""Which attributes of a TorchScript object are parameters, buffers and submodules.

An archive keeps an object's attributes side by side; what they are stands in the code of its class, in lists of names.
Those are read as text: the code is neither compiled nor run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ptfile.errors import FormatError
from ptfile.formats.zip_records import ZipRecords
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import InertName
from ptfile.tensors.python_side import Attributed

PARTS = ("_parameters", "_buffers", "_modules")
"""Where `torch.nn.Module` keeps them, and where they are put here, so that whatever reads one reads the other."""

_CLASS = re.compile(r"class (\w+)(?:\((\w+)\))?:")
_LIST = re.compile(r"  (__parameters__|__buffers__) = \[(.*)\]")
_NAME = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the code says about one class."""

    is_module: bool
    parameters: frozenset[str] = frozenset()
    buffers: frozenset[str] | None = None
    """None in files of PyTorch 1.4 and earlier: every tensor that is no parameter is a buffer."""


def parse_declarations(code: str) -> dict[str, Declaration]:
    r"""The classes in a file of code, by name (`python_print.cpp` writes one fact a line).

    >>> parse_declarations('class Net(Module):\n  __parameters__ = ["w", ]\n  w : Tensor\n')["Net"].parameters
    frozenset({'w'})
    """
    found: dict[str, Declaration] = {}
    name, lists = "", dict[str, frozenset[str]]()
    for line in code.splitlines():
        if begins := _CLASS.match(line):
            name, lists = begins[1], {}
            found[name] = Declaration(begins[2] == "Module")
        elif name and (listed := _LIST.match(line)):
            lists[listed[1]] = frozenset(_NAME.findall(listed[2]))
            parameters, buffers = lists.get("__parameters__", frozenset()), lists.get("__buffers__")
            found[name] = Declaration(found[name].is_module, parameters, buffers)
    return found


class Declarations:
    """The declarations in an archive's code, each file read when it is first asked for."""

    def __init__(self, records: ZipRecords, folder: str) -> None:
        """`folder`: where the code is, with its slash."""
        self._records = records
        self._folder = folder
        self._files: dict[str, dict[str, Declaration]] = {}

    def find(self, name: InertName) -> Declaration | None:
        """What is declared about a class; None if its code is not in the archive. Raises as `ZipRecords.text`."""
        path = f"{self._folder}{name.module.replace('.', '/')}.py"
        if path not in self._files:
            self._files[path] = parse_declarations(self._records.text(path)) if path in self._records else {}
        return self._files[path].get(name.name)


def set_state(record: InertRecord, state: object, declarations: Declarations) -> None:
    """Give an object of TorchScript its attributes: a module's in the parts that PyTorch's modules have.

    Raises FormatError for a second state, and for attributes that the parts would hide.
    """
    if record.inert_has_state:
        raise FormatError("the pickle gives two states to one object")
    if type(state) is dict and isinstance(record.inert_target, InertName):
        declared = declarations.find(record.inert_target)
        if declared.is_module if declared else "training" in state:
            state = module_state(state, declared)
    record.inert_state = state


def module_state(attributes: dict[Any, Any], declared: Declaration | None) -> dict[Any, Any]:
    """The attributes of a module, sorted into its parts; each in the order of the file, as PyTorch lists them.

    Without a declaration (an archive that lost its code), tensors that require gradients are taken for parameters and
    all others for buffers.
    """
    hidden = [part for part in PARTS if part in attributes]
    if hidden:
        raise FormatError(f"a module has an attribute {hidden[0]}, which would hide its parts")
    parts: dict[str, dict[Any, Any]] = {part: {} for part in PARTS}
    others: dict[Any, Any] = {}
    for name, value in attributes.items():
        part = _part_of(name, value, declared)
        (parts[part] if part else others)[name] = value
    return {**others, **parts}


def _part_of(name: object, value: object, declared: Declaration | None) -> str | None:
    if is_module(value):
        return "_modules"
    is_tensor = isinstance(value, Attributed)
    if declared is None:
        if not is_tensor:
            return None
        return "_parameters" if getattr(value, "requires_grad", False) else "_buffers"
    if name in declared.parameters:
        return "_parameters"
    return "_buffers" if (is_tensor if declared.buffers is None else name in declared.buffers) else None


def is_module(value: object) -> bool:
    """Whether it is the record of a module, its attributes sorted."""
    return (
        type(value) is InertRecord
        and type(value.inert_state) is dict
        and all(type(value.inert_state.get(part)) is dict for part in PARTS)
    )


def add_constants(root: object, constants: Iterable[tuple[str, Any]]) -> None:
    """Give the root the constants that the code uses, under the name by which it does: `CONSTANTS.c0`.

    Raises FormatError if the root is no object that could have any.
    """
    named = dict(constants)
    if not named:
        return
    if type(root) is not InertRecord or type(root.inert_state) is not dict or "CONSTANTS" in root.inert_state:
        raise FormatError("an archive with constants has no object at its root that could hold them")
    root.inert_state["CONSTANTS"] = named

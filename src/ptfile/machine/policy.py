"""What the names in a pickle may become, and what may be done to what they became.

A `Policy` is two tables, given from outside: the machine itself knows only Python's own containers.
"""

from __future__ import annotations

import _compat_pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ptfile.errors import FormatError, PtfileError, UnsafeError
from ptfile.machine.names import Global


@dataclass(frozen=True, slots=True)
class Builder:
    """How a name is called. None: this name may not be called that way."""

    call: Callable[..., object] | None = None
    """For REDUCE: takes the arguments."""
    new: Callable[..., object] | None = None
    """For NEWOBJ: takes the arguments behind the class."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A name that stands for a value, not for something to call."""

    value: object


@dataclass(frozen=True, slots=True)
class TypeRules:
    """What opcodes may do to an object of one type. None: not this."""

    extend: Callable[[Any, list[Any]], object] | None = None
    """APPEND and APPENDS."""
    update: Callable[[Any, list[tuple[Any, Any]]], object] | None = None
    """SETITEM and SETITEMS."""
    add: Callable[[Any, list[Any]], object] | None = None
    """ADDITEMS."""
    set_state: Callable[[Any, Any], object] | None = None
    """BUILD."""
    never_a_key: bool = False
    """It may not be a key of a dict or an element of a set, though Python could hash it."""


_BUILTIN_RULES: Mapping[type, TypeRules] = {
    list: TypeRules(extend=list.extend),
    dict: TypeRules(update=dict.update),
    set: TypeRules(add=set.update),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for one load. Names that the table lacks are refused: nothing is ever imported."""

    names: Mapping[tuple[str, str], Builder | Constant]
    """What each (module, name) stands for, under its Python 3 name."""
    types: Mapping[type, TypeRules] = field(default_factory=dict)
    """Rules for the types that the builders make."""
    advice: str = ""
    """What to do about a name that is not in the table."""

    def rules(self) -> Mapping[type, TypeRules]:
        return MappingProxyType({**_BUILTIN_RULES, **self.types})

    def find(self, module: str, name: str) -> Builder | Constant:
        """What a name stands for, or UnsafeError."""
        found = self.names.get((module, name)) or self.names.get(python3_name(module, name))
        if found is None:
            raise UnsafeError(f"the pickle names {module}.{name}", name=f"{module}.{name}", fix=self.advice)
        return found

    def call(self, target: object, arguments: tuple[Any, ...]) -> object:
        """REDUCE: what the name `target` makes of the arguments."""
        name, builder = self._builder(target)
        if builder.call is None:
            raise UnsafeError(f"the pickle calls {name}", name=str(name), fix=self.advice)
        return guarded(str(name), builder.call, *arguments)

    def new(self, target: object, arguments: tuple[Any, ...]) -> object:
        """NEWOBJ: an instance of the class `target`."""
        name, builder = self._builder(target)
        if builder.new is None:
            raise UnsafeError(f"the pickle makes an instance of {name}", name=str(name), fix=self.advice)
        return guarded(str(name), builder.new, *arguments)

    def _builder(self, target: object) -> tuple[Global, Builder]:
        if not isinstance(target, Global):
            raise FormatError(f"the pickle calls a {type(target).__name__}, which is not a name")
        found = self.find(target.module, target.name)
        assert isinstance(found, Builder)  # a Constant never stays a Global
        return target, found


def guarded(what: str, builder: Callable[..., object], *arguments: Any) -> object:
    """Run one of ptfile's own builders on arguments from a file, whatever they are."""
    try:
        return builder(*arguments)
    except PtfileError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise FormatError(f"{what} cannot be built from what the pickle gives ({error})") from error


def python3_name(module: str, name: str) -> tuple[str, str]:
    """What Python 3 calls a name that Python 2 wrote."""
    renamed: tuple[str, str] | None = _compat_pickle.NAME_MAPPING.get((module, name))
    if renamed is not None:
        return renamed
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name

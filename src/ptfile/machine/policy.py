"""What the names in a pickle may become, and what may be done to what they became.

A `Policy` is two tables, given from outside: the machine itself knows only Python's own containers.
"""

from __future__ import annotations

import _compat_pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from ptfile.errors import FormatError, LimitError, PtfileError, UnsafeError, UnsupportedError
from ptfile.machine.extent import Unguarded
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import Global, InertName

Unknown: TypeAlias = Literal["error", "inert"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name in a pickle stands for. None: it may not be used that way."""

    value: Any = None
    """What the name itself becomes, something hashable; None: it stays a `Global`."""
    call: Callable[..., object] | None = None
    """For REDUCE: takes the arguments."""
    new: Callable[..., object] | None = None
    """For NEWOBJ: takes the arguments behind the class."""


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
    unguarded: Unguarded | None = None
    """It may not be nested deep."""
    weigh: Callable[[Any], int] | None = None
    """What it costs those who are given it to copy it or to look through it: about one for each element or byte."""
    never_a_key: bool = False
    """It may not be a key of a dict or an element of a set, though Python could hash it; in a file that is only looked
    into, it may."""


def _set_inert_state(record: InertRecord, state: object) -> None:
    if record.inert_has_state:
        raise FormatError("the pickle gives two states to one object")
    record.inert_state = state


_BUILTIN_RULES: Mapping[type, TypeRules] = {
    InertRecord: TypeRules(
        extend=lambda record, items: record.inert_items.extend(items),
        update=lambda record, pairs: record.inert_pairs.extend(pairs),
        set_state=_set_inert_state,
    ),
    list: TypeRules(extend=list.extend),
    dict: TypeRules(update=dict.update),
    set: TypeRules(add=set.update),
}
_NO_RULES = TypeRules()
_LONGEST_NAME = 10_000
"""Characters of a name that only stands for itself: it may be compared again and again."""
_LONGEST_INNER_NAME = 1_000
"""Characters of a name that is looked up in another one, and that in another: each has all of them."""
_GETATTR = ("builtins", "getattr")


class Rules(Protocol):
    """What the machine asks of a policy."""

    def resolve(self, module: str, name: str) -> Any:
        """GLOBAL: what a name becomes."""

    def call(self, target: Any, arguments: Any) -> Any:
        """REDUCE: what `target`, which a name became, makes of the arguments."""

    def new(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None) -> Any:
        """NEWOBJ: an instance of the class `target`, which a name became."""

    def rules(self, kind: type) -> TypeRules:
        """What may be done to objects of a type."""

    def may_be_key(self, kind: type) -> bool:
        """Whether objects of a type may be keys of dicts and elements of sets."""


class Policy:
    """The rules for loading. Names that the table lacks are refused: nothing is ever imported."""

    def __init__(
        self,
        names: Mapping[tuple[str, str], Meaning],
        types: Mapping[type, TypeRules],
        *,
        unknown: Unknown = "error",
        advice: str = "",
        is_data: Callable[[str], bool] = lambda _module: False,
    ) -> None:
        """`names` goes by the names of Python 3; `types` has the rules for what the builders make.

        unknown: what becomes of a name that is not in the table, or a call that its builder finds unsafe: an
            UnsafeError, in which `advice` says what to do about it, or an inert record.
        is_data: tells of a module whether its classes are part of the file's own data (TorchScript's `__torch__`):
            objects of theirs are inert records in any case.
        """
        self._names = names
        self._types = {**_BUILTIN_RULES, **types}
        self._unknown = unknown
        # By identity: a pickle may call a tuple, whose hash can take forever.
        self._meanings = {id(meaning.value): meaning for meaning in names.values() if meaning.value is not None}
        self._advice = advice
        self._is_data = is_data

    def may_be_key(self, kind: type) -> bool:
        """Whether objects of a type may be keys of dicts and elements of sets."""
        return self._unknown == "inert" or not self.rules(kind).never_a_key

    def rules(self, kind: type) -> TypeRules:
        """What may be done to objects of a type."""
        return self._types.get(kind, _NO_RULES)

    def find(self, module: str, name: str) -> Meaning | None:
        """The meaning of a name, as Python 2 or 3 writes it; None if the table lacks it."""
        return self._names.get((module, name)) or self._names.get(python3_name(module, name))

    def resolve(self, module: str, name: str) -> Any:
        """What a name becomes. Raises UnsafeError for one that the table lacks, unless unknown names are inert."""
        meaning = self.find(module, name)
        if meaning is None and self._unknown == "error" and not self._is_data(module):
            raise self._unsafe("names", f"{module}.{name}")
        if meaning is None:
            _check_length(len(module) + len(name), _LONGEST_NAME)
            return InertName(module, name)
        return Global(module, name) if meaning.value is None else meaning.value

    def call(self, target: object, arguments: object) -> object:
        """REDUCE: what `target`, which a name became, makes of the arguments."""
        if type(arguments) is not tuple:
            # TorchScript writes the one argument of an enumeration as it is.
            if not (isinstance(target, InertName) and self._is_data(target.module)):
                kind = type(arguments).__name__
                raise FormatError(f"the pickle calls with a {kind} where a tuple of arguments belongs")
            arguments = (arguments,)
        meaning = self._meaning(target)
        return self._build("calls", "call", target, meaning.call if meaning else None, arguments)

    def new(self, target: object, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None) -> object:
        """NEWOBJ: an instance of the class `target`, which a name became."""
        meaning = self._meaning(target)
        builder = meaning.new if meaning and not keywords else None
        return self._build("makes an instance of", "new", target, builder, arguments, keywords)

    def builds(self, target: object, how: Literal["call", "new"]) -> bool:
        """Whether a call of `target` is in the table, whatever its builder may say of the arguments."""
        return getattr(self._meaning(target), how, None) is not None

    def _build(
        self,
        does: str,
        how: Literal["call", "new"],
        target: object,
        builder: Callable[..., object] | None,
        arguments: tuple[Any, ...],
        keywords: dict[str, Any] | None = None,
    ) -> object:
        try:
            if builder is None:
                raise self._unsafe(does, _text(target))
            return guarded(_text(target), builder, *arguments)
        except PtfileError as error:
            if not self._may_stay_inert(error, target, arguments):
                raise
            return _inert(target, arguments, how, keywords)

    def _may_stay_inert(self, error: PtfileError, target: object, arguments: tuple[Any, ...]) -> bool:
        """Whether what cannot be built may be an inert record, rather than an error."""
        if self._unknown == "error":
            # Only names of the file's own data ever became inert ones.
            return isinstance(error, UnsafeError) and isinstance(target, InertName)
        # A builder cannot use what is inert itself, but nothing need be wrong with the file.
        inert = any(type(argument) in (InertRecord, InertName) for argument in arguments)
        return inert or isinstance(error, UnsafeError | UnsupportedError)

    def _meaning(self, target: object) -> Meaning | None:
        """What the target of a call means; None if the table lacks it."""
        if isinstance(target, Global):
            return self.find(target.module, target.name)
        if isinstance(target, InertName) or type(target) is InertRecord:
            return None
        found = self._meanings.get(id(target))
        if found is None:
            raise FormatError(f"the pickle calls a {type(target).__name__}, which is not a name")
        return found

    def _unsafe(self, does: str, name: str) -> UnsafeError:
        return UnsafeError(f"the pickle {does} {name}", name=name, fix=self._advice)


def _inert(
    target: object, arguments: tuple[Any, ...], how: Literal["call", "new"], keywords: dict[str, Any] | None
) -> InertRecord | InertName:
    if how == "new" and isinstance(target, Global):
        target = InertName(target.module, target.name)
    looks_up = isinstance(target, Global) and python3_name(target.module, target.name) == _GETATTR
    if looks_up and len(arguments) == 2:
        parent, name = arguments
        if isinstance(parent, InertName) and type(name) is str:
            _check_length(len(parent.name) + len(name), _LONGEST_INNER_NAME)
            return InertName(parent.module, f"{parent.name}.{name}", parent)
    return InertRecord(target, arguments, how, keywords)


def _check_length(characters: int, allowed: int) -> None:
    if characters > allowed:
        raise LimitError("a name is too long", limit="name_characters", allowed=allowed, actual=characters)


def _text(target: object) -> str:
    if type(target) is InertRecord:
        return "what a call has made"
    if isinstance(target, type) and not isinstance(target, InertName):
        return f"{target.__module__}.{target.__qualname__}"
    return str(target)


def guarded(what: str, builder: Callable[..., object], *arguments: Any) -> object:
    """Run one of ptfile's own builders on arguments from a file, whatever they are."""
    try:
        return builder(*arguments)
    except (PtfileError, OSError):
        raise
    except Exception as error:  # whatever a library makes of a hostile file's values
        raise FormatError(f"{what} cannot be built from what the pickle gives ({error})") from error


def python3_name(module: str, name: str) -> tuple[str, str]:
    """What Python 3 calls a name that Python 2 wrote."""
    renamed: tuple[str, str] | None = _compat_pickle.NAME_MAPPING.get((module, name))
    if renamed is not None:
        return renamed
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name

"""Inert records: stand-ins for objects of classes that are not ptfile's to build.

A record keeps everything that the pickle said about an object and runs nothing. It is pickled back to the same bytes,
so a file can be read, looked into, changed and written without the classes that it names.
"""

from __future__ import annotations

import copyreg
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal, NoReturn

from ptfile.machine.names import Global, InertName

_ABSENT: Any = object()
_RECONSTRUCTOR = ("_reconstructor", "copy_reg", "copyreg")
_MOST_TEXT = 60
posing = threading.local()
"""`depth` above 0 while this thread's pickler writes: then a record says that it is of the class it stands for."""
_MODULE_PARTS = ("_parameters", "_buffers", "_modules")
"""Where `torch.nn.Module` keeps what its users see as attributes."""


class InertRecord:
    """What a pickle said about one object: the class or function, its arguments, and what was put into it afterwards.

    Attributes of the object are attributes here (`record.weight`), its items are items (`record[0]`, `record["key"]`);
    names that begin with `inert_` are the record's own.
    """

    __slots__ = (
        "__weakref__",
        "inert_arguments",
        "inert_how",
        "inert_items",
        "inert_keywords",
        "inert_pairs",
        "inert_setter",
        "inert_state",
        "inert_target",
    )

    inert_target: Any
    """The class, or the function that is called to make the object: a name, or what a call made, itself inert."""
    inert_how: Literal["call", "new"]
    """`call`: the target is called; `new`: an instance is made without calling `__init__`."""
    inert_arguments: tuple[Any, ...]
    inert_keywords: dict[str, Any]
    """Keyword arguments, which only `new` has."""
    inert_state: Any
    """What `__setstate__` would get, most often a dict of attributes; `inert_has_state` tells whether there is any."""
    inert_items: list[Any]
    """Items appended afterwards, as for a subclass of list."""
    inert_pairs: list[tuple[Any, Any]]
    """(key, value) stored afterwards, as for a subclass of dict."""
    inert_setter: Any
    """A function that is called with the object and the state instead of `__setstate__`, or None."""

    def __init__(
        self,
        target: Any,
        arguments: tuple[Any, ...],
        how: Literal["call", "new"] = "call",
        keywords: dict[str, Any] | None = None,
    ) -> None:
        self.inert_target = target
        self.inert_arguments = arguments
        self.inert_how = how
        self.inert_keywords = keywords or {}
        self.inert_state = _ABSENT
        self.inert_items = []
        self.inert_pairs = []
        self.inert_setter = None

    @property
    def inert_has_state(self) -> bool:
        return self.inert_state is not _ABSENT

    @property
    def inert_class(self) -> str:
        """The name of the object's class, or of the function that makes it."""
        arguments = self.inert_arguments
        name, *modules = _RECONSTRUCTOR
        # Protocols 0 and 1 make every object by this function, whose first argument is the class.
        target = self.inert_target
        if isinstance(target, Global | InertName) and target.name == name and target.module in modules and arguments:
            target = arguments[0]
        if isinstance(target, Global | InertName):
            return str(target)
        return f"{target.__module__}.{target.__qualname__}" if type(target) is type else "what a call has made"

    @property
    def inert_attributes(self) -> dict[str, Any]:
        """The attributes in the state, of `__dict__` and of `__slots__`, by name."""
        found: dict[str, Any] = {}
        state = self.inert_state
        # With slots it is a pair of dicts; any other tuple is the class's own affair.
        parts = state if type(state) is tuple and len(state) == 2 else (state,)
        if all(part is None or type(part) in (dict, OrderedDict) for part in parts):
            for part in parts:
                found.update((name, value) for name, value in (part or {}).items() if type(name) is str)
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python asks of every object is not asked of the file
            raise AttributeError(name)
        attributes = self.inert_attributes
        if name in attributes:
            return attributes[name]
        for part in _MODULE_PARTS:
            members = attributes.get(part)
            if isinstance(members, dict) and type(members) in (dict, OrderedDict) and name in members:
                return members[name]
        message = f"the inert record of {self.inert_class} has no attribute {name!r}"
        raise AttributeError(message)

    def __getitem__(self, key: Any) -> Any:
        if self.inert_pairs:
            return dict(self.inert_pairs)[key]
        return self.inert_items[key]

    def __len__(self) -> int:
        return len(self.inert_pairs) or len(self.inert_items)

    def __iter__(self) -> Iterator[Any]:
        return iter([key for key, _ in self.inert_pairs] or self.inert_items)

    def __bool__(self) -> bool:
        return True  # it stands for an object, with items or without

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.inert_attributes]

    def __repr__(self) -> str:
        parts = [_short(argument) for argument in self.inert_arguments]
        parts += [f"{name}={_short(value)}" for name, value in self.inert_attributes.items()]
        if self.inert_items:
            parts.append(f"{len(self.inert_items)} items")
        if self.inert_pairs:
            parts.append(f"{len(self.inert_pairs)} items")
        return f"<inert {self.inert_class}({', '.join(parts)})>"

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # Picklers refuse to write an instance of one class as an instance of another.
        return self.inert_target if getattr(posing, "depth", 0) else InertRecord

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        message = f"an inert record runs nothing, and {self.inert_class} least of all"
        raise TypeError(message)


def reduce_inert(record: InertRecord) -> tuple[Any, ...]:
    """How a pickler writes the object that the record stands for."""
    # `__reduce__` makes a new tuple each time; a tuple that the pickler has met before it would write as a reference.
    target, arguments = record.inert_target, (*record.inert_arguments,)
    function: Any = target
    if record.inert_how == "new":
        if record.inert_keywords:
            function, arguments = copyreg.__newobj_ex__, (target, arguments, record.inert_keywords)  # type: ignore[attr-defined]
        else:
            function, arguments = copyreg.__newobj__, (target, *arguments)  # type: ignore[attr-defined]
    state = record.inert_state if record.inert_has_state else None
    items = iter(record.inert_items) if record.inert_items else None
    pairs = iter(record.inert_pairs) if record.inert_pairs else None
    if record.inert_setter is not None:
        return function, arguments, state, items, pairs, record.inert_setter
    return function, arguments, state, items, pairs


def keep_setter(dropped: InertRecord) -> None:
    """Take note of a call whose result the pickle drops: a function that sets the state of the object it is given.

    Picklers write that for a `__reduce__` with six items; it would be lost when the object is written again.
    """
    if dropped.inert_how == "call" and len(dropped.inert_arguments) == 2:
        target, state = dropped.inert_arguments
        if type(target) is InertRecord and not target.inert_has_state and target.inert_setter is None:
            target.inert_state, target.inert_setter = state, dropped.inert_target


def _short(value: object) -> str:
    """A few words about a value: never a walk into it, which could be deep or go round in circles."""
    if isinstance(value, InertRecord):
        return f"<inert {value.inert_class}>"
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return f"{type(value).__name__} of {len(value)}" if value else repr(value)
    text = repr(value)
    return text if len(text) <= _MOST_TEXT and "\n" not in text else f"<{type(value).__name__}>"

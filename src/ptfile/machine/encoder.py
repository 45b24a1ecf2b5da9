"""Write a value as a pickle with any pickle module, in which some objects are saved as names of another program.

The picklers that people use (CPython's C one, dill, cloudpickle) write the exact bytes that PyTorch gets from them, so
ptfile lets them do the work. The one thing that they refuse is a name they cannot import, such as
`torch._utils._rebuild_tensor_v2`. While they run, such a name has an alias of the same length, in a module that
stands in `sys.modules` and holds nothing; afterwards the first letter of the module is put back. Since no length
changes, neither do memo numbers nor frames.
"""

from __future__ import annotations

import copyreg
import io
import string
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeAlias

from ptfile.errors import UnsupportedError
from ptfile.machine.decoder import decode
from ptfile.machine.names import Global

Reducer: TypeAlias = Callable[[Any], "tuple[Any, ...] | Global"]
"""From an object to what `__reduce__` would return, with a `Global` as function; or to the name it is saved as."""

_LETTERS = string.ascii_letters + "_"
_MARKS = "".join(chr(code) for code in range(0x01, 0x80) if chr(code) not in _LETTERS + string.digits + ".\n\r\x7f")
_TO_ALIAS = dict(zip(_LETTERS, _MARKS, strict=False))
"""The first letter of a module's name to a character with which no module's name begins, one to one."""

_current = threading.local()
"""The object that this thread's pickler is saving as a name, between the reducer and the look-up right behind it."""


class _AliasModule(ModuleType):
    """What a pickler finds when it imports an alias: a module in which every name is the object just being saved."""

    def __getattr__(self, name: str) -> object:
        if name == getattr(_current, "name", None):
            return _current.object
        raise AttributeError(name)


class Encoder:
    """Pickles one value, once."""

    def __init__(
        self,
        reducers: Mapping[type, Reducer],
        persistent_id: Callable[[object], object],
        *,
        pickle_module: Any,
        protocol: int,
    ) -> None:
        self._reducers: dict[type, Reducer] = {Global: lambda name: name, **reducers}
        self._persistent_id = persistent_id
        self._pickle_module = pickle_module
        self._protocol = protocol
        self._aliases: dict[str, set[str]] = {}  # alias of a module -> names in it that were saved

    def encode(self, value: object) -> bytearray:
        """Return the pickle. What the pickler raises for an object that cannot be pickled passes through."""
        persistent_id = self._persistent_id
        theirs = getattr(self._pickle_module.Pickler, "dispatch_table", None)
        if not isinstance(theirs, Mapping):
            theirs = copyreg.dispatch_table
        ours = {kind: self._adapt(reducer) for kind, reducer in self._reducers.items()}

        class Pickler(self._pickle_module.Pickler):  # type: ignore[misc, name-defined]
            dispatch_table = {**theirs, **ours}  # noqa: RUF012  (lives as long as this one save)

            def persistent_id(self, obj: object) -> object:
                return persistent_id(obj)

        buffer = io.BytesIO()
        Pickler(buffer, protocol=self._protocol).dump(value)
        return self._with_real_names(bytearray(buffer.getbuffer()))

    def _adapt(self, reducer: Reducer) -> Callable[[Any], Any]:
        def reduce(obj: Any) -> Any:
            reduced = reducer(obj)
            return self._save_as_name(obj, reduced) if isinstance(reduced, Global) else reduced

        return reduce

    def _save_as_name(self, obj: Any, name: Global) -> str:
        """Return what `__reduce__` returns for an object that is a global variable, having set the stage for it."""
        alias = _alias(name.module)
        self._aliases.setdefault(alias, set()).add(name.name)
        obj.__dict__["__module__"] = alias  # where picklers look for an object's module; the same for every save
        _current.name, _current.object = name.name, obj
        return name.name

    def _with_real_names(self, pickle: bytearray) -> bytearray:
        """Put the first letters back, once for each place where a name was written."""
        for alias, names in self._aliases.items():
            raw = alias.encode()
            letter = _first_letter(alias)
            if self._protocol >= 4:  # the module is a string of its own, memoized
                _patch_once(pickle, b"\x8c" + bytes([len(raw)]) + raw, 2, letter)
                continue
            for name in names:
                _patch_once(pickle, b"c" + raw + b"\n" + name.encode() + b"\n", 1, letter)
        return pickle


def _alias(module: str) -> str:
    first = _TO_ALIAS.get(module[:1])
    if first is None or len(module.encode()) > 255:
        raise UnsupportedError(f"the module name {module!r} cannot be written to a pickle")
    alias = sys.intern(first + module[1:])
    parts = alias.split(".")
    for count in range(1, len(parts) + 1):  # picklers in Python import the packages first
        package = ".".join(parts[:count])
        sys.modules.setdefault(package, _AliasModule(package, f"Stands for {module} while ptfile pickles."))
    return alias


def _first_letter(alias: str) -> int:
    return ord(next(letter for letter, mark in _TO_ALIAS.items() if mark == alias[0]))


def _patch_once(pickle: bytearray, pattern: bytes, offset: int, letter: int) -> None:
    """Put `letter` at `offset` in the one place where the pickler wrote `pattern`."""
    place = pickle.find(pattern)
    if pickle.find(pattern, place + 1) >= 0:  # some text in the user's own data looks the same
        place = _opcode_position(bytes(pickle), pattern)
    pickle[place + offset] = letter


def _opcode_position(pickle: bytes, pattern: bytes) -> int:
    places = [position for position, _, _ in decode(pickle) if pickle.startswith(pattern, position)]
    if len(places) != 1:
        problem = f"the object holds the text {pattern!r}, which ptfile needs while it writes"
        raise UnsupportedError(problem, fix="Save with pickle_protocol=2")
    return places[0]

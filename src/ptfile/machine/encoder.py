"""Write a value as a pickle with any pickle module, in which some objects are saved as names of another program.

The picklers that people use (CPython's C one, dill, cloudpickle) write the exact bytes that PyTorch gets from them, so
ptfile lets them do the work. The one thing that they refuse is a name they cannot import, such as
`torch._utils._rebuild_tensor_v2`. While they run, such a name has an alias of the same length, in a module that
stands in `sys.modules` and holds nothing; afterwards the first letter of the module is put back. Since no length
changes, neither do memo numbers nor frames.
"""

from __future__ import annotations

import copyreg
import functools
import pickle
import string
import sys
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias, cast

from ptfile._collector import paused_collector
from ptfile._types import Buffer
from ptfile.errors import UnsupportedError
from ptfile.machine.decoder import decode
from ptfile.machine.inert import InertRecord, posing, reduce_inert
from ptfile.machine.names import Global, InertName
from ptfile.machine.stand_ins import without_stand_ins


@dataclass(frozen=True, slots=True)
class Apart:
    """The name of an object whose module's name is, in PyTorch, another string than that of all others, though equal.

    Picklers write a string that they have met as a reference: they go by identity.
    """

    name: Global


Reducer: TypeAlias = Callable[[Any], "tuple[Any, ...] | Global | Apart"]
"""From an object to what `__reduce__` would return, with a `Global` as function; or to the name it is saved as."""
Reducers: TypeAlias = Mapping[type, Callable[[Any], Any]]
"""What `saved_types` makes."""

_LETTERS = string.ascii_letters + "_"
_MARKS = "".join(chr(code) for code in range(0x01, 0x80) if chr(code) not in _LETTERS + string.digits + ".\n\r\x7f")
_TO_ALIAS = dict(zip(_LETTERS, _MARKS, strict=False))
"""The first letter of a module's name to a character with which no module's name begins, one to one."""
_FROM_ALIAS = {ord(mark): ord(letter) for letter, mark in _TO_ALIAS.items()}
_LARGE = 1 << 16
"""Bytes from which a piece of a pickle is not worth copying."""
_MODULES_ARE_STRINGS = 4
"""The protocol from which a name is two strings of their own (STACK_GLOBAL), and not one opcode's argument."""


class _Current(threading.local):
    encoder: Encoder | None = None
    """Whose pickler runs in this thread."""


_current = _Current()


class _AliasModule:
    """What a pickler finds when it imports an alias: a module in which every name is the object just being saved."""

    def __getattribute__(self, name: str) -> object:
        encoder = _current.encoder
        if encoder is not None and name == encoder.name:
            return encoder.object
        raise AttributeError(name)


def saved_types(reducers: Mapping[type, Reducer]) -> Reducers:
    """The types that are saved in ways of their own, these and the machine's, ready for picklers. Made once.

    It takes as long to make as a small object to save.
    """
    own: dict[type, Reducer] = {
        Global: lambda name: name,
        InertName: lambda name: Global(name.module, name.name),
        InertRecord: reduce_inert,
    }
    return {kind: _adapted(reducer) for kind, reducer in {**own, **reducers}.items()}


def _adapted(reducer: Reducer) -> Callable[[Any], Any]:
    def reduce(obj: Any) -> Any:
        reduced = reducer(obj)
        if isinstance(reduced, tuple):
            return reduced
        assert _current.encoder is not None  # or nothing would ask for this
        return _current.encoder.save_as_name(obj, reduced)

    return reduce


class Encoder:
    """Pickles one value, once."""

    def __init__(
        self,
        reducers: Reducers,
        persistent_id: Callable[[object], object],
        *,
        pickle_module: Any,
        protocol: int,
        shared_word: str | None = None,
    ) -> None:
        """`shared_word`: a module among the reducers' names that PyTorch holds as the same object as the user's text.

        Python keeps one object of each word that stands in a program, and picklers write the second as a reference.
        """
        self.name: str | None = None
        """The name that the pickler is about to look up in the alias of a module."""
        self.object: object = None
        """What it shall find there: the object that it is saving."""
        self._reducers = reducers
        self._persistent_id = persistent_id
        self._pickle_module = pickle_module
        self._protocol = protocol if protocol >= 0 else pickle.HIGHEST_PROTOCOL
        self._written: defaultdict[bytes, int] = defaultdict(int)  # what holds an alias in the pickle, and how often
        self._modules: set[int] = set()  # the aliases, as objects, that are in the pickler's memo
        self._shared_word = None if shared_word is None else sys.intern(shared_word)
        self._stand_ins = False  # whether an alias was written in place of a string of the user's

    def encode(self, value: object) -> list[Buffer]:
        """Return the pickle, in pieces: a second copy of a large one would cost as much memory again.

        What the pickler raises for an object that cannot be pickled passes through.
        """
        file = _Pieces()
        self._pickle(value, file)
        pieces = self._with_real_names(file.pieces)
        return [without_stand_ins(b"".join(pieces))] if self._stand_ins else pieces

    def visit(self, value: object) -> None:
        """Pickle it for what reducers and `persistent_id` get to see on the way; the pickle itself is thrown away."""
        self._pickle(value, _Nowhere())

    def _pickle(self, value: object, file: _Pieces | _Nowhere) -> None:
        pickler = self._pickler(file)
        before = _current.encoder  # a save can begin inside another one, in a signal handler say, at any moment
        _current.encoder = self
        posing.depth = getattr(posing, "depth", 0) + 1
        try:
            with paused_collector():
                pickler.dump(value)
        finally:
            posing.depth -= 1
            _current.encoder = before

    def _pickler(self, file: _Pieces | _Nowhere) -> Any:
        kind = self._pickle_module.Pickler
        if kind is pickle.Pickler:  # it needs no new class each time, which takes longer to make than a small pickle
            pickler: Any = _Pickler(file, self._protocol)
            pickler.dispatch_table = {**copyreg.dispatch_table, **self._reducers}
            pickler.persistent_id = self._persistent_id_for_pickler()
            return pickler
        table = getattr(kind, "dispatch_table", None)
        theirs = table if isinstance(table, Mapping) else copyreg.dispatch_table
        members = {
            "dispatch_table": {**theirs, **self._reducers},
            # Called for every object: a function of the class is one call less than a method that calls it.
            "persistent_id": staticmethod(self._persistent_id_for_pickler()),
        }
        return type("Pickler", (kind,), members)(file, protocol=self._protocol)

    def _persistent_id_for_pickler(self) -> Callable[[object], object]:
        find = self._persistent_id if self._pickle_module is pickle else self._refuse_inert_names
        word = self._shared_word
        if word is None or self._protocol < _MODULES_ARE_STRINGS:
            return find

        def find_or_stand_in(obj: object) -> object:
            if obj is word:
                self._stand_ins = True
                return self._module(word)
            return find(obj)

        return find_or_stand_in

    def _refuse_inert_names(self, obj: object) -> object:
        """Other picklers write classes that they cannot import by value: not what an inert name stands for."""
        if type(obj) is InertName:
            problem = f"{obj} can only be written by Python's own pickler"
            raise UnsupportedError(problem, fix="Save inert records without pickle_module")
        return self._persistent_id(obj)

    def save_as_name(self, obj: Any, name: Global | Apart) -> Any:
        """Return what `__reduce__` returns for an object that is a global variable, having set the stage for it."""
        apart = isinstance(name, Apart)
        if isinstance(name, Apart):
            name = name.name
        first, dot, rest = name.name.partition(".")
        if dot and self._protocol < _MODULES_ARE_STRINGS and sys.version_info < (3, 13):
            # Before Python 3.13, which does this itself and in its own way, a dotted name is an attribute of the rest.
            parent, _, last = name.name.rpartition(".")
            return getattr, (getattr(obj, "parent", None) or Global(name.module, parent), last)
        alias = self._module(name.module, apart=apart)
        # Where picklers look for an object's module; it is the same for every save.
        if isinstance(obj, type):
            obj.__module__ = alias
        else:
            obj.__dict__["__module__"] = alias
        if dot:
            for part in reversed(rest.split(".")):  # a dotted name is looked up step by step
                obj = SimpleNamespace(**{part: obj})
        self.name, self.object = first, obj
        if self._protocol < _MODULES_ARE_STRINGS:
            self._written[f"c{alias}\n{first}\n".encode()] += 1
        return name.name

    def _module(self, module: str, *, apart: bool = False) -> str:
        """The alias of a module, which the pickler is about to write if it has not."""
        alias = _alias(module, apart)
        if self._protocol >= _MODULES_ARE_STRINGS and id(alias) not in self._modules:
            self._modules.add(id(alias))
            raw = alias.encode()
            self._written[b"\x8c" + bytes([len(raw)]) + raw] += 1
        return alias

    def _with_real_names(self, pieces: list[bytes | bytearray]) -> list[Buffer]:
        """Put the first letters of the modules back, in each place where the pickler wrote an alias."""
        offset = 1 if self._protocol < _MODULES_ARE_STRINGS else 2
        places: list[tuple[int, int]] = []  # number of the piece, position in it
        for pattern, count in self._written.items():
            found = _find_all(pieces, pattern)
            if len(found) != count:  # some text of the user's own looks the same
                found = _opcode_places(pieces, pattern, count)
            places += [(number, place + offset) for number, place in found]
        return _patched(pieces, sorted(places))


@functools.cache  # one object per argument: picklers write a string that they have met as a reference
def _alias(module: str, apart: bool) -> str:  # noqa: ARG001  (it is part of the key)
    """The alias of a module, ready to be imported."""
    first = _TO_ALIAS.get(module[:1])
    if first is None or len(module.encode()) > 255:
        raise UnsupportedError(f"the module name {module!r} cannot be written to a pickle")
    parts = [first + module[1:].partition(".")[0], *module.split(".")[1:]]
    for count in range(1, len(parts) + 1):  # picklers in Python import the packages first
        package = ".".join(parts[:count])
        sys.modules.setdefault(package, cast("ModuleType", _AliasModule()))
    return ".".join(parts)


class _Pickler(pickle.Pickler):
    """Python's own pickler, of which every attribute may be set: Python 3.13.0 refuses `persistent_id` of its own."""


class _Pieces:
    """What a pickler writes to. Large pieces are kept as they come, small ones are joined."""

    def __init__(self) -> None:
        self.pieces: list[bytes | bytearray] = [bytearray()]

    def write(self, data: bytes) -> int:
        if len(data) >= _LARGE and type(data) is bytes:
            self.pieces += [data, bytearray()]
        else:
            tail = self.pieces[-1]
            assert isinstance(tail, bytearray)
            tail += data
        return len(data)


class _Nowhere:
    """What a pickler writes to whose pickle nobody wants."""

    def write(self, data: bytes) -> int:
        return len(data)


def _patched(pieces: list[bytes | bytearray], places: list[tuple[int, int]]) -> list[Buffer]:
    """The pieces with the letters of modules in place of the marks at these places, which are in order."""
    result: list[Buffer] = []
    for number, piece in enumerate(pieces):
        own = [place for of, place in places if of == number]
        if isinstance(piece, bytearray):
            for place in own:
                piece[place] = _FROM_ALIAS[piece[place]]
            result.append(piece)
            continue
        rest = memoryview(piece)
        start = 0
        for place in own:
            result += [rest[start:place], bytes([_FROM_ALIAS[piece[place]]])]
            start = place + 1
        result.append(rest[start:])
    return result


def _find_all(pieces: list[bytes | bytearray], pattern: bytes) -> list[tuple[int, int]]:
    """Every number of a piece and position in it where the pattern begins."""
    found = []
    for number, piece in enumerate(pieces):
        place = piece.find(pattern)
        while place >= 0:
            found.append((number, place))
            place = piece.find(pattern, place + 1)
    return found


def _opcode_places(pieces: list[bytes | bytearray], pattern: bytes, count: int) -> list[tuple[int, int]]:
    """Where opcodes begin that are written as the pattern: what strings of the user's hold is none."""
    data = b"".join(pieces)
    positions = [position for position, _, _ in decode(data) if data.startswith(pattern, position)]
    if len(positions) != count:
        problem = f"the object holds the text {pattern!r}, which ptfile needs while it writes"
        raise UnsupportedError(problem, fix="Save with pickle_protocol=2")
    starts = list(accumulate((len(piece) for piece in pieces), initial=0))
    numbers = [bisect_right(starts, position) - 1 for position in positions]
    return [(number, position - starts[number]) for number, position in zip(numbers, positions, strict=True)]

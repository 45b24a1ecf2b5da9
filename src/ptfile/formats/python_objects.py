"""Values of Python's own library that people keep in checkpoints, built from what their picklers write.

Each builder takes the arguments that `__reduce__` of its class gives and refuses others. None of them runs anything
but a constructor of the standard library on values of known types. What is hashed, the machine has checked.
"""

from __future__ import annotations

import argparse
import array
import datetime
import decimal
import fractions
import pathlib
import types
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

from ptfile.errors import FormatError, UnsafeError, UnsupportedError, brief
from ptfile.machine.extent import Unguarded
from ptfile.machine.opcodes import MOST_DIGITS
from ptfile.machine.policy import Meaning, TypeRules


def _takes(*signatures: tuple[type, ...], build: Callable[..., object]) -> Callable[..., object]:
    """A builder that takes arguments of exactly these types (one tuple of types a signature)."""

    def checked(*arguments: object) -> object:
        kinds = tuple(type(argument) for argument in arguments)
        if kinds not in signatures:
            names = ", ".join(kind.__name__ for kind in kinds)
            raise FormatError(f"it has arguments ({names}) that its pickler never writes")
        return build(*arguments)

    return checked


# bytes and numbers


def _encode(*arguments: object) -> bytes:
    # How protocol 2 writes bytes.
    text, encoding = arguments if len(arguments) == 2 else (None, None)
    if type(text) is not str or type(encoding) is not str or encoding != "latin1":
        raise UnsafeError(f"the pickle calls _codecs.encode with {brief(encoding)}", name="_codecs.encode")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError as error:
        problem = "the pickle calls _codecs.encode with text that is not latin1"
        raise UnsafeError(problem, name="_codecs.encode") from error


def _filled(kind: str, fill: Callable[..., object], *signatures: tuple[type, ...]) -> Callable[..., object]:
    """A builder of `bytes` or `bytearray`, which would set memory aside for a number."""

    def build(*arguments: object) -> object:
        if tuple(type(argument) for argument in arguments) not in signatures:
            name = f"builtins.{kind}"
            problem = f"the pickle calls {name} with arguments that its pickler never writes"
            raise UnsafeError(problem, name=name)
        return fill(*arguments)

    return build


def _bytearray(data: bytes | str = b"", encoding: str = "latin-1") -> bytearray:
    # Another encoding would have Python import the module of that name in `encodings`.
    if encoding != "latin-1":
        raise UnsafeError(f"the pickle calls bytearray with {brief(encoding)}", name="builtins.bytearray")
    return bytearray(data.encode("latin1") if isinstance(data, str) else data)


def _slice(*bounds: object) -> slice:
    if len(bounds) != 3 or not all(type(bound) in (int, type(None), str, bool) for bound in bounds):
        raise FormatError("a slice is not built from three plain bounds")
    return slice(*bounds)


def _fraction(numerator: object, denominator: object = None) -> fractions.Fraction:
    if type(numerator) is str and denominator is None:  # up to Python 3.10
        top, _, bottom = numerator.partition("/")
        if max(len(top), len(bottom)) > MOST_DIGITS + len("-"):
            raise FormatError(f"a Fraction is built from a text of {len(numerator)} digits")
        return fractions.Fraction(int(top), int(bottom or 1))
    if type(numerator) is int and type(denominator) is int:
        return fractions.Fraction(numerator, denominator)
    raise FormatError("a Fraction is not built from two integers")


def _fraction_weight(made: fractions.Fraction) -> int:
    return (made.numerator.bit_length() + made.denominator.bit_length()) // 8


# containers


def _set(items: object = ()) -> set[Any]:
    return set(_elements(items))


def _frozenset(items: object = ()) -> frozenset[Any]:
    return frozenset(_elements(items))


def _elements(items: object) -> list[Any]:
    if type(items) is not list and items != ():
        raise FormatError("a set is not built from a list")
    elements: list[Any] = list(items)  # type: ignore[call-overload]
    return elements


def _ordered_dict(items: object = ()) -> OrderedDict[Any, Any]:
    """Python 3 stores the items afterwards; Python 2 gives a list of [key, value] lists."""
    if items != () and not (type(items) is list and all(type(pair) is list and len(pair) == 2 for pair in items)):
        raise FormatError("an OrderedDict is not built from a list of pairs")
    pairs: list[Any] = list(items)  # type: ignore[call-overload]
    return OrderedDict(pairs)


def _counter(counts: object = None) -> Counter[Any]:
    counts = {} if counts is None else counts
    if type(counts) is not dict or not all(type(count) is int for count in counts.values()):
        raise FormatError("a Counter is not built from a dict of integers")
    return Counter(counts)


def _update_counter(target: Counter[Any], pairs: list[tuple[Any, Any]]) -> None:
    if not all(type(count) is int for _, count in pairs):
        raise FormatError("a Counter counts in integers")
    dict.update(target, pairs)


_FACTORIES: tuple[Any, ...] = (
    None,
    int,
    float,
    bool,
    complex,
    str,
    bytes,
    list,
    tuple,
    dict,
    set,
    frozenset,
    OrderedDict,
)


def _defaultdict(factory: Any = None) -> defaultdict[Any, Any]:
    if not any(factory is known for known in _FACTORIES):
        name = brief(factory)
        raise UnsafeError(f"a defaultdict makes its values by calling {name}", name=name)
    return defaultdict(factory)


def _deque(items: Any = (), maxlen: Any = None) -> deque[Any]:
    if type(items) not in (tuple, list) or not (maxlen is None or (type(maxlen) is int and maxlen >= 0)):
        raise FormatError("a deque is not built from a list and a length")
    return deque(items, maxlen)


def _array(typecode: Any, items: Any) -> array.array[Any]:
    if type(typecode) is not str or typecode not in array.typecodes or type(items) not in (list, str, bytes):
        raise FormatError("an array is not built from a type code and a list")
    made: array.array[Any] = array.array(typecode, items)
    return made


def _array_from_bytes(kind: object, typecode: Any, layout: Any, data: Any) -> object:
    """How protocols 3 and later write arrays; `layout` is the machine format code of its bytes."""
    if kind is not array.array or (type(typecode), type(layout), type(data)) != (str, int, bytes):
        raise FormatError("an array is not built from a type code, a layout and bytes")
    made: object = array._array_reconstructor(kind, typecode, layout, data)  # type: ignore[attr-defined]  # noqa: SLF001
    return made


# times


def _python2_bytes(packed: object) -> object:
    """Python 2 wrote the bytes as a string, which load reads with encoding='latin1'."""
    return packed.encode("latin1") if type(packed) is str else packed


def _datetime(packed: object, zone: object = None) -> datetime.datetime:
    return datetime.datetime(*_packed_time(packed, 10, zone))  # type: ignore[arg-type]  # noqa: DTZ001  (the file's own)


def _time(packed: object, zone: object = None) -> datetime.time:
    return datetime.time(*_packed_time(packed, 6, zone))  # type: ignore[arg-type]


def _packed_time(packed: object, size: int, zone: object) -> tuple[object, ...]:
    packed = _python2_bytes(packed)
    if type(packed) is not bytes or len(packed) != size or not (zone is None or type(zone) is datetime.timezone):
        raise FormatError("a time is not built from its packed bytes and a timezone")
    return (packed,) if zone is None else (packed, zone)


def _date(packed: object) -> datetime.date:
    packed = _python2_bytes(packed)
    if type(packed) is not bytes or len(packed) != 4:
        raise FormatError("a date is not built from its 4 packed bytes")
    return datetime.date(packed)  # type: ignore[call-arg, arg-type]


# objects with attributes


_LONGEST_ATTRIBUTE = 10_000
"""Characters. With longer names a state that is given again and again would take long to compare with the last."""


def check_attributes(kind: type, state: object) -> dict[str, Any]:
    """The state, if it is a dict of attributes that hide nothing of the class."""
    if type(state) is not dict:
        raise FormatError(f"the state of a {kind.__name__} is not a dict of attributes")
    for name in state:
        if type(name) not in (str, bytes):
            raise UnsafeError(f"the state of a {kind.__name__} has an attribute called {brief(name)}", name=brief(name))
        if len(name) > _LONGEST_ATTRIBUTE:
            raise FormatError(f"an attribute of a {kind.__name__} has a name of {len(name)} characters")
        # Python 2's, read with encoding="bytes", hide nothing: Python keeps them under their bytes, where no one looks.
        if type(name) is str and (name.startswith("__") or hasattr(kind, name)):
            raise UnsafeError(f"the attribute {name} of a {kind.__name__} would hide its own", name=name)
    return state


def _set_attributes(target: Any, state: object) -> None:
    vars(target).update(check_attributes(type(target), state))


def _set_uuid_state(target: uuid.UUID, state: object) -> None:
    if type(state) is not dict or type(state.get("int")) is not int or not 0 <= state["int"] < 1 << 128:
        raise FormatError("the state of a UUID is not an integer of 128 bits")
    object.__setattr__(target, "int", state["int"])
    # Where it came from is kept as a number; the default is left out of the pickle.
    object.__setattr__(target, "is_safe", uuid.SafeUUID(state.get("is_safe", uuid.SafeUUID.unknown.value)))


def _path(kind: type[pathlib.PurePath]) -> Callable[..., object]:
    def build(*parts: object) -> pathlib.PurePath:
        if not all(type(part) is str for part in parts):
            raise FormatError("a path is not built from text")
        try:
            return kind(*parts)  # type: ignore[arg-type]
        except NotImplementedError as error:  # a WindowsPath elsewhere, or the other way round
            fix = "Load it on the other system, or save the path as text"
            raise UnsupportedError(f"a {kind.__name__} cannot exist on this system", fix=fix) from error

    return build


_PATHS = (
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    pathlib.PosixPath,
    pathlib.WindowsPath,
)

NAMES: Mapping[tuple[str, str], Meaning] = {
    ("_codecs", "encode"): Meaning(call=_encode),
    ("builtins", "bytes"): Meaning(bytes, call=_filled("bytes", bytes, ())),
    ("builtins", "bytearray"): Meaning(bytearray, call=_filled("bytearray", _bytearray, (), (bytes,), (str, str))),
    ("builtins", "complex"): Meaning(complex, call=_takes((float, float), build=complex)),
    ("builtins", "set"): Meaning(set, call=_set),
    ("builtins", "frozenset"): Meaning(frozenset, call=_frozenset),
    ("builtins", "range"): Meaning(range, call=_takes((int, int, int), build=range)),
    ("builtins", "slice"): Meaning(slice, call=_slice),
    ("builtins", "Ellipsis"): Meaning(Ellipsis),
    ("builtins", "NotImplemented"): Meaning(NotImplemented),
    **{("builtins", kind.__name__): Meaning(kind) for kind in (int, float, bool, str, list, tuple, dict)},
    ("collections", "OrderedDict"): Meaning(OrderedDict, call=_ordered_dict),
    ("collections", "Counter"): Meaning(Counter, call=_counter),
    ("collections", "defaultdict"): Meaning(defaultdict, call=_defaultdict),
    ("collections", "deque"): Meaning(deque, call=_deque),
    ("array", "array"): Meaning(array.array, call=_array),
    ("array", "_array_reconstructor"): Meaning(call=_array_from_bytes),
    ("datetime", "datetime"): Meaning(datetime.datetime, call=_datetime),
    ("datetime", "date"): Meaning(datetime.date, call=_date),
    ("datetime", "time"): Meaning(datetime.time, call=_time),
    ("datetime", "timedelta"): Meaning(datetime.timedelta, call=_takes((int, int, int), build=datetime.timedelta)),
    ("datetime", "timezone"): Meaning(
        datetime.timezone,
        call=_takes((datetime.timedelta,), (datetime.timedelta, str), build=datetime.timezone),
    ),
    ("decimal", "Decimal"): Meaning(decimal.Decimal, call=_takes((str,), build=decimal.Decimal)),
    ("fractions", "Fraction"): Meaning(fractions.Fraction, call=_fraction),
    # Its number comes as a state. Should there be none, it still is a UUID that can be hashed and shown.
    ("uuid", "UUID"): Meaning(uuid.UUID, new=_takes((), build=lambda: uuid.UUID(int=0))),
    ("argparse", "Namespace"): Meaning(argparse.Namespace, new=_takes((), build=argparse.Namespace)),
    ("types", "SimpleNamespace"): Meaning(types.SimpleNamespace, call=_takes((), build=types.SimpleNamespace)),
    # Python 3.13 moved the classes; they are written under the module that the running Python has.
    **{
        (module, kind.__name__): Meaning(kind, call=_path(kind))
        for module in ("pathlib", "pathlib._local")
        for kind in _PATHS
    },
}

TYPES: Mapping[type, TypeRules] = {
    OrderedDict: TypeRules(update=OrderedDict.update, set_state=_set_attributes),
    Counter: TypeRules(update=_update_counter),  # its pickler writes no attributes
    defaultdict: TypeRules(update=defaultdict.update, unguarded=Unguarded(defaultdict.values, defaultdict.clear)),
    deque: TypeRules(extend=deque.extend, unguarded=Unguarded(iter, deque.clear)),
    argparse.Namespace: TypeRules(set_state=_set_attributes),
    types.SimpleNamespace: TypeRules(set_state=_set_attributes),
    uuid.UUID: TypeRules(set_state=_set_uuid_state),
    fractions.Fraction: TypeRules(weigh=_fraction_weight),
    decimal.Decimal: TypeRules(weigh=decimal.Decimal.__sizeof__),
    slice: TypeRules(weigh=lambda made: sum(len(part) for part in made.__reduce__()[1] if type(part) is str)),
    **{kind: TypeRules(weigh=lambda path: len(str(path))) for kind in _PATHS},
}

"""numpy's arrays, scalars and dtypes, built from what numpy's picklers write, numpy 1 and 2 alike.

numpy's own `__setstate__` does the last step, on a state that was checked first: it trusts what it is given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ptfile.errors import FormatError, TensorError, UnsafeError
from ptfile.formats.arguments import counted, python2_text
from ptfile.machine.extent import Unguarded
from ptfile.machine.policy import Meaning, TypeRules

if TYPE_CHECKING:
    from typing import TypeGuard  # Python 3.10 has it in `typing`

_VALUE_DTYPE = re.compile(r"[biufcSUVmM]\d{1,9}|M8|m8")
"""The names under which numpy pickles dtypes that hold plain values; `O` (objects) is not among them."""
_DTYPE_VERSIONS = (3, 4)
_UNITS = ("generic", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")
_ALIGNED = 0x80
"""NPY_ALIGNED_STRUCT, numpy/ndarraytypes.h: offsets as a C compiler would choose them."""
_MOST_TEXT = 0x10FFFF
_MOST_DIMENSIONS = 64
_MOST_INNER_FIELDS = 100
_MODULES = ("numpy.core", "numpy._core")


def _any_dtype(name: object, align: object = False, copy: object = True) -> np.dtype[Any]:
    """A dtype of plain values, or of objects, which are whatever else the pickle holds."""
    return np.dtype("O") if python2_text(name) in ("O8", "O4") else _dtype(name, align, copy)


def _dtype(name: object, align: object = False, copy: object = True) -> np.dtype[Any]:
    name = python2_text(name)
    if type(name) is not str or type(align) not in (bool, int) or type(copy) not in (bool, int):
        raise TensorError("a numpy dtype is not built from a name and two flags")
    if not _VALUE_DTYPE.fullmatch(name):
        problem = f"numpy's dtype {name[:20]!r} does not hold plain values"
        raise UnsafeError(problem, name=f"numpy.dtype {name[:20]}")
    return np.dtype(name, align=bool(align), copy=True)


def _set_dtype_state(target: np.dtype[Any], state: object) -> None:
    """(version, byte order, subarray, names, fields, size, alignment, flags[, metadata of times])

    The dtype may be in use already, and numpy trusts what it is given. So another one is made of the facts in the state
    by numpy's front door; the state has to be that one's own, and that one's is what the dtype gets.
    """
    if type(state) is not tuple or len(state) not in (8, 9) or state[0] not in _DTYPE_VERSIONS:
        raise TensorError("the state of a numpy dtype is not one that numpy writes")
    _, order, subarray, names, fields, size, alignment, flags, *metadata = state
    order = python2_text(order)
    if type(order) is not str or order not in ("<", ">", "|", "=") or subarray is not None:
        raise TensorError("the state of a numpy dtype is not one that numpy writes, or that of a subarray")
    if target.kind in "mM":
        twin = np.dtype(f"{target.kind}8[{_unit(metadata)}]")
    elif target.kind == "V" and names is not None:
        twin = _structured(names, fields, size, flags)
    else:
        twin = target
        if (names, fields) != (None, None) or metadata not in ([], [None]):
            raise TensorError("a numpy dtype of simple values has fields or metadata")
    numpy_dtype: Any = twin
    expected: tuple[Any, ...] = numpy_dtype.newbyteorder(order).__reduce__()[2]
    if (size, alignment, flags) != expected[5:8] or twin.itemsize != target.itemsize:
        raise TensorError("the numbers of a numpy dtype are not those of its fields")
    if target.kind in "mM":  # numpy 1 writes an empty dict where numpy 2 writes None, and keeps what it reads
        expected = (*expected[:8], (metadata[0][0], expected[8][1]))
    target.__setstate__(expected)  # type: ignore[attr-defined]


def _unit(metadata: list[object]) -> str:
    """The unit of a time, as in `M8[25s]`."""
    found = metadata[0] if len(metadata) == 1 else None
    numbers = found[1] if type(found) is tuple and len(found) == 2 and found[0] in (None, {}) else None
    if type(numbers) is not tuple or [type(number) for number in numbers[1:]] != [int, int, int]:
        raise TensorError("the dtype of a time does not say its unit")
    unit, count, divisor, events = numbers
    text = unit.decode("latin1") if type(unit) is bytes else unit
    if type(text) is not str or text not in _UNITS or not 1 <= count < 1 << 31 or (divisor, events) != (1, 1):
        raise TensorError("the dtype of a time has a unit that numpy does not write")
    return f"{count}{text}" if text != "generic" else text


def _structured(names: object, fields: object, size: object, flags: object) -> np.dtype[Any]:
    if type(names) is tuple and type(fields) is dict:
        names, fields = tuple(map(python2_text, names)), {python2_text(name): fields[name] for name in fields}
    if type(names) is not tuple or type(fields) is not dict or list(map(type, names)) != [str] * len(names):
        raise TensorError("the fields of a numpy dtype are not those that it names")
    if type(size) is not int or type(flags) is not int or set(names) != set(fields):
        raise TensorError("the fields of a numpy dtype are not those that it names")
    formats, offsets = [], []
    for name in names:
        field = fields[name]
        dtype, offset = field if type(field) is tuple and len(field) == 2 else (None, None)
        if not is_dtype(dtype) or dtype.hasobject or type(offset) is not int:
            raise TensorError("a field of a numpy dtype is not a dtype of plain values and an offset")
        if not 0 <= offset <= size - dtype.itemsize:
            raise TensorError(f"the field {name[:40]!r} of a numpy dtype lies outside it")
        formats.append(dtype)
        offsets.append(offset)
    _check_inner_fields(formats)
    parts = {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size}
    return np.dtype(parts, align=bool(flags & _ALIGNED))  # type: ignore[call-overload, no-any-return]


def _check_inner_fields(level: list[np.dtype[Any]]) -> None:
    """Raise FormatError for too many fields inside fields: numpy walks through all of them, recursively, each time.

    A dtype that has another one twice, which has another one twice, and so on, is a few bytes for each doubling.
    """
    count = 0
    while level:
        count += sum(len(dtype.names or ()) for dtype in level)
        if count > _MOST_INNER_FIELDS:
            raise FormatError(f"a numpy dtype has more than {_MOST_INNER_FIELDS} fields inside its fields")
        level = [dtype[name] for dtype in level for name in dtype.names or ()]


def is_dtype(value: object) -> TypeGuard[np.dtype[Any]]:
    """By its type, not by what it says of itself."""
    return issubclass(type(value), np.dtype)


def _reconstruct(kind: object, shape: object, code: object) -> npt.NDArray[Any]:
    """An array that gets its state next."""
    if kind is not np.ndarray or shape != (0,) or code not in (b"b", "b"):
        raise UnsafeError("the pickle makes an array in a way that numpy does not", name="numpy.ndarray")
    empty: npt.NDArray[Any] = np.ndarray.__new__(np.ndarray, (0,), "b")
    return empty


def _set_array_state(target: npt.NDArray[Any], state: object) -> None:
    """(version, shape, dtype, whether it is in Fortran order, bytes)"""
    if type(state) is not tuple or len(state) != 5 or target.shape != (0,) or target.dtype != np.dtype("b"):
        raise TensorError("the state of a numpy array is not one that numpy writes")
    version, shape, dtype, fortran, data = state
    if type(data) is str:  # Python 2
        data = data.encode("latin1")
    if type(version) is not int or type(fortran) not in (bool, int) or type(data) is not bytes:
        raise UnsafeError("a numpy array holds objects, not plain values", name="numpy.ndarray")
    _check_fit(shape, dtype, len(data))
    _check_elements(np.frombuffer(data, dtype) if data else np.zeros(0, dtype))
    target.__setstate__((version, shape, dtype, fortran, data))


def _set_any_array_state(target: npt.NDArray[Any], state: object) -> None:
    """The same, but an array of objects has a list of them instead of bytes."""
    if type(state) is tuple and len(state) == 5 and is_dtype(state[2]) and state[2].hasobject:
        _, shape, dtype, _, items = state
        if dtype != np.dtype("O") or type(items) is not list or type(shape) is not tuple or target.shape != (0,):
            raise UnsafeError("a numpy array mixes objects and plain values", name="numpy.ndarray")
        if not all(type(length) is int and length >= 0 for length in shape) or math.prod(shape) != len(items):
            raise TensorError(f"a numpy array of shape {shape} does not have {len(items)} items")
        target.__setstate__(state)
        return
    _set_array_state(target, state)


def _nbytes(array: npt.NDArray[Any] | np.generic) -> int:
    return array.nbytes


def _objects(array: npt.NDArray[Any]) -> Iterable[Any]:
    return array.flat if array.dtype.hasobject else ()


def _drop_objects(array: npt.NDArray[Any]) -> None:
    if array.dtype.hasobject:
        array[...] = None


def _check_fit(shape: object, dtype: object, size: int) -> None:
    if type(shape) is not tuple or not all(type(length) is int and length >= 0 for length in shape):
        raise TensorError("the shape of a numpy array is not a tuple of counts")
    if not is_dtype(dtype) or dtype.hasobject:
        raise TensorError("a numpy array has no dtype of plain values")
    if len(shape) > _MOST_DIMENSIONS or math.prod(shape) * dtype.itemsize != size:
        raise TensorError(f"a numpy array of shape {shape} and {dtype} does not have {size} bytes")


def _check_elements(elements: npt.NDArray[Any]) -> None:
    """Raise TensorError for bytes that are no bools or no text to numpy, which does not look."""
    if elements.dtype.names is not None:
        for name in elements.dtype.names:
            _check_elements(elements[name])
    elif elements.dtype.kind == "b":
        if np.ascontiguousarray(elements).view(np.uint8).max(initial=0) > 1:
            raise TensorError("a numpy array of bools has bytes other than 0 and 1")
    elif elements.dtype.kind == "U" and elements.dtype.itemsize:
        codes = np.ascontiguousarray(elements).view(np.dtype(np.uint32).newbyteorder(elements.dtype.byteorder))
        if codes.max(initial=0) > _MOST_TEXT:
            raise TensorError("a numpy array of text has characters that do not exist")


def _scalar(dtype: object, data: object = None) -> np.generic:
    if type(data) is str:  # Python 2
        data = data.encode("latin1")
    if type(data) is not bytes:
        raise UnsafeError("a numpy scalar holds an object, not a plain value", name="numpy scalar")
    _check_fit((), dtype, len(data))
    # From bytes that can be written, as numpy makes it: a structured scalar then has no hash, which could take long.
    elements: npt.NDArray[Any] = np.frombuffer(bytearray(data), dtype) if data else np.zeros(1, dtype)  # type: ignore[call-overload]
    _check_elements(elements)
    value = elements[0]
    assert isinstance(value, np.generic)
    return value


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> npt.NDArray[Any]:
    """How numpy writes arrays with protocol 5."""
    if not isinstance(data, (bytes, bytearray)) or order not in ("C", "F"):
        raise TensorError("a numpy array is not built from bytes")
    _check_fit(shape, dtype, len(data))
    flat: npt.NDArray[Any] = np.frombuffer(data, dtype) if len(data) else np.zeros(0, dtype)  # type: ignore[call-overload]
    _check_elements(flat)
    return flat.reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]


def _in_modules(name: str, builder: Callable[..., object]) -> dict[tuple[str, str], Meaning]:
    """Numpy 2 renamed `numpy.core` to `numpy._core`."""
    module, _, function = name.rpartition(".")
    checked = counted(f"numpy's {function}", builder)
    return {(f"{package}.{module}", function): Meaning(call=checked) for package in _MODULES}


NAMES: Mapping[tuple[str, str], Meaning] = {
    ("numpy", "dtype"): Meaning(np.dtype, call=counted("numpy.dtype", _dtype)),
    ("numpy", "ndarray"): Meaning(np.ndarray),
    **_in_modules("multiarray._reconstruct", _reconstruct),
    **_in_modules("multiarray.scalar", _scalar),
    **_in_modules("numeric._frombuffer", _from_buffer),
}

DTYPE_RULES = TypeRules(set_state=_set_dtype_state, weigh=lambda dtype: 32 * len(dtype.names or ()))
TYPES: Mapping[type, TypeRules] = {
    np.ndarray: TypeRules(set_state=_set_array_state, weigh=_nbytes),
    **{kind: TypeRules(weigh=_nbytes) for kind in (np.str_, np.bytes_, np.void)},
    # Each dtype is of a class of its own.
    **{
        type(np.dtype(code)): DTYPE_RULES for code in (*np.typecodes["All"].replace("O", ""), "V", "S", "U", "M8", "m8")
    },
}

OBJECT_NAMES: Mapping[tuple[str, str], Meaning] = {
    ("numpy", "dtype"): Meaning(np.dtype, call=counted("numpy.dtype", _any_dtype))
}
"""Instead of the above where a file is only looked into: arrays of objects as well."""
OBJECT_TYPES: Mapping[type, TypeRules] = {
    np.ndarray: TypeRules(set_state=_set_any_array_state, unguarded=Unguarded(_objects, _drop_objects), weigh=_nbytes),
    type(np.dtype("O")): DTYPE_RULES,
}

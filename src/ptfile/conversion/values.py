"""Values that JSON has no form for, as lists that begin with a word: one table, both ways.

What a file says is checked: a list of the wrong form is a FormatError.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptfile.errors import FormatError, brief
from ptfile.tensors import dtypes
from ptfile.tensors.constants import Device, Size
from ptfile.tensors.dtypes import DType

MOST_DIGITS = 4_300
"""Of an integer: as many as Python writes as text, and reads."""
_SCALAR = re.compile(r"b1|[iu][1248]|f[248]|c(?:8|16)")
"""Numpy's scalars: those that are the same on every machine."""


@dataclass(frozen=True, slots=True)
class Form:
    """How values of one type are written behind their word, and read."""

    kind: type
    write: Callable[[Any], list[Any]]
    read: Callable[..., Any]
    """Takes what stands behind the word."""
    takes: tuple[type, ...] | None
    """The types of that; None: any number of integers."""


def number(value: float) -> Any:
    """A float as JSON: infinities and NaNs, with their bits, as a list."""
    return value if math.isfinite(value) else ["float", struct.pack(">d", value).hex()]


def is_plain(value: object) -> bool:
    """Whether JSON itself says the value."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    return value is None or kind is bool or kind is str or (kind is int and is_short(value))  # type: ignore[arg-type]


def is_short(value: int) -> bool:
    """Whether an integer may stand in a file: 2 ** 14,284 has 4,300 digits."""
    return value.bit_length() <= 14_284


def _float(digits: str) -> float:
    if not re.fullmatch("[0-9a-f]{16}", digits):
        raise FormatError(f"{digits[:20]!r} are not the bits of a float")
    return float(struct.unpack(">d", bytes.fromhex(digits))[0])


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("bytes are not in base64") from error


def _text(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()


def _complex(text: str) -> complex:
    data = _base64(text)
    if len(data) != 16:
        raise FormatError("a complex number does not have 16 bytes")
    return complex(*struct.unpack("<dd", data))


def _dtype(name: str) -> DType:
    if name not in dtypes.BY_NAME:
        raise FormatError(f"there is no dtype {name[:40]!r}")
    return dtypes.BY_NAME[name]


def _device(kind: str, index: int) -> Device:
    if not re.fullmatch("[a-z]{1,20}", kind):
        raise FormatError(f"there is no device {kind[:40]!r}")
    return Device(kind, None if index < 0 else index)


def _scalar(code: str, text: str) -> np.generic:
    data = _base64(text)
    if not _SCALAR.fullmatch(code) or len(data) != np.dtype(code).itemsize:
        raise FormatError(f"{code[:20]!r} is no kind of numpy's numbers, or has not so many bytes")
    scalar: np.generic = np.frombuffer(data, f"<{code}")[0]
    return scalar


def scalar_code(value: np.generic) -> str | None:
    """What a scalar of numpy is called in a file; None if it has no form there."""
    code = f"{value.dtype.kind}{value.dtype.itemsize}"
    return code if value.dtype.isbuiltin == 1 and _SCALAR.fullmatch(code) else None


def write_scalar(value: np.generic) -> list[Any]:
    """A scalar of numpy that has a code."""
    return ["scalar", scalar_code(value), _text(value.astype(value.dtype.newbyteorder("<")).tobytes())]


FORMS: Mapping[str, Form] = {
    "float": Form(float, lambda value: number(value)[1:], _float, (str,)),
    "complex": Form(complex, lambda value: [_text(struct.pack("<dd", value.real, value.imag))], _complex, (str,)),
    "bytes": Form(bytes, lambda value: [_text(value)], _base64, (str,)),
    "bytearray": Form(bytearray, lambda value: [_text(value)], lambda text: bytearray(_base64(text)), (str,)),
    "Size": Form(Size, list, lambda *sizes: Size(sizes), None),
    "dtype": Form(DType, lambda value: [value.name], _dtype, (str,)),
    "device": Form(Device, lambda value: [value.type, -1 if value.index is None else value.index], _device, (str, int)),
    "scalar": Form(np.generic, lambda value: write_scalar(value)[1:], _scalar, (str, str)),
}
"""By their words."""
WORDS: Mapping[type, str] = {form.kind: word for word, form in FORMS.items()}


def read(word: str, arguments: list[Any]) -> Any:
    """The value of a list that begins with a word of the table. Raises FormatError for the wrong things behind it."""
    form = FORMS[word]
    kinds = tuple(map(type, arguments))
    if kinds != (form.takes if form.takes is not None else (int,) * len(arguments)):
        raise FormatError(f"{word!r} is followed by {brief(arguments[0]) if arguments else 'nothing'}")
    return form.read(*arguments)

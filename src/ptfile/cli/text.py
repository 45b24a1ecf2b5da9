"""Numbers, values and names as text for people."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

from ptfile._lazy import is_array
from ptfile.cli.printable import printable
from ptfile.machine.inert import InertRecord
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.quantized import QuantizedTensor
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.tensor import Tensor

VALUE_WIDTH = 60
"""Characters of a value that is not a tensor."""

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(nbytes: int) -> str:
    """Bytes, with at most one decimal.

    >>> size(1023), size(1024), size(10 * 1024**3)
    ('1023 B', '1.0 KiB', '10.0 GiB')
    """
    if nbytes < 1024:
        return f"{nbytes} B"
    amount = float(nbytes)
    for unit in _UNITS:
        amount /= 1024
        if amount < 1023.95 or unit == _UNITS[-1]:
            return f"{amount:,.1f} {unit}"
    raise AssertionError


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "tensor"), count(11689512, "element")
    ('1 tensor', '11,689,512 elements')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def names(those: Sequence[str], most: int) -> str:
    """Names in a row, as many as people want to read.

    >>> names(["a", "", "c"], 2)
    'a, (root) and 1 more'
    """
    shown = ", ".join(name or "(root)" for name in those[:most])
    return f"{shown} and {len(those) - most} more" if len(those) > most else shown


def shape(sizes: tuple[int, ...]) -> str:
    """As PyTorch writes it.

    >>> shape((64, 3, 7, 7)), shape(())
    ('[64, 3, 7, 7]', '[]')
    """
    return str(list(sizes))


def brief(thing: Any) -> str:
    """A tensor by its dtype and shape, anything else as `value` has it."""
    if isinstance(thing, (Tensor, QuantizedTensor)):
        return f"{thing.dtype.name} {shape(thing.shape)}"
    return value(thing)


def value(thing: Any) -> str:
    """What is in a checkpoint beside tensors, in a few words.

    >>> import numpy as np
    >>> value(3), value([0.9, 0.999]), value(np.zeros((2, 3)))
    ('3', '[0.9, 0.999]', 'array of float64, [2, 3]')
    """
    if thing is ...:
        return "..."
    if is_array(thing):
        return f"array of {thing.dtype}, {shape(thing.shape)}"
    if isinstance(thing, (Storage, TypedStorage)):
        return f"storage of {size(thing.nbytes())}"
    if type(thing) is InertRecord:
        return printable(f"object of {thing.inert_class}")
    if isinstance(thing, Attributed):
        return _tensor(thing)
    text = printable(_REPR.repr(thing))
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 1]}…"


def _tensor(tensor: Attributed) -> str:
    """A tensor of another layout; its repr would want the bytes."""
    kind = str(getattr(tensor, "layout", "nested")).rpartition(".")[2]
    sizes = getattr(tensor, "shape", None)
    return f"{kind} tensor of {tensor.dtype.name}" + (f", {shape(sizes)}" if sizes is not None else "")


def _shortener() -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = VALUE_WIDTH
    short.maxlist = short.maxtuple = short.maxdeque = 8
    return short


_REPR = _shortener()

"""JSON for programs: strict, with numbers exact; what JSON has no form for is a text."""

from __future__ import annotations

import math
from typing import Any

import click

from ptfile.cli import text

_LARGEST = 10_000
"""Bits: Python turns no much larger integers into text."""


def write(value: Any) -> None:
    """Print one document. What is in it has gone through `number` or `value` if it came out of a file."""
    import json

    click.echo(json.dumps(value, allow_nan=False))


def number(value: Any) -> Any:
    """A number as it is; `nan`, `inf`, `-inf` and complex numbers as texts.

    >>> number(1.5), number(float("inf")), number(1 + 2j), number(None)
    (1.5, 'inf', '(1+2j)', None)
    """
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value


def value(thing: Any) -> Any:
    """A value of a checkpoint: itself, if it is null, a boolean, a finite number or a text; else a short text."""
    if thing is None or type(thing) in (bool, str) or (type(thing) is float and math.isfinite(thing)):
        return thing
    if type(thing) is int and thing.bit_length() < _LARGEST:
        return thing
    return text.value(thing)


def nested(values: Any) -> Any:
    """Numbers in lists of lists.

    >>> nested([[1.0, float("nan")], [2.0, 3.0]])
    [[1.0, 'nan'], [2.0, 3.0]]
    """
    return [nested(item) for item in values] if isinstance(values, list) else number(values)

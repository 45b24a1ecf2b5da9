"""A value from a pickle in a few words: bounded in length and in what is looked at, whatever the value is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from ptfile.errors import brief
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import Global, InertName

MOST_CHARACTERS = 240
"""Of a whole sketch."""
_MOST_TEXT = 100
_MOST_ITEMS = 4
_LEVELS = 2
_BRACKETS: Mapping[type, tuple[str, str]] = {tuple: ("(", ")"), list: ("[", "]"), dict: ("{", "}"), set: ("{", "}")}


class Unknown:
    """What stands for a name or a result that a load would have refused. It keeps its own name, and nothing else."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text, cut where it gets too long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def call_text(name: str, arguments: object) -> str:
    """A call as Python writes it.

    >>> call_text("os.system", ("ls",))
    "os.system('ls')"
    """
    if type(arguments) is not tuple:
        return shortened(f"{name}(*{sketch(arguments)})")
    return shortened(f"{name}({_items(arguments, _LEVELS)})")


def sketch(value: object, levels: int = _LEVELS) -> str:
    """The first few parts of a value.

    >>> sketch(["/bin/sh", "-c", "ls", 1, 2, 3])
    "['/bin/sh', '-c', 'ls', 1, …]"
    """
    kind = type(value)
    if kind in (str, bytes):
        return _text(value)
    if kind is float:
        return repr(value)
    if isinstance(value, Unknown | Global | InertName):
        return shortened(str(value), _MOST_TEXT)
    if kind is InertRecord:
        return "an object"
    if kind in _BRACKETS and levels:
        opening, closing = _BRACKETS[kind]
        return f"{opening}{_items(value, levels - 1)}{closing}"
    return brief(value)


def _items(values: Any, levels: int) -> str:
    parts = [sketch(item, levels) for item in islice(values, _MOST_ITEMS)]
    if type(values) is dict:
        parts = [f"{key}: {sketch(item, levels)}" for key, item in zip(parts, values.values(), strict=False)]
    return ", ".join([*parts, "…"] if len(values) > _MOST_ITEMS else parts)


def _text(value: Any) -> str:
    if len(value) <= _MOST_TEXT:
        return repr(value)
    return f"{value[:_MOST_TEXT]!r}… ({len(value)} {'characters' if type(value) is str else 'bytes'})"

"""Checks of what a pickle gives to a builder, and arguments as PyTorch would give them to a pickler."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from ptfile.errors import TensorError, UnsupportedError
from ptfile.machine.names import Global

_T = TypeVar("_T")


def torch_utils(name: str) -> Global:
    """A function of `torch._utils`, where most of the builders are."""
    return Global("torch._utils", name)


def exactly(value: object, kind: type[_T], what: str) -> _T:
    """The value, if it is of this very type; else TensorError. `what` names it in the message."""
    if type(value) is not kind:
        raise TensorError(f"{what} is a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def counted(name: str, builder: Callable[..., object]) -> Callable[..., object]:
    """A builder that raises TensorError for another number of arguments than it takes. `name`: as a pickle calls it."""
    parameters = inspect.signature(builder).parameters.values()
    least, most = sum(parameter.default is parameter.empty for parameter in parameters), len(parameters)

    def build(*arguments: object) -> object:
        if not least <= len(arguments) <= most:
            takes = f"{least}" if least == most else f"{least} to {most}"
            raise TensorError(f"{name} takes {takes} arguments, and the pickle gives {len(arguments)}")
        return builder(*arguments)

    return build


def shape_tuple(value: object, what: str) -> tuple[int, ...]:
    """A tuple of ints, also one of PyTorch's sizes."""
    if not isinstance(value, tuple) or not all(type(number) is int for number in value):
        raise TensorError(f"{what} is not a tuple of integers")
    return tuple(value)


def no_hooks(hooks: object) -> None:
    """PyTorch writes an empty OrderedDict in place of backward hooks, and wrote None up to 0.4."""
    if hooks is not None and not isinstance(hooks, dict):
        raise TensorError("the hooks of a tensor are no dict")
    if hooks:
        raise UnsupportedError("a tensor was saved with hooks, which are code", fix="Save it without them")


def fresh_hooks() -> OrderedDict[Any, Any]:
    """What PyTorch writes for hooks, an object of its own for each tensor."""
    return OrderedDict()


def fresh_text(text: str) -> str:
    """A copy, for the same reason."""
    return text[:1] + text[1:]


def fresh(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """A copy: a pickler writes a tuple that it has met before as a reference, and PyTorch makes new ones each time."""
    return (*numbers,)


def python2_text(value: object) -> object:
    """Text, where Python 2 wrote a string of ASCII that encoding="bytes" leaves as bytes; else the value itself."""
    return value.decode("ascii") if type(value) is bytes and value.isascii() else value

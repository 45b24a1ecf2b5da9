"""Classes and functions that the tests pickle; they have a module of their own so that every test can import them."""

from __future__ import annotations

import os
from collections import OrderedDict, namedtuple
from typing import Any

from tests.parity.drop_in.support import torch

Point = namedtuple("Point", "x y")  # noqa: PYI024


class Plain:
    """An object with a dict."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


class Slotted:
    """An object with slots and no dict."""

    __slots__ = ("left", "right")

    def __init__(self, left: Any = None, right: Any = None) -> None:
        self.left = left
        self.right = right


class WithState:
    """An object with `__getstate__` and `__setstate__`; the latter leaves a mark."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __getstate__(self) -> Any:
        return {"stored": self.value}

    def __setstate__(self, state: Any) -> None:
        self.value = state["stored"]
        self.was_set = True


class Reduced:
    """Pickled as the call of a function of this module."""

    def __reduce__(self) -> Any:
        return (make_plain, (5,))


def make_plain(value: Any) -> Plain:
    return Plain(value)


class CallsSystem:
    """Asks the reader to run a command, as a malicious file does."""

    def __reduce__(self) -> Any:
        return (os.system, ("true",))


class CallsEval:
    """Asks the reader to run Python."""

    def __reduce__(self) -> Any:
        return (eval, ("1 + 1",))


class Pairs(OrderedDict):  # type: ignore[type-arg]
    """A dict of a class of its own."""


class Marked(torch.Tensor):  # type: ignore[misc]
    """A subclass of Tensor that adds nothing."""


class MarkedParameter(torch.nn.Parameter):  # type: ignore[misc]
    """A subclass of Parameter."""


class WithOwnReduce(torch.Tensor):  # type: ignore[misc]
    """A subclass that pickles itself in its own way."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (revive_own, (torch.Tensor(self), "own way"))


def revive_own(tensor: Any, note: str) -> Any:
    made = tensor.as_subclass(WithOwnReduce)
    made.note = note
    return made


class Net(torch.nn.Module):  # type: ignore[misc]
    """A small model with every kind of state: parameters, buffers (one is not saved), a child, plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scratch", torch.ones(2), persistent=False)
        self.note = "a note"

    def forward(self, batch: Any) -> Any:
        return self.norm(self.first(batch)).sum(1, keepdim=True)

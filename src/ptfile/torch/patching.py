"""Put ptfile in place of `torch.save` and `torch.load` in a running program, and take it out again."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import torch

from ptfile.torch.loading import load
from ptfile.torch.saving import save

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.11 has it in `typing`


class patch:  # noqa: N801  (called like a function)
    """From now on `torch.save` and `torch.load` are ptfile's.

    As a function it stays so until `undo()`; in a `with` block, until its end. What frameworks call by these names
    (Lightning, accelerate and the like) is replaced; names that a module has imported from torch before stay its own.
    """

    def __init__(self) -> None:
        self._before = [(module, name, getattr(module, name)) for module in _MODULES for name in _REPLACEMENTS]
        for module, name, _ in self._before:
            setattr(module, name, _REPLACEMENTS[name])

    def undo(self) -> None:
        """Put back what was there before."""
        for module, name, value in self._before:
            setattr(module, name, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.undo()


_MODULES = (torch, torch.serialization)
_REPLACEMENTS = {"save": save, "load": load}

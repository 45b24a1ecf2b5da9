"""Put ptfile in place of `torch.save` and `torch.load` in a running program, and take it out again."""

from __future__ import annotations

from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, ClassVar

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

    _active: ClassVar[list[patch]] = []
    """What is not undone yet; the last to be undone puts back what was there before the first."""
    _before: ClassVar[list[tuple[ModuleType, str, object]]] = []

    def __init__(self) -> None:
        if not patch._active:
            patch._before = [(module, name, getattr(module, name)) for module in _MODULES for name in _REPLACEMENTS]
            for module, name, _ in patch._before:
                setattr(module, name, _REPLACEMENTS[name])
        patch._active.append(self)

    def undo(self) -> None:
        """Put back what was there before, unless another patch is still to be undone. Twice is once."""
        if self in patch._active:
            patch._active.remove(self)
            if not patch._active:
                for module, name, value in patch._before:
                    setattr(module, name, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.undo()


_MODULES = (torch, torch.serialization)
_REPLACEMENTS = {"save": save, "load": load}

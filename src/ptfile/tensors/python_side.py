"""What the Python object of a tensor had beside the tensor itself: its class and its attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ptfile.errors import UnsupportedError


@dataclass(slots=True)
class PythonSide:
    """The class and the attributes of a tensor that was more than a `torch.Tensor`."""

    kind: Any = None
    """What names the class of a subclass; None for `torch.Tensor` and `torch.nn.Parameter` themselves."""
    state: Any = None
    """The attributes as PyTorch saves them: a dict, a pair of dicts (of `__dict__` and `__slots__`), or None."""


def give_attributes(side: PythonSide | None, tensor: Any) -> Any:
    """A torch tensor with the attributes that the file has for it. Raises UnsupportedError if it was of a subclass."""
    if side is None:
        return tensor
    if side.kind is not None:
        raise UnsupportedError(
            f"the tensor was of the class {side.kind}, which only PyTorch can make",
            fix="Take what is in it: its attributes, or `.detach()` of a strided one",
        )
    for part in side.state if type(side.state) is tuple else (side.state,):
        for name, value in (part or {}).items():
            setattr(tensor, name, value.torch() if isinstance(value, Attributed) else value)
    return tensor


class Attributed:
    """A tensor of any kind: attributes that its Python object had are attributes here too."""

    __slots__ = ("python_side",)

    python_side: PythonSide | None
    """None for an ordinary tensor."""

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes by name; a dict of its own."""
        state = self.python_side.state if self.python_side else None
        found: dict[str, Any] = {}
        for part in state if type(state) is tuple else (state,):
            if isinstance(part, dict):
                found.update(part)
        return found

    def python_state(self) -> tuple[None, dict[str, PythonSide]] | None:
        """For `__reduce__`: what a copy has to be given beside its arguments."""
        return (None, {"python_side": self.python_side}) if self.python_side else None

    def __getattr__(self, name: str) -> Any:
        # Only names that the class lacks come here.
        if not name.startswith("__") and name != "python_side" and name in self.attributes:
            return self.attributes[name]
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(message)

"""What a hostile file is made of, and what each way to read it must answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ptfile.errors import FormatError, LimitError, PtfileError, TensorError, UnsafeError, UnsupportedError

LETTERS: Mapping[str, type[PtfileError]] = {
    "F": FormatError,
    "U": UnsafeError,
    "L": LimitError,
    "T": TensorError,
    "N": UnsupportedError,
}
"""How the errors are called in the tables."""


@dataclass(frozen=True, slots=True)
class Loads:
    """There is no harm in it: it is read."""

    check: Callable[[Any], None] | None = None
    """Looks at the value that loading gives, in the child; not for the ways that give something else."""


@dataclass(frozen=True, slots=True)
class Fails:
    """An error, and what it says."""

    letters: str
    """Of the error; where there are several, it may be any of these."""
    says: str
    """A part of the message."""
    record: str | None = None
    offset: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Other fields: `name`, `limit`, `actual`."""
    file: bool = True
    """Whether it knows the file."""


@dataclass(frozen=True, slots=True)
class Refuses:
    """An error in PyTorch's own classes, of the drop-in."""


@dataclass(frozen=True, slots=True)
class PyTorchs:
    """The drop-in does what PyTorch does, whatever that is; but it takes no harm, and raises nothing unheard of."""


Outcome: TypeAlias = "Loads | Fails | Refuses | PyTorchs"


@dataclass(frozen=True, slots=True)
class Case:
    """One file."""

    number: int
    """Of the list in `sections`."""
    name: str
    build: Callable[[], bytes]
    expected: Outcome
    but: Mapping[str, Outcome] = field(default_factory=dict)
    """By way: where its answer is another one."""
    why: str = ""
    """Why it is."""

    @property
    def id(self) -> str:
        return f"{self.number}-{self.name}"

    def except_for(self, why: str, **but: Outcome) -> Case:
        """The same case with other answers of some ways."""
        return replace(self, but={**self.but, **but}, why=f"{self.why}; {why}" if self.why else why)

    def unread(self) -> Case:
        """The same, where the fault is in bytes that listing a checkpoint does not read."""
        return self.except_for("inspect reads no byte of any tensor", inspect=Loads())

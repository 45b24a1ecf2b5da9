"""Names in a pickle, kept as names: what they stand for is never imported."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn


class _Name:
    """What both kinds of names can do. They compare and hash by what they name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"<global {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Name) and (self.module, self.name) == (other.module, other.name)

    def __hash__(self) -> int:
        return hash((self.module, self.name))

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        # Picklers insist that what rebuilds an object is callable; nothing ever calls this.
        message = f"{self} is only a name: ptfile does not import what a file names"
        raise TypeError(message)


class Global(_Name):
    """A class, function or constant that a pickle names. It pickles as that name again.

    There is one object per name, as there is one of what it stands for: picklers go by identity.
    """

    _all: ClassVar[dict[tuple[str, str], Global]] = {}

    def __new__(cls, module: str, name: str) -> Global:  # noqa: PYI034
        made = super().__new__(cls)
        # No __slots__: the encoder needs an instance attribute `__module__`.
        made.module = module
        made.name = name
        return cls._all.setdefault((module, name), made)

    def __reduce__(self) -> tuple[type[Global], tuple[str, str]]:
        return Global, (self.module, self.name)


class InertName(_Name, type):
    """The name of a class or function that ptfile does not know; itself a class, because picklers write instances
    only of what is one. It has no instances: an `InertRecord` says that it is one.
    """

    source_code: tuple[Any, Any] | None = None
    """The file and the text of the class's source code, which the legacy format keeps beside some names."""

    parent: InertName | None
    """The name that this one was looked up in, as protocol 2 names a class inside a class."""

    def __new__(cls, module: str, name: str, parent: InertName | None = None) -> InertName:
        made = super().__new__(cls, "InertName", (), {})
        made.module = module
        made.name = name
        made.parent = parent
        return made

    def __init__(cls, *_: object) -> None:
        super().__init__("InertName", (), {})

"""`Global`: a name in a pickle, kept as a name."""

from __future__ import annotations

from typing import NoReturn


class Global:
    """A class, function or constant that a pickle names, standing for the real thing, which is never imported.

    It compares and hashes by its name, and pickles as that name again.
    """

    def __init__(self, module: str, name: str) -> None:
        # No __slots__: the encoder needs an instance attribute `__module__`.
        self.module = module
        self.name = name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"<global {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Global) and (self.module, self.name) == (other.module, other.name)

    def __hash__(self) -> int:
        return hash((self.module, self.name))

    def __reduce__(self) -> tuple[type[Global], tuple[str, str]]:
        return Global, (self.module, self.name)

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        # Picklers insist that what rebuilds an object is callable; nothing ever calls this one.
        message = f"{self} is only a name: ptfile does not import what a file names"
        raise TypeError(message)

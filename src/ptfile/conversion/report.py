"""What `convert` takes and gives; a module of its own because `import ptfile` needs no more of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["pt", "safetensors", "npz"]

SUFFIXES: Mapping[str, Format] = MappingProxyType(
    {".pt": "pt", ".pth": "pt", ".bin": "pt", ".ckpt": "pt", ".safetensors": "safetensors", ".npz": "npz"}
)
"""What the names of files end in."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `convert` has done."""

    file: str
    """The file that was read."""
    format: str
    """Its format, as `ptfile.open` has it; or `safetensors`, or `npz`."""
    out: str
    """The file that was written."""
    to: str
    """Its format: `pt`, `safetensors` or `npz`."""
    nbytes: int
    """Its size."""
    left_out: tuple[str, ...]
    """Names of the values that have no form in it."""
    unkept: tuple[str, ...]
    """Entries in the metadata of a safetensors file for which there is no place."""
    unreached: int
    """Bytes of storages that no tensor reaches, which are not in it."""
    verified: bool
    """Whether it was read again and says the same."""

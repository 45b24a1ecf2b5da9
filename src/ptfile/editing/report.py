"""What `edit` gives; a module of its own because `import ptfile` needs no more of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """What `edit` has done."""

    files: tuple[str, ...]
    """The files that were read."""
    out: str
    """The file that was written."""
    nbytes: int
    """Its size."""
    dropped: tuple[str, ...]
    """Names of the tensors and values that are not in it."""
    renamed: Mapping[str, str]
    """New keys by the names of their places."""
    cast: tuple[str, ...]
    """Names of the tensors that are of another dtype."""
    copied: int
    """Bytes of tensors that went from file to file without being looked at."""
    verified: bool
    """Whether it was read again and says the same."""

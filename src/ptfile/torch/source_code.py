"""The source code of the classes of `torch.nn.Module`, which the legacy format keeps and compares.

PyTorch has this inside its own `_legacy_save` and `_legacy_load`, where it cannot be called.
"""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch._sources import get_source_lines_and_file
from torch.serialization import SourceChangeWarning


class SourceCodeOfModules:
    """The file and the text of each class of modules that is saved, once; two times None, with a warning, without."""

    def __init__(self) -> None:
        self._met: set[type] = set()

    def __call__(self, obj: Any) -> tuple[str | None, str | None] | None:
        """None for all other objects: every single one that is saved comes by."""
        if not isinstance(obj, type) or not issubclass(obj, torch.nn.Module) or obj in self._met:
            return None
        self._met.add(obj)
        return _source(obj) or (None, None)


def check_source_code(kind: Any, file: Any, text: Any) -> None:
    """Warn of a class whose source code is not what it was when the object was saved.

    With `dump_patches` the way back is appended to a file in the working directory, as in PyTorch.
    """
    current = _source(kind)
    if current is None or current[1] == text:
        return
    what_to_do = (
        "you can retrieve the original source code by accessing the object's source attribute or set "
        "`torch.nn.Module.dump_patches = True` and use the patch tool to revert the changes."
    )
    if kind.dump_patches:
        what_to_do = _dump_patch(kind.__name__, str(current[1]), text, file)
    message = f"source code of class '{torch.typename(kind)}' has changed. {what_to_do}"
    warnings.warn(message, SourceChangeWarning, stacklevel=2)


def _source(kind: Any) -> tuple[str, str] | None:
    """The file and the text; None, with a warning, if they cannot be found."""
    try:
        lines, _, file = get_source_lines_and_file(kind)
        return file, "".join(lines)
    except Exception:  # noqa: BLE001  (whatever it is, source code is nice to have and no more)
        warnings.warn(
            f"Couldn't retrieve source code for container of type {kind.__name__}. "
            "It won't be checked for correctness upon loading.",
            stacklevel=3,
        )
        return None


def _dump_patch(name: str, current: str, original: str, file: Any) -> str:
    """Write the difference to NAME.patch, unless it is there already. Returns what to tell about it."""
    path = f"{name}.patch"
    patch = "\n".join(difflib.unified_diff(current.split("\n"), original.split("\n"), file, file, lineterm=""))
    try:
        with Path(path).open("a+") as opened:
            size = opened.seek(0, 2)
            opened.seek(0)
            if size == 0:
                opened.write(patch)
            written = size == 0 or (size == len(patch) and opened.read() == patch)
    except OSError:
        written = False
    if written:
        return f"Saved a reverse patch to {path}. Run `patch -p0 < {path}` to revert your changes."
    return (
        f"Tried to save a patch, but couldn't create a writable file {path}. Make sure it doesn't exist and "
        "your working directory is writable."
    )

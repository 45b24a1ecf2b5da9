"""All modules of ptfile. It imports each when it is first needed, which those who watch what a file causes mean not."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path

_NEED_A_FRAMEWORK = ("ptfile.torch", "ptfile.jax", "ptfile.__main__")


def import_all() -> None:
    """Import what needs no framework, nor an extra that is not installed."""
    root = Path(str(import_module("ptfile").__file__)).parent
    for path in sorted(root.rglob("*.py")):
        name = ".".join(("ptfile", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        if not name.startswith(_NEED_A_FRAMEWORK):
            with suppress(ModuleNotFoundError):
                import_module(name)

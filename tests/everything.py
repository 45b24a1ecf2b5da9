"""All modules of ptfile. It imports each when it is first needed, which those who watch what a file causes mean not."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

_NEED_A_FRAMEWORK = ("ptfile.torch", "ptfile.jax", "ptfile.__main__")


def import_all() -> None:
    """Import what needs no framework."""
    root = Path(str(import_module("ptfile").__file__)).parent
    for path in sorted(root.rglob("*.py")):
        name = ".".join(("ptfile", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        if not name.startswith(_NEED_A_FRAMEWORK):
            import_module(name)

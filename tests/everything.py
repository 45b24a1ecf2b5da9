"""All modules of ptfile. It imports each when it is first needed, which those who watch what a file causes mean not."""

from __future__ import annotations

import pkgutil
from importlib import import_module

_NEED_A_FRAMEWORK = ("ptfile.torch", "ptfile.jax", "ptfile.__main__")


def import_all() -> None:
    """Import what needs no framework."""
    for module in pkgutil.walk_packages(import_module("ptfile").__path__, "ptfile."):
        if not module.name.startswith(_NEED_A_FRAMEWORK):
            import_module(module.name)

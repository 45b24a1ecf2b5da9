"""The two ways to run a checkpoint's pickle: under ptfile's policy, or, when asked to, by importing what it names."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from ptfile.errors import FormatError
from ptfile.formats.rebuild import NAMES, POLICY
from ptfile.limits import Limits
from ptfile.machine.names import Global
from ptfile.machine.vm import Machine


def run_safely(pickle: bytes, load_persistent: Callable[[object], object], limits: Limits) -> Any:
    """The pickle's value. Nothing is imported; raises UnsafeError for names outside the table."""
    value, end = Machine(POLICY, load_persistent, limits=limits).run(pickle)
    if end != len(pickle):
        raise FormatError(f"{len(pickle) - end} bytes follow the end of the pickle", offset=end)
    return value


def run_trusting(pickle: bytes, load_persistent: Callable[[object], object], pickle_module: Any) -> Any:
    """The pickle's value, made by `pickle_module.Unpickler`: **this runs whatever code the pickle names.**

    Names of PyTorch that ptfile has a builder for become ptfile's objects; all others are imported.
    """

    class Unpickler(pickle_module.Unpickler):  # type: ignore[misc, name-defined]
        def find_class(self, module: str, name: str) -> Any:
            found = NAMES.get((module, name))
            if found is not None:
                return found.value or found.call or Global(module, name)
            return super().find_class(module, name)

        def persistent_load(self, persistent_id: object) -> object:
            return load_persistent(persistent_id)

    return Unpickler(io.BytesIO(pickle)).load()

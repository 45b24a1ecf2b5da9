"""The operating system as a save sees it: every operation that the sinks ask of it can be noted, fail or be the last.

It stands in the place of the module `os` in every module of `ptfile.sinks`, so that an operation that is added there
is met without being named here.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType
from typing import Any, NamedTuple

NO_OPERATIONS = frozenset({"fspath", "getpid", "geteuid", "strerror", "urandom", "major", "minor"})
"""What is asked of `os` that touches no file."""


class Operation(NamedTuple):
    """Something that was asked of the system."""

    name: str
    """The function of `os`, with `folder` behind it if it is one that is opened, synced or closed."""
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    do: Callable[[], Any]


Answer = Callable[[Operation, int], Any]
"""What becomes of an operation, given its number from 1: what is returned or raised takes the place of the system's."""


def as_it_is(operation: Operation, number: int) -> Any:
    """Let the system do it."""
    del number
    return operation.do()


class System:
    """What the sinks have in place of `os`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.operations: list[Operation] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name in NO_OPERATIONS or not isinstance(real, BuiltinFunctionType):
            return real

        def ask(*arguments: Any, **options: Any) -> Any:
            label = f"{name} folder" if name in ("open", "fsync", "close") and _is_folder(arguments) else name
            operation = Operation(label, arguments, options, lambda: real(*arguments, **options))
            self.operations.append(operation)
            return self._answer(operation, len(self.operations))

        return ask


def _is_folder(arguments: tuple[Any, ...]) -> bool:
    first = arguments[0]
    if isinstance(first, int):
        return stat.S_ISDIR(os.fstat(first).st_mode)
    flags = arguments[1]
    return bool(flags & os.O_DIRECTORY) and flags & os.O_TMPFILE != os.O_TMPFILE


@contextlib.contextmanager
def replaced_system(answer: Answer) -> Iterator[System]:
    """Let the sinks ask `answer` instead of the system, until the end of the block."""
    system = System(answer)
    modules = [module for name, module in sys.modules.items() if name.startswith("ptfile.sinks.")]
    asking: list[Any] = [module for module in modules if getattr(module, "os", None) is os]
    for module in asking:
        module.os = system
    try:
        yield system
    finally:
        for module in asking:
            module.os = os

"""The two ways to run a checkpoint's pickle: under ptfile's policy, or, when asked to, by importing what it names."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ptfile.formats.vocabulary import PLAIN, ROLES, Dialect, find, policy, torch_names
from ptfile.limits import Limits
from ptfile.machine.fast import BuildTensor, run_if_harmless
from ptfile.machine.names import Global
from ptfile.machine.policy import Unknown
from ptfile.machine.vm import Machine, Python2Text


class PickleRunner(Protocol):
    """Runs pickles."""

    def run(
        self,
        data: bytes,
        load_persistent: Callable[[object], object],
        start: int = 0,
        tensor: BuildTensor | None = None,
    ) -> tuple[Any, int]:
        """The value of the pickle that begins at `start`, and the position behind it.

        tensor: what may make the tensors of a pickle that was proved harmless, in place of both `load_persistent` and
            the builders: the same objects in less time.
        """


@dataclass(frozen=True, slots=True)
class SafeRunner:
    """Runs pickles by ptfile's own machine. Nothing that they name is imported or called."""

    limits: Limits
    unknown: Unknown
    text: Python2Text
    dialect: Dialect = PLAIN

    def __post_init__(self) -> None:
        if self.unknown not in ("error", "inert"):
            message = f'unknown is {self.unknown!r}: it must be "error" or "inert"'
            raise ValueError(message)

    def run(
        self,
        data: bytes,
        load_persistent: Callable[[object], object],
        start: int = 0,
        tensor: BuildTensor | None = None,
    ) -> tuple[Any, int]:
        if self.dialect is PLAIN and start == 0:
            value, is_run = run_if_harmless(data, ROLES, find, load_persistent, self.limits, tensor)
            if is_run:
                return value, len(data)
        machine = Machine(policy(self.unknown, self.dialect), load_persistent, limits=self.limits, text=self.text)
        return machine.run(data, start)


@dataclass(frozen=True, slots=True)
class TrustingRunner:
    """Runs pickles by `pickle_module.Unpickler`: **whatever code they name is run.**

    Names of PyTorch that ptfile has a builder for become ptfile's objects; all others are imported.
    """

    pickle_module: Any
    text: Python2Text

    def run(
        self,
        data: bytes,
        load_persistent: Callable[[object], object],
        start: int = 0,
        tensor: BuildTensor | None = None,  # noqa: ARG002  (nothing is proved of these)
    ) -> tuple[Any, int]:
        class Unpickler(self.pickle_module.Unpickler):  # type: ignore[misc, name-defined]
            def find_class(self, module: str, name: str) -> Any:
                found = torch_names().get((module, name))
                if found is not None and module != "builtins":
                    return found.value or found.call or Global(module, name)
                return super().find_class(module, name)

            def persistent_load(self, persistent_id: object) -> object:
                return load_persistent(persistent_id)

        stream = io.BytesIO(data)
        stream.seek(start)
        value = Unpickler(stream, encoding=self.text.encoding, errors=self.text.errors).load()
        return value, stream.tell()


def in_dialect(runner: PickleRunner, dialect: Dialect, limits: Limits) -> SafeRunner:
    """A runner for pickles whose names are not Python's to import: always a safe one.

    In place of one that trusts the file it is one that leaves unknown objects inert.
    """
    if isinstance(runner, SafeRunner):
        return replace(runner, dialect=dialect)
    text = runner.text if isinstance(runner, TrustingRunner) else Python2Text()
    return SafeRunner(limits, "inert", text, dialect)

"""The two ways to run the pickle of a checkpoint whose objects are PyTorch's."""

from __future__ import annotations

import io
import pickle
import warnings
from typing import Any

from torch import serialization

from ptfile.errors import FormatError
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.vocabulary import ROLES
from ptfile.limits import Limits
from ptfile.machine.fast import BuildTensor, run_if_harmless
from ptfile.machine.vm import Machine, Python2Text
from ptfile.torch.placement import is_faking
from ptfile.torch.weights_only import TorchPolicy, weights_only_message

_PROTO = 0x80
"""The opcode with which pickles of protocol 2 and later begin; the protocol follows."""


def runner_for(safely: bool, pickle_module: Any, arguments: dict[str, Any], limits: Limits) -> PickleRunner:
    """What runs the pickles of one load; `arguments` are those for the unpickler.

    Raises TypeError for arguments that PyTorch's weights-only unpickler does not know.
    """
    arguments = {"encoding": "utf-8", **arguments}
    if not safely:
        return TorchRunner(pickle_module or pickle, arguments)
    if arguments.keys() != {"encoding"}:
        names = ", ".join(arguments.keys() - {"encoding"})
        message = f"load() got unexpected keyword arguments for weights_only=True: {names}"
        raise TypeError(message)
    return SafeTorchRunner(arguments["encoding"], limits)


class SafeTorchRunner:
    """Runs pickles by ptfile's machine under PyTorch's rules for weights_only=True."""

    def __init__(self, encoding: str, limits: Limits) -> None:
        self._text = Python2Text(encoding)
        self._limits = limits

    def run(
        self, data: bytes, load_persistent: Any, start: int = 0, tensor: BuildTensor | None = None
    ) -> tuple[Any, int]:
        if len(data) > start + 1 and data[start] == _PROTO and data[start + 1] != serialization.DEFAULT_PROTOCOL:
            warnings.warn(
                f"Detected pickle protocol {data[start + 1]} in the checkpoint, which was "
                "not the default pickle protocol used by `torch.load` (2). The weights_only "
                "Unpickler might not support all instructions implemented by this protocol, "
                "please file an issue for adding support if you encounter this.",
                stacklevel=5,
            )

        def load_storage(persistent_id: Any) -> Any:
            if type(persistent_id) not in (tuple, int):
                message = f"persistent_load id must be tuple or int, but got {type(persistent_id)}"
                raise pickle.UnpicklingError(message)
            if type(persistent_id) is tuple and persistent_id and persistent_id[0] not in ("storage", b"storage"):
                message = f"Only persistent_load of storage is allowed, but got {type(persistent_id[0])}"
                raise pickle.UnpicklingError(message)
            return load_persistent(persistent_id)

        policy = TorchPolicy()
        if start == 0:
            find = policy.resolve if is_faking() else policy.resolve_proved
            value, is_run = run_if_harmless(data, ROLES, find, load_storage, self._limits, tensor)
            if is_run:
                return value, len(data)
        try:
            return Machine(policy, load_storage, limits=self._limits, text=self._text).run(data, start)
        except (pickle.UnpicklingError, FormatError) as error:
            if isinstance(error, FormatError) and error.record:  # it is about a storage, not about the pickle
                raise
            if isinstance(error.__cause__, UnicodeDecodeError):
                raise error.__cause__ from None
            raise pickle.UnpicklingError(weights_only_message(str(error))) from None


class TorchRunner:
    """Runs pickles by a pickle module, as PyTorch does for weights_only=False: **whatever code they name is run.**"""

    def __init__(self, pickle_module: Any, arguments: dict[str, Any]) -> None:
        self._pickle_module = pickle_module
        self._arguments = arguments

    def run(
        self,
        data: bytes,
        load_persistent: Any,
        start: int = 0,
        tensor: BuildTensor | None = None,  # noqa: ARG002  (nothing is proved of these)
    ) -> tuple[Any, int]:
        class Unpickler(self._pickle_module.Unpickler):  # type: ignore[misc, name-defined]
            def find_class(self, module: str, name: str) -> Any:
                if type(name) is str and "Storage" in name:
                    try:
                        return serialization.StorageType(name)
                    except KeyError:
                        pass
                return super().find_class("torch._tensor" if module == "torch.tensor" else module, name)

        stream = io.BytesIO(data)
        stream.seek(start)
        unpickler = Unpickler(stream, **self._arguments)
        unpickler.persistent_load = load_persistent
        return unpickler.load(), stream.tell()

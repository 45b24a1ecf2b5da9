"""The weights of a `torch.nn.Module` that was pickled or is in a TorchScript archive, taken from its inert record."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from ptfile.errors import FormatError, LimitError, UnsupportedError
from ptfile.machine.inert import InertRecord
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.tensor import Tensor

_MOST_NAMES = 1_000_000
"""A module that is shared by many others has a name for each way to it, and the ways multiply."""
_MOST_LEVELS = 1_000


def state_dict(module: Any) -> OrderedDict[str, Any]:
    """The parameters and persistent buffers of a module, under the names that PyTorch's `state_dict()` gives them.

    `module` is what `load(..., unknown="inert")` makes of a whole module that was pickled, or what `load` makes of a
    TorchScript archive. The tensors share storage with those in the record. What a module's own class adds to its
    state dict (`get_extra_state`) is code and left out.

    Raises UnsupportedError if it is no module.
    """
    if not _is_module(module):
        kind = module.inert_class if type(module) is InertRecord else type(module).__name__
        raise UnsupportedError(
            f"a {kind} is not the inert record of a module", fix="Look into it for the module itself"
        )
    found: OrderedDict[str, Any] = OrderedDict()
    # One iterator of (name, submodule) for each level that is being walked.
    found.update(_own_tensors(module, ""))
    walks = [_submodules(module, "")]
    while walks:
        prefix, child = next(walks[-1], ("", None))
        if child is None:
            walks.pop()
            continue
        if len(walks) >= _MOST_LEVELS:
            raise FormatError("modules are nested too deep, or one contains itself")
        found.update(_own_tensors(child, prefix))
        if len(found) > _MOST_NAMES:
            raise LimitError("the module has too many names", limit="names", allowed=_MOST_NAMES, actual=len(found))
        walks.append(_submodules(child, prefix))
    return found


def _is_module(value: Any) -> bool:
    return type(value) is InertRecord and all(
        type(value.inert_attributes.get(part)) in (dict, OrderedDict)
        for part in ("_parameters", "_buffers", "_modules")
    )


def _own_tensors(module: InertRecord, prefix: str) -> Iterator[tuple[str, Any]]:
    attributes = module.inert_attributes
    for name, parameter in attributes["_parameters"].items():
        if parameter is not None:
            yield f"{prefix}{name}", _detached(parameter)
    passing = attributes.get("_non_persistent_buffers_set", ())  # since PyTorch 1.6
    for name, buffer in attributes["_buffers"].items():
        if buffer is not None and name not in passing:
            yield f"{prefix}{name}", _detached(buffer)


def _detached(tensor: Any) -> Any:
    """The tensor without gradient, a plain one: what PyTorch's `state_dict()` gives."""
    # The parameters of TorchScript are plain tensors already, with gradient.
    keeps = not isinstance(tensor, Parameter) and not (isinstance(tensor, Tensor) and tensor.requires_grad)
    return tensor if keeps else tensor.detach()


def _submodules(module: InertRecord, prefix: str) -> Iterator[tuple[str, InertRecord]]:
    for name, child in module.inert_attributes["_modules"].items():
        if _is_module(child):
            yield f"{prefix}{name}.", child

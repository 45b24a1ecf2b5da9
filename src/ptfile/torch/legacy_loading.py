"""Loading files of the legacy format into real torch objects."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import serialization

from ptfile.errors import FormatError, LimitError, TensorError
from ptfile.formats.legacy_reader import LegacyFormatReader, UnknownVersionError
from ptfile.formats.pickles import PickleRunner
from ptfile.limits import Limits
from ptfile.sources import Source
from ptfile.sources.base import CutShortError
from ptfile.torch.legacy_storages import LegacyTorchStorages
from ptfile.torch.placement import contents_of_legacy


def load_legacy(source: Source, runner: PickleRunner, map_location: Any, limits: Limits) -> Any:
    """The object in a checkpoint of the legacy format, which a file object is left behind.

    Raises what PyTorch raises for a damaged file: EOFError, pickle.UnpicklingError, RuntimeError.
    """
    try:
        reader = LegacyFormatReader(source, limits)
        storages = LegacyTorchStorages(
            reader, serialization._get_restore_location(map_location), contents_of_legacy(map_location)
        )
        value = reader.run(runner, storages.load)
        storages.fill()
    except UnknownVersionError as error:
        message = f"Invalid protocol version: {error.version}"
        raise RuntimeError(message) from error
    except (FormatError, LimitError, TensorError) as error:
        raise _as_pytorch(error) from error
    torch._utils._validate_loaded_sparse_tensors()
    return value


def _as_pytorch(error: FormatError | LimitError | TensorError) -> Exception:
    cause = error.__cause__
    if isinstance(error, CutShortError) and not (isinstance(cause, Exception) and "truncated" in str(cause)):
        return EOFError(f"Ran out of input: {error}")
    if isinstance(cause, (EOFError, pickle.UnpicklingError)):
        return cause
    return RuntimeError(str(error))

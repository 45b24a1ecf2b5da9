"""`ptfile.torch.load`: `torch.load`, giving real torch objects."""

from __future__ import annotations

import os
import warnings
from pathlib import Path as FilePath
from typing import Any, cast

import torch
from torch import serialization
from torch.utils.serialization import config

from ptfile._collector import paused_collector
from ptfile._types import Path, Readable
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.zip_structs import LOCAL_SIGNATURE
from ptfile.errors import UnsupportedError
from ptfile.formats.pickles import PickleRunner
from ptfile.limits import Limits
from ptfile.sources import MappedSource, MemorySource, Source, StreamSource, open_file, open_source
from ptfile.torch.legacy_loading import load_legacy
from ptfile.torch.placement import Contents, contents_of_legacy
from ptfile.torch.runners import runner_for
from ptfile.torch.tar_loading import load_tar
from ptfile.torch.zip_loading import load_zip, open_zip

_torch_load = torch.load
"""PyTorch's own, also while `patch` stands in its place."""
_TRUE = ("1", "y", "yes", "true")
_LIMITS = Limits()


def load(
    f: Path | Readable,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what `torch.save` or `ptfile.save` wrote, as `torch.load` does: the same arguments, settings and results.

    What is better: the checksum of every record is verified, and with weights_only=True the pickle is run by ptfile's
    own machine. TorchScript archives and safetensors files are PyTorch's own, as is what is no checkpoint at all.
    """
    safely = _decide(weights_only, pickle_module)
    mapped = config.load.mmap if mmap is None else mmap
    if not _left_to_pytorch(f, mapped=mapped):
        start = 0 if _is_path(f) else cast("Readable", f).tell()
        source, kind = _open(f, map_location, mapped=mapped)
        with source, paused_collector():
            archive = open_zip(source, _LIMITS) if kind is Kind.ZIP else None
            if archive is not None or kind in (Kind.LEGACY, Kind.TAR):
                if kind is Kind.TAR and safely:
                    problem = "Cannot use ``weights_only=True`` with files saved in the legacy .tar format. "
                    raise RuntimeError(problem + serialization.UNSAFE_MESSAGE)
                runner = _runner(safely, pickle_module, pickle_load_args)
                if archive is not None:
                    return load_zip(source, archive, runner, map_location, _LIMITS)
                load_old = load_legacy if kind is Kind.LEGACY else load_tar
                return load_old(source, runner, map_location, _LIMITS)
        if not _is_path(f):
            cast("Readable", f).seek(start)
    return _torch_load(f, map_location, pickle_module, weights_only=safely, mmap=mapped, **pickle_load_args)


def _left_to_pytorch(f: Any, *, mapped: bool) -> bool:
    """Whether the arguments or settings ask for what only PyTorch does, or for what it refuses in its own words."""
    if config.load.endianness not in (None, serialization.LoadEndianness.LITTLE):
        return True
    if _is_path(f):
        return os.fspath(f).endswith(".safetensors") or (mapped and not FilePath(f).is_file())
    if mapped or not all(hasattr(f, name) for name in ("read", "seek", "tell")):
        return True
    try:
        f.seek(f.tell())
    except (OSError, AttributeError):
        return True
    return False


def _open(f: Any, map_location: Any, *, mapped: bool) -> tuple[Source, Kind]:
    """The bytes from the position on, and what they look like; UNKNOWN is for PyTorch to load, or to refuse."""
    if _is_path(f):
        try:
            source = _open_shared(f) if mapped and _is_shared() else open_file(f, mmap=mapped)
        except (OSError, UnsupportedError):  # PyTorch has words of its own for what is no file
            return MemorySource(b""), Kind.UNKNOWN
        kind = _kind_of(bytes(source.read(0, min(HEAD_SIZE, source.size))))
        return source, Kind.UNKNOWN if mapped and kind is not Kind.ZIP else kind
    start = f.tell()
    kind = _kind_of(f.read(HEAD_SIZE))
    f.seek(start)
    if kind is Kind.LEGACY and not hasattr(f, "readline"):
        kind = Kind.UNKNOWN
    if kind is Kind.TAR and not (start == 0 and serialization._should_read_directly(f)):
        kind = Kind.UNKNOWN  # PyTorch looks for one in whole files alone
    if kind is Kind.LEGACY and _is_inflated(f) and contents_of_legacy(map_location) is Contents.READ:
        return StreamSource(f), kind
    return (open_source(f, mmap=False) if kind is not Kind.UNKNOWN else MemorySource(b"")), kind


def _kind_of(head: object) -> Kind:
    if not isinstance(head, bytes):  # text
        return Kind.UNKNOWN
    kind = sniff(head, len(head))
    # One without records is no zip file to PyTorch.
    known = kind in (Kind.LEGACY, Kind.TAR) or (kind is Kind.ZIP and head.startswith(LOCAL_SIGNATURE))
    return kind if known else Kind.UNKNOWN


def _is_shared() -> bool:
    # On Windows, which has no such flags, both are None.
    return not serialization.IS_WINDOWS and serialization.get_default_mmap_options() == serialization.MAP_SHARED


def _open_shared(f: Any) -> Source:
    try:
        return MappedSource(os.fspath(f), shared=True)
    except OSError as error:
        message = f"unable to open file <{os.fspath(f)}> in read-write mode: {error.strerror} ({error.errno})"
        raise RuntimeError(message) from error


def _is_inflated(f: Any) -> bool:
    """Whether to find the end of a file object would be to go through all of it (gzip), or might be."""
    return not _is_path(f) and hasattr(f, "peek") and not serialization._should_read_directly(f)


def _runner(safely: bool, pickle_module: Any, pickle_load_args: dict[str, Any]) -> PickleRunner:
    if pickle_load_args and safely:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=3)
    serialization._check_dill_version(pickle_module)
    return runner_for(safely, pickle_module, pickle_load_args, _LIMITS)


def _decide(weights_only: bool | None, pickle_module: Any) -> bool:
    """Whether to load safely, as PyTorch decides it from the argument and the environment."""
    unset = weights_only is None
    safely = serialization._default_to_weights_only(pickle_module) if weights_only is None else weights_only
    force = os.getenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0").lower() in _TRUE
    force_not = os.getenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0").lower() in _TRUE
    if force and force_not:
        message = (
            "Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` "
            "should be set, but both were set."
        )
        raise RuntimeError(message)
    if force:
        safely = True
    elif force_not and unset:
        warnings.warn(
            "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the"
            "`weights_only` argument was not explicitly passed to `torch.load`, forcing weights_only=False.",
            UserWarning,
            stacklevel=3,
        )
        safely = False
    if safely and pickle_module is not None:
        message = "Can not safely load weights when explicit pickle_module is specified"
        raise RuntimeError(message)
    return safely


def _is_path(f: object) -> bool:
    return isinstance(f, (str, os.PathLike))

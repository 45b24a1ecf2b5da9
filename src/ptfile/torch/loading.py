"""`ptfile.torch.load`: `torch.load`, giving real torch objects."""

from __future__ import annotations

import os
import pickle
import warnings
from typing import Any

import torch
from torch import serialization
from torch.utils.serialization import config

from ptfile._types import Path, Readable
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_structs import LOCAL_SIGNATURE
from ptfile.errors import FormatError, UnsupportedError
from ptfile.formats.opening import zip_dialect
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.zip_format import NEWEST_VERSION, ZipFormatReader
from ptfile.formats.zip_records import MissingRecordError, ZipRecords, root_of
from ptfile.limits import Limits
from ptfile.machine.vm import Machine, Python2Text
from ptfile.sources import FileObjectSource, Source, open_source
from ptfile.torch.storages import LoadedTorchStorages
from ptfile.torch.weights_only import TorchPolicy, weights_only_message

_torch_load = torch.load
"""PyTorch's own, also while `patch` stands in its place."""
_PROTO = 0x80
"""The opcode with which pickles of protocol 2 and later begin; the protocol follows."""
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
    own machine. What is no zip file, TorchScript archives, safetensors files, shared maps (MAP_SHARED) and loads under
    `skip_data` or a fake tensor mode are PyTorch's own.
    """
    safely = _decide(weights_only, pickle_module)
    mapped = config.load.mmap if mmap is None else mmap
    if not _is_ours(f, map_location, mapped=mapped):
        return _torch_load(f, map_location, pickle_module, weights_only=safely, mmap=mapped, **pickle_load_args)
    if pickle_load_args and safely:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=2)
    serialization._check_dill_version(pickle_module)
    pickle_load_args.setdefault("encoding", "utf-8")
    if mapped and not _is_path(f):
        message = "f must be a file path in order to use the mmap argument"
        raise ValueError(message)
    runner = (
        _SafeTorchRunner(pickle_load_args["encoding"])
        if safely
        else _TorchRunner(pickle_module or pickle, pickle_load_args)
    )
    with open_source(f, mmap=mapped) as source:
        try:
            value = _load(source, runner, map_location, mapped=mapped)
        except MissingRecordError as error:
            message = f"PytorchStreamReader failed locating file {error.record}: file not found"
            raise RuntimeError(message) from error
        except FormatError as error:
            message = f"PytorchStreamReader failed reading zip archive: {error}"
            raise RuntimeError(message) from error
    torch._utils._validate_loaded_sparse_tensors()
    return value


def _load(source: Source, runner: PickleRunner, map_location: Any, *, mapped: bool) -> Any:
    archive = ZipReader(source, _LIMITS)
    _check_byte_order(archive)
    records = ZipRecords(archive, _LIMITS)
    _check_records(records)
    reader = ZipFormatReader(records)
    storages = LoadedTorchStorages(reader.stored, serialization._get_restore_location(map_location), mapped=mapped)
    # What rebuilds tensors of wrapper subclasses looks the location up there.
    serialization._serialization_tls.map_location = map_location
    try:
        value = reader.run(runner, storages.load)
    finally:
        serialization._serialization_tls.map_location = None
    if isinstance(source, FileObjectSource):
        source.leave_at(storages.end or reader.pickle_end)  # where PyTorch's own reader has stopped
    return value


def _check_byte_order(archive: ZipReader) -> None:
    record = archive.records.get(f"{root_of(archive)}byteorder")
    if record is not None and (found := bytes(archive.read(record))) not in (b"little", b"big"):
        message = f"Unknown endianness type: {found[:40].decode('latin-1')}"
        raise ValueError(message)


def _check_records(records: ZipRecords) -> None:
    """Raise what PyTorch raises for zip files of another kind."""
    if not records.has_root:
        message = "file in archive is not in a subdirectory"
        raise RuntimeError(message)
    if "data.pkl" not in records:
        problem = "it has no record data.pkl"
        raise MissingRecordError(problem, record="data.pkl")
    version = records.text("version").strip() if "version" in records else "1"
    if version.isdecimal() and int(version[:9]) > NEWEST_VERSION:
        message = (
            f"Attempted to read a PyTorch file with version {version}, "
            f"but the maximum supported version for reading is {NEWEST_VERSION}."
        )
        raise RuntimeError(message)


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


def _is_ours(f: Any, map_location: Any, *, mapped: bool) -> bool:
    """Whether the file is a zip-format checkpoint, to be read into ordinary memory. Leaves a stream where it stood."""
    if serialization._serialization_tls.skip_data or torch._guards.detect_fake_mode(None) is not None:
        return False
    if serialization._is_meta_location(map_location):
        return False
    if serialization.get_default_load_endianness() not in (None, serialization.LoadEndianness.LITTLE):
        return False
    if mapped and serialization.get_default_mmap_options() == serialization.MAP_SHARED:
        return False
    if _is_path(f):
        return not os.fspath(f).endswith(".safetensors") and _looks_like_ours(f)
    if not all(hasattr(f, name) for name in ("read", "seek", "tell", "readline")):
        return False  # PyTorch says what is missing
    try:
        start = f.tell()
        f.seek(start)
    except (OSError, AttributeError):
        return False  # it cannot seek: PyTorch says so
    try:
        return _looks_like_ours(f)
    finally:
        f.seek(start)


def _looks_like_ours(f: Any) -> bool:
    try:
        with open_source(f, mmap=False) as source:
            begin = bytes(source.read(0, min(len(LOCAL_SIGNATURE), source.size)))
            return begin == LOCAL_SIGNATURE and not _is_other_dialect(ZipReader(source, _LIMITS))
    except UnsupportedError:
        return False  # such as a directory: PyTorch has its own words
    except FormatError:
        return True  # a zip file that is damaged: ptfile says where


def _is_other_dialect(reader: ZipReader) -> bool:
    return zip_dialect(reader.records, root_of(reader)) is not None


class _SafeTorchRunner:
    """Runs pickles by ptfile's machine under PyTorch's rules for weights_only=True."""

    def __init__(self, encoding: str) -> None:
        self._text = Python2Text(encoding)

    def run(self, data: bytes, load_persistent: Any, start: int = 0) -> tuple[Any, int]:
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

        try:
            return Machine(TorchPolicy(), load_storage, limits=_LIMITS, text=self._text).run(data, start)
        except (pickle.UnpicklingError, FormatError) as error:
            if isinstance(error, FormatError) and error.record:  # it is about a storage, not about the pickle
                raise
            if isinstance(error.__cause__, UnicodeDecodeError):
                raise error.__cause__ from None
            raise pickle.UnpicklingError(weights_only_message(str(error))) from None


class _TorchRunner:
    """Runs pickles by a pickle module, as PyTorch does for weights_only=False: **whatever code they name is run.**"""

    def __init__(self, pickle_module: Any, arguments: dict[str, Any]) -> None:
        self._pickle_module = pickle_module
        self._arguments = arguments

    def run(self, data: bytes, load_persistent: Any, start: int = 0) -> tuple[Any, int]:
        import io

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

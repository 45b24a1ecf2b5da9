"""`ptfile.torch.load`: `torch.load`, giving real torch objects."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path as FilePath
from typing import Any, cast

import torch
from torch import serialization
from torch.utils.serialization import config

from ptfile._types import Path, Readable
from ptfile.containers.zip_reader import ZipReader
from ptfile.containers.zip_structs import LOCAL_SIGNATURE
from ptfile.errors import FormatError
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
    if not _left_to_pytorch(f, map_location, mapped=mapped):
        stream = None if _is_path(f) else cast("Readable", f)
        start = stream.tell() if stream else 0
        with open_source(f, mmap=mapped) as source:
            archive = _open_zip(source)
            if archive is not None:
                if pickle_load_args and safely:
                    warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=2)
                runner = _runner(safely, pickle_module, pickle_load_args)
                return _load(source, archive, runner, map_location, mapped=mapped)
        if stream:
            stream.seek(start)
    return _torch_load(f, map_location, pickle_module, weights_only=safely, mmap=mapped, **pickle_load_args)


def _left_to_pytorch(f: Any, map_location: Any, *, mapped: bool) -> bool:
    """Whether the arguments or settings ask for what only PyTorch does, or for what it refuses in its own words."""
    if serialization._serialization_tls.skip_data or torch._guards.detect_fake_mode(None) is not None:
        return True
    if serialization._is_meta_location(map_location):
        return True
    if serialization.get_default_load_endianness() not in (None, serialization.LoadEndianness.LITTLE):
        return True
    if mapped and serialization.get_default_mmap_options() == serialization.MAP_SHARED:
        return True
    if _is_path(f):
        return os.fspath(f).endswith(".safetensors") or not FilePath(f).is_file()
    if mapped or not all(hasattr(f, name) for name in ("read", "seek", "tell", "readline")):
        return True
    try:
        f.seek(f.tell())
    except (OSError, AttributeError):
        return True
    return False


def _open_zip(source: Source) -> ZipReader | None:
    """The zip file, if it is a checkpoint of the zip format; None for any other format.

    Raises RuntimeError, as PyTorch does, for a zip file that is damaged.
    """
    start = bytes(source.read(0, min(len(LOCAL_SIGNATURE), source.size)))
    if start != LOCAL_SIGNATURE:
        return None
    try:
        archive = ZipReader(source, _LIMITS)
    except FormatError as error:
        raise _as_runtime_error(error) from error
    return archive if zip_dialect(archive.records, root_of(archive)) is None else None


def _as_runtime_error(error: FormatError) -> RuntimeError:
    if isinstance(error, MissingRecordError):
        return RuntimeError(f"PytorchStreamReader failed locating file {error.record}: file not found")
    return RuntimeError(f"PytorchStreamReader failed reading zip archive: {error}")


def _runner(safely: bool, pickle_module: Any, pickle_load_args: dict[str, Any]) -> PickleRunner:
    serialization._check_dill_version(pickle_module)
    arguments = {"encoding": "utf-8", **pickle_load_args}
    if safely and arguments.keys() != {"encoding"}:
        names = ", ".join(arguments.keys() - {"encoding"})
        message = f"load() got unexpected keyword arguments for weights_only=True: {names}"
        raise TypeError(message)
    return _SafeTorchRunner(arguments["encoding"]) if safely else _TorchRunner(pickle_module or pickle, arguments)


def _load(source: Source, archive: ZipReader, runner: PickleRunner, map_location: Any, *, mapped: bool) -> Any:
    _check_byte_order(archive)
    # What rebuilds tensors of wrapper subclasses looks the location up there.
    serialization._serialization_tls.map_location = map_location
    try:
        records = ZipRecords(archive, _LIMITS)
        _check_records(records)
        reader = ZipFormatReader(records)
        storages = LoadedTorchStorages(reader.stored, serialization._get_restore_location(map_location), mapped=mapped)
        value = reader.run(runner, storages.load)
    except FormatError as error:
        raise _as_runtime_error(error) from error
    finally:
        serialization._serialization_tls.map_location = None
    if isinstance(source, FileObjectSource):  # PyTorch's own reader stops behind what it has read last
        source.leave_at(storages.last.end if storages.last else reader.pickle_end)
    torch._utils._validate_loaded_sparse_tensors()
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

"""Loading zip files into real torch objects."""

from __future__ import annotations

from typing import Any

import torch
from torch import serialization

from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import FormatError, PtfileError, TensorError
from ptfile.formats.opening import zip_dialect
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.storages import failing_once
from ptfile.formats.zip_format import NEWEST_VERSION, ZipFormatReader
from ptfile.formats.zip_records import MissingRecordError, ZipRecords, root_of
from ptfile.limits import Limits
from ptfile.sources import FileObjectSource, Source, ViewSource
from ptfile.torch.placement import contents_of_zip
from ptfile.torch.zip_storages import LoadedTorchStorages


def open_zip(source: Source, limits: Limits) -> ZipReader | None:
    """The zip file, if it is a checkpoint; None for a TorchScript archive and its like.

    Raises RuntimeError, as PyTorch does, for a zip file that is damaged.
    """
    try:
        archive = ZipReader(source, limits)
    except FormatError as error:
        raise _as_runtime_error(error) from error
    return archive if zip_dialect(archive.records, root_of(archive)) is None else None


def load_zip(source: Source, archive: ZipReader, runner: PickleRunner, map_location: Any, limits: Limits) -> Any:
    """The object in a checkpoint of the zip format."""
    # What rebuilds tensors of wrapper subclasses looks the location up there.
    serialization._serialization_tls.map_location = map_location
    try:
        reader = _reader(_records(archive, limits))
        storages = LoadedTorchStorages(
            reader.stored,
            failing_once(serialization._get_restore_location(map_location)),
            contents_of_zip(map_location),
            mapped=isinstance(source, ViewSource),
        )
        # What fails is run again by the machine, and a function would be called again.
        tensor = None if callable(map_location) else storages.proved_tensor()
        value = reader.run(runner, storages.load, tensor)
    except (FormatError, TensorError) as error:
        raise _as_runtime_error(error) from error
    finally:
        serialization._serialization_tls.map_location = None
    if isinstance(source, FileObjectSource):  # PyTorch's own reader stops behind what it has read last
        source.leave_at(reader.pickle_end if storages.end is None else storages.end)
    torch._utils._validate_loaded_sparse_tensors()
    return value


def _as_runtime_error(error: FormatError | TensorError) -> RuntimeError:
    if isinstance(error, MissingRecordError):
        return RuntimeError(f"PytorchStreamReader failed locating file {error.record}: file not found")
    return RuntimeError(f"PytorchStreamReader failed reading zip archive: {error}")


def _records(archive: ZipReader, limits: Limits) -> ZipRecords:
    try:
        return ZipRecords(archive, limits)
    except FormatError:
        record = archive.records.get(f"{root_of(archive)}byteorder")
        if record is not None and (found := bytes(archive.read(record))) not in (b"little", b"big"):
            message = f"Unknown endianness type: {found[:40].decode('latin-1')}"
            raise ValueError(message) from None
        raise


def _reader(records: ZipRecords) -> ZipFormatReader:
    try:
        return ZipFormatReader(records)
    except PtfileError:
        _check_records(records)
        raise


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

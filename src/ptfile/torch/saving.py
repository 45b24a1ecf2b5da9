"""`ptfile.torch.save`: `torch.save`, on real torch objects."""

# pathlib takes four times as long to say whether two folders are there.
# ruff: noqa: PTH112, PTH120

from __future__ import annotations

import os
import pickle
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import serialization
from torch.utils.serialization import config

from ptfile._types import Path, Writable
from ptfile.formats.legacy_writer import LegacySave
from ptfile.formats.zip_format import ZipOptions, ZipSave, root_for_path, root_for_stream
from ptfile.machine.encoder import saved_types
from ptfile.sinks import FileSink, Sink, StreamSink
from ptfile.torch.source_code import SourceCodeOfModules
from ptfile.torch.storages import SavedTorchStorages, reduce_tensor

_REDUCERS = saved_types({torch.Tensor: reduce_tensor})


def save(
    obj: object,
    f: Path | Writable,
    pickle_module: Any = pickle,
    pickle_protocol: int = serialization.DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
    *,
    fsync: bool = False,
) -> None:
    """Save an object as `torch.save` does: the same arguments, the same bytes, the same settings.

    What is better: a path is written beside the file that is there and renamed over it, so that a save that fails
    leaves the old file as it was. ptfile's own keyword means what it does in `ptfile.save`:

    fsync: True returns when the file and its name are on the disk, so that they outlast a power cut.
    """
    serialization._check_dill_version(pickle_module)
    serialization._check_save_filelike(f)
    if serialization._serialization_tls.skip_data and not _use_new_zipfile_serialization:
        message = "Cannot use skip_data=True with _use_new_zipfile_serialization=False"
        raise RuntimeError(message)
    storages = SavedTorchStorages()
    prepared: ZipSave | LegacySave
    if _use_new_zipfile_serialization:
        root, sink = _target(f, fsync)
        prepared = ZipSave(
            obj,
            root,
            storages=storages,
            reducers=_REDUCERS,
            tensors=storages.plain_tensors(),
            pickle_module=pickle_module,
            pickle_protocol=pickle_protocol,
            options=ZipOptions(
                byte_order_first=not _disable_byteorder_record,
                alignment=config.save.storage_alignment,
                checksum=config.save.compute_crc32,
                contents=not serialization._serialization_tls.skip_data,
            ),
        )
    else:
        sink = _sink(f, fsync)
        prepared = LegacySave(
            obj,
            key=lambda number: str(storages.storages[number]._cdata),
            storages=storages,
            reducers=_REDUCERS,
            source_code_of=SourceCodeOfModules(),
            pickle_module=pickle_module,
            pickle_protocol=pickle_protocol,
        )
    with sink:
        prepared.write(sink)


def _sink(f: Any, fsync: bool) -> Sink:
    return FileSink(os.fspath(f), fsync=fsync) if isinstance(f, (str, os.PathLike)) else StreamSink(f, fsync=fsync)


def _target(f: Any, fsync: bool) -> tuple[str, Sink]:
    """The folder inside the file, and where its bytes go. Raises RuntimeError where PyTorch does."""
    if not isinstance(f, (str, os.PathLike)):
        if not callable(f.write):
            message = f"Buffer of {str(type(f)).strip('<>')} has no callable attribute 'write'"
            raise TypeError(message)
        return root_for_stream(), _sink(f, fsync)
    path = os.fspath(f)
    if path.isascii():  # others PyTorch opens through Python, whose errors are FileSink's too
        try:
            root_for_path(path)
        except ValueError as error:
            message = f"invalid file name: {path}"
            raise RuntimeError(message) from error
        parent = os.path.dirname(path) or os.curdir
        if not os.path.isdir(parent):
            message = f"Parent directory {FilePath(path).parent} does not exist."
            raise RuntimeError(message)
        if os.path.isdir(path):
            message = "open file failed with strerror: Is a directory"
            raise RuntimeError(message)
    return root_for_path(path), _sink(path, fsync)

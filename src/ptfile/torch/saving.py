"""`ptfile.torch.save`: `torch.save`, on real torch objects."""

# pathlib takes four times as long to say whether two folders are there.
# ruff: noqa: PTH112, PTH120

from __future__ import annotations

import os
import pickle
from concurrent.futures import Future
from pathlib import Path as FilePath
from typing import Any, Literal

from torch import serialization
from torch.utils.serialization import config

from ptfile._background import WRITER, in_this_folder
from ptfile._types import Path, Progress, Writable
from ptfile.formats.legacy_writer import LegacySave
from ptfile.formats.writing import write_out
from ptfile.formats.zip_saving import ZipOptions, ZipSave, root_for_path, root_for_stream
from ptfile.sinks import FileSink, Sink, StreamSink
from ptfile.torch.reachable import ReachableTorchStorages
from ptfile.torch.source_code import SourceCodeOfModules
from ptfile.torch.storages import SavedTorchStorages


def save(
    obj: object,
    f: Path | Writable,
    pickle_module: Any = pickle,
    pickle_protocol: int = serialization.DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
    *,
    storages: Literal["whole", "reachable"] = "whole",
    fsync: bool = False,
) -> None:
    """Save an object as `torch.save` does: the same arguments, the same bytes, the same settings.

    What is better: a path is written beside the file that is there and renamed over it, so that a save that fails
    leaves the old file as it was. ptfile's own keywords mean what they do in `ptfile.save`:

    storages: "reachable" leaves out the bytes of storages that no saved tensor reaches. Tensors that PyTorch reduces in
        ways of its own (of other devices, quantized, conjugated, subclasses other than parameters, with attributes)
        keep theirs whole.
    fsync: True returns when the file and its name are on the disk, so that they outlast a power cut.
    """
    try:
        prepared, sink = _prepare(
            obj, f, pickle_module, pickle_protocol, _use_new_zipfile_serialization, _disable_byteorder_record,
            storages, fsync,
        )  # fmt: skip
        write_out(prepared, sink)
    except Exception:
        if _use_new_zipfile_serialization:
            _check_place(f)  # only now: it takes a tenth of the time of a small save
        raise


def save_async(
    obj: object,
    f: Path | Writable,
    pickle_module: Any = pickle,
    pickle_protocol: int = serialization.DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
    *,
    storages: Literal["whole", "reachable"] = "whole",
    fsync: bool = False,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Future[None]:
    """Save an object as `save` does, but write it while the program goes on: `ptfile.save_async`, for torch objects.

    The tensors may be changed as soon as this returns; those of other devices have been copied from them. PyTorch's
    settings are taken as they are now.
    """
    if _use_new_zipfile_serialization:
        _check_place(f)
    prepared, sink = _prepare(
        obj, in_this_folder(f), pickle_module, pickle_protocol, _use_new_zipfile_serialization,
        _disable_byteorder_record, storages, fsync,
    )  # fmt: skip
    return WRITER.save(prepared, sink, memory, progress)


def _prepare(
    obj: object,
    f: Path | Writable,
    pickle_module: Any,
    pickle_protocol: int,
    is_zip: bool,
    byte_order_last: bool,
    storages: Literal["whole", "reachable"],
    fsync: bool,
) -> tuple[ZipSave | LegacySave, Sink]:
    """An object ready to be written, and where: all of `save` that comes before anything is opened."""
    serialization._check_dill_version(pickle_module)
    serialization._check_save_filelike(f)
    if serialization._serialization_tls.skip_data and not is_zip:
        message = "Cannot use skip_data=True with _use_new_zipfile_serialization=False"
        raise RuntimeError(message)
    if storages not in ("whole", "reachable"):
        message = f'storages is {storages!r}: it must be "whole" or "reachable"'
        raise ValueError(message)
    how: dict[str, Any] = {"pickle_module": pickle_module, "pickle_protocol": pickle_protocol}
    saved = SavedTorchStorages() if storages == "whole" else ReachableTorchStorages(obj, **how)
    how |= {"storages": saved, "reducers": saved.reducers}
    if not is_zip:
        sink = _sink(f, fsync)

        def key(number: int) -> str:
            return str(saved.storages[number]._cdata)

        return LegacySave(obj, key=key, source_code_of=SourceCodeOfModules(), **how), sink
    root, sink = _target(f, fsync)
    options = ZipOptions(
        byte_order_first=not byte_order_last,
        alignment=config.save.storage_alignment,
        checksum=config.save.compute_crc32,
        contents=not serialization._serialization_tls.skip_data,
    )
    return ZipSave(obj, root, tensors=saved.plain_tensors(), options=options, **how), sink


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
    try:
        return root_for_path(path), _sink(path, fsync)
    except ValueError as error:
        message = f"invalid file name: {path}"
        raise RuntimeError(message) from error


def _check_place(f: Any) -> None:
    """Raise what PyTorch raises before all else for a path that nothing can be saved to."""
    path = os.fspath(f) if isinstance(f, (str, os.PathLike)) else ""
    if not path.isascii() or not path:  # others PyTorch opens through Python, whose errors are FileSink's too
        return
    parent = os.path.dirname(path) or os.curdir
    if not os.path.isdir(parent):
        message = f"Parent directory {FilePath(path).parent} does not exist."
        raise RuntimeError(message)
    if os.path.isdir(path):
        message = "open file failed with strerror: Is a directory"
        raise RuntimeError(message)

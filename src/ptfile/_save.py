"""`ptfile.save`."""

from __future__ import annotations

import os
import pickle
from typing import Any, Literal

from ptfile._types import Path, Writable
from ptfile.containers.zip_structs import ALIGNMENT
from ptfile.errors import UnsupportedError
from ptfile.formats.legacy_writer import LegacySave
from ptfile.formats.reachable import ReachableStorages
from ptfile.formats.writing import write_out
from ptfile.formats.zip_saving import ZipOptions, ZipSave, root_for_path, root_for_stream
from ptfile.sinks import Sink, open_sink
from ptfile.stores.urls import StorageOptions, is_file_url, local_path

DEFAULT_PROTOCOL = 2


def save(
    obj: object,
    f: Path | Writable,
    pickle_module: Any = pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
    *,
    storages: Literal["whole", "reachable"] = "whole",
    storage_alignment: int = ALIGNMENT,
    checksum: bool = True,
    fsync: bool = False,
    storage_options: StorageOptions = None,
) -> None:
    """Save an object to a file, in the bytes that `torch.save` of PyTorch 2.13 writes for it.

    obj: any object that can be pickled, with tensors anywhere in it. Tensors that share a storage still do when they
        are loaded; the whole storage is saved, however little of it they show, unless `storages` says otherwise.
    f: a path, a URL (text, such as `s3://bucket/model.pt`), or an object with `write` and `flush`; nothing else is
        asked of it, so a pipe will do. A path is written beside the file that is there and renamed over it, an object
        of a store is uploaded in parts and then put in place: if the save fails, what was there is as it was.
    pickle_module: the module whose `Pickler` pickles the object, such as `dill` or `cloudpickle`.
    pickle_protocol: 2, as in PyTorch, to 5; 1 works too, and -1 is the highest.
    _use_new_zipfile_serialization: False writes the legacy format, which PyTorch before 1.6 can read. The bytes are
        those of PyTorch but for the keys of the storages: PyTorch uses addresses, which differ each time, and ptfile
        the numbers `00000000`, `00000001` and on, in the order in which the pickler meets them.

    storages: "whole" saves all of each storage, as PyTorch does. "reachable" leaves out the bytes that no saved tensor
        reaches: those in front of, behind and between the runs from each tensor's first byte to its last. Tensors whose
        runs overlap or touch share a storage in the file, others get storages of their own, with their offsets counted
        from there; shapes and strides stay, for which the bytes that a stride skips inside a run have to stay too. If
        everything is reached, the file is the same as with "whole". The object is pickled twice for it. Of storages
        that have not been read only what is saved is, without its checksum, which is over all of a storage
        (docs/lean-saves.md).
    storage_alignment: bytes to whose multiples the records of the zip format are aligned, as PyTorch's setting of that
        name.
    checksum: False leaves the checksums of the zip format out, as PyTorch's `set_crc32_options(False)`: a damaged file
        then loads.
    fsync: True returns when the file, and its name in the folder, are on the disk, so that they outlast a power cut. It
        takes the disk's time; without it the system writes them when it sees fit, and a crash of the program alone
        loses nothing. Of a file object, the bytes are synced and the name is not, which whoever opened it may do; one
        without a file descriptor is a ValueError. What is no file, such as a pipe or a URL, is written as without it.
    storage_options: how to open the store that a URL is in, as in `load`.

    Raises OSError if the file cannot be written, and what the pickler raises for objects that cannot be pickled, in
    that case before anything is opened.

    >>> import io, ptfile
    >>> buffer = io.BytesIO()
    >>> ptfile.save(ptfile.tensor([0, 1, 2, 3, 4]), buffer)
    """
    prepared, sink = prepare(
        obj, f, pickle_module, pickle_protocol, _use_new_zipfile_serialization, _disable_byteorder_record,
        storages=storages, storage_alignment=storage_alignment, checksum=checksum, fsync=fsync,
        storage_options=storage_options,
    )  # fmt: skip
    write_out(prepared, sink)


def prepare(
    obj: object,
    f: Path | Writable,
    pickle_module: Any,
    pickle_protocol: int,
    is_zip: bool,
    byte_order_last: bool,
    *,
    storages: str,
    storage_alignment: int,
    checksum: bool,
    fsync: bool,
    storage_options: StorageOptions,
) -> tuple[ZipSave | LegacySave, Sink]:
    """An object ready to be written, and where: all of `save` that comes before anything is opened."""
    if pickle_protocol == 0:
        problem = "with pickle_protocol=0 a file has only text for its storages, which PyTorch cannot read"
        raise UnsupportedError(problem, fix="Leave it at 2")
    if storages not in ("whole", "reachable"):
        message = f'storages is {storages!r}: it must be "whole" or "reachable"'
        raise ValueError(message)
    if is_file_url(f):
        f = local_path(f)
    sink = open_sink(f, fsync=fsync, storage_options=storage_options)
    how: dict[str, Any] = {"pickle_module": pickle_module, "pickle_protocol": pickle_protocol}
    if storages == "reachable":
        reachable = ReachableStorages(obj, **how)
        how |= {"storages": reachable, "reducers": reachable.reducers}
    if not is_zip:
        return LegacySave(obj, **how), sink
    root = root_for_path(os.fspath(f)) if isinstance(f, (str, os.PathLike)) else root_for_stream()
    return ZipSave(obj, root, options=ZipOptions(not byte_order_last, storage_alignment, checksum), **how), sink

"""`ptfile.save_async`."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Literal

from ptfile._save import DEFAULT_PROTOCOL, prepare
from ptfile._types import Path, Progress, Writable
from ptfile.containers.zip_structs import ALIGNMENT
from ptfile.stores.urls import StorageOptions

if TYPE_CHECKING:
    from concurrent.futures import Future


def save_async(
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
    memory: int | None = None,
    progress: Progress | None = None,
) -> Future[None]:
    """Save an object as `save` does, but write it while the program goes on.

    The object may be changed as soon as this returns: it has been pickled, and the bytes of its tensors are copied or
    written. Saves are written one behind the other, in the order in which they were asked for, and a program that ends
    first waits for them (docs/saving-in-the-background.md).

    memory: bytes that the copies of all saves together may take. Where there are more, this returns only when the rest
        has been written. None: half of the memory that is available to the process.
    progress: is called with the bytes written so far and the bytes that there are to write, by the thread that writes.
        An exception in it ends the save.

    The other arguments are those of `save`. An object of one's own to write to must not be used before the save ends.

    Returns a future. Its `result()` is None when the file is there, as `save` leaves it, and raises what writing it
    raises, such as OSError; `cancel()` works until writing begins. An error that nobody asks for is printed.

    Raises what `save` raises before anything is opened: objects that cannot be pickled, and wrong arguments. Raises
    RuntimeError in a callback of such a future, and in a signal handler that comes upon this.

    >>> import ptfile
    >>> weights = ptfile.zeros(3)
    >>> saving = ptfile.save_async(weights, "weights.pt")
    >>> weights += 1
    >>> saving.result()
    >>> ptfile.load("weights.pt")
    tensor([0., 0., 0.])
    """
    from ptfile._background import WRITER, in_this_folder  # a program that never saves so need not import what it takes

    prepared, sink = prepare(
        obj, in_this_folder(f), pickle_module, pickle_protocol, _use_new_zipfile_serialization,
        _disable_byteorder_record, storages=storages, storage_alignment=storage_alignment, checksum=checksum,
        fsync=fsync, storage_options=storage_options,
    )  # fmt: skip
    return WRITER.save(prepared, sink, memory, progress)

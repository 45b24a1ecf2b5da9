"""`ptfile.load`."""

from __future__ import annotations

import pickle
from typing import Any, Literal

from ptfile._collector import paused_collector
from ptfile._types import Path, Readable
from ptfile.errors import located
from ptfile.formats.opening import open_format
from ptfile.formats.pickles import PickleRunner, SafeRunner, TrustingRunner
from ptfile.formats.rebuild_layouts import check_indices, unchecked
from ptfile.formats.storages import MapLocation
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources import Source, open_source
from ptfile.stores.urls import StorageOptions

_DEFAULT_LIMITS = Limits()


def load(
    f: Path | Readable,
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool = True,
    mmap: bool | None = None,
    unknown: Literal["error", "inert"] = "error",
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Any:
    """Load an object that `ptfile.save` or `torch.save` wrote.

    Nothing that the file names is imported or called, and the checksum of every record that is read is verified.

    f: a path; a URL, such as `s3://bucket/model.pt` or `https://host/model.pt`, which is text (a `pathlib.Path` is
        always local); or a binary file object, which is read from where it stands. Behind a checkpoint of the legacy
        format it is left standing where the next one may begin. An object that cannot seek, such as a pipe, will do: it
        is read to its end, or to that of a legacy checkpoint, and the tensors of other formats are where their bytes
        arrived, in one block of memory.
    map_location: where storages go, over device tags: one tag for all (`"cpu"`), a mapping from tag to tag, or a
        function that is called once for each storage with the storage and its tag. None keeps the tags of the file.
        There is no device to move bytes to: they are in main memory, and only the tag changes.
    weights_only: False unpickles with `pickle_module` (default: `pickle`) and **runs whatever code the file names**.
        Do that only with files that you trust.
    mmap: True maps the file (a path) into memory instead of reading it. Writing to the tensors does not change the
        file. Checksums of storages are not verified then. In files of the legacy and tar formats, storages that do not
        happen to be aligned are copied.
    unknown: what becomes of objects of classes that ptfile does not know: "error" raises UnsafeError, "inert" makes
        an `InertRecord` of each, which keeps all that the file says about it, and runs nothing.
    encoding, errors: how to read the strings of Python 2, as in `pickle.load`; "bytes" leaves them as bytes.
    limits: bounds on what the file may make ptfile do.
    storage_options: how to open the store that a URL is in: endpoint, region and so on (docs/remote.md). Credentials
        come from the environment or the machine's own identity.

    Raises FormatError for a damaged file or one that is no checkpoint, UnsafeError for a pickle that names what it
    must not, TensorError for a tensor that does not fit its storage, LimitError, UnsupportedError, and OSError.

    >>> import io, ptfile
    >>> buffer = io.BytesIO()
    >>> ptfile.save({"weight": ptfile.tensor([1.5, 2.5])}, buffer)
    >>> buffer.seek(0)
    0
    >>> ptfile.load(buffer)
    {'weight': tensor([1.5000, 2.5000])}
    """
    if weights_only and pickle_module is not None:
        message = "pickle_module is used only with weights_only=False: the safe way needs no other pickler"
        raise ValueError(message)
    text = Python2Text(encoding, errors)
    runner: PickleRunner = SafeRunner(limits, unknown, text)
    if not weights_only:
        runner = TrustingRunner(pickle_module or pickle, text)
    opened = open_source(f, mmap=bool(mmap), may_stream=True, storage_options=storage_options)
    with paused_collector(), opened as source:
        return _load(source, runner, map_location, limits)


def _load(source: Source, runner: PickleRunner, map_location: MapLocation, limits: Limits) -> Any:
    """The value. All else that was made for it is gone when this returns, before the collector goes through it."""
    reader = open_format(source, limits)
    token = unchecked.set([])
    try:
        value = reader.load(runner, map_location)
        reader.fill()
        with located(file=source.name):
            check_indices(unchecked.get() or (), limits)
    finally:
        unchecked.reset(token)
    return value

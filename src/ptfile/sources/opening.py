"""The source for whatever a caller gives to load."""

from __future__ import annotations

import os

from ptfile._types import Path, Readable
from ptfile.errors import UnsupportedError
from ptfile.sources.base import Source
from ptfile.sources.file_object import FileObjectSource
from ptfile.sources.local import LocalSource
from ptfile.sources.mapped import MappedSource
from ptfile.sources.small_file import read_small_file
from ptfile.sources.stream import StreamSource
from ptfile.stores.urls import (
    OBJECT_STORES,
    WEB,
    StorageOptions,
    is_file_url,
    is_url,
    local_path,
    needs_fsspec,
    needs_obstore,
    scheme_of,
)


def lasting_path(f: object) -> str | None:
    """What opens the same file from any folder; None for a file object, which is only here."""
    if is_url(f):
        return f
    return os.path.abspath(os.fspath(f)) if isinstance(f, (str, os.PathLike)) else None  # noqa: PTH100  (no symlink resolved)


def open_file(path: Path, *, mmap: bool) -> Source:
    """The bytes of a file on this machine, whatever its name looks like."""
    return MappedSource(path) if mmap else read_small_file(path) or LocalSource(path)


def open_source(
    f: Path | Readable, *, mmap: bool, may_stream: bool = False, storage_options: StorageOptions = None
) -> Source:
    """The bytes of a path, a URL or a file object. Raises TypeError for anything else.

    may_stream: whether a file object that cannot seek will do; else it is an UnsupportedError.
    storage_options: how to open the store that a URL is in.
    """
    if is_file_url(f):
        f = local_path(f)
    if is_url(f):
        if mmap:
            message = "mmap=True maps a file by its path: what is behind a URL is no file of this machine"
            raise ValueError(message)
        return _open_url(f, storage_options)
    if isinstance(f, (str, os.PathLike)):
        return open_file(f, mmap=mmap)
    if mmap:
        message = "mmap=True maps a file by its path: give a path, not a file object"
        raise ValueError(message)
    wanted = ("read",) if may_stream else ("read", "seek", "tell")
    if not all(callable(getattr(f, name, None)) for name in wanted):
        message = f"f is a {type(f).__name__}: it must be a path, or a binary file object with {' and '.join(wanted)}"
        raise TypeError(message)
    try:
        return FileObjectSource(f)
    except UnsupportedError:
        if not may_stream:
            raise
        return StreamSource(f)


def _open_url(url: str, options: StorageOptions) -> Source:
    from ptfile.sources.remote import RangeFile, RemoteSource

    opened: RangeFile
    if scheme_of(url) in OBJECT_STORES | WEB:
        with needs_obstore(url):
            from ptfile.sources.object_store import StoredObject
        opened = StoredObject(url, options)
    else:
        with needs_fsspec(url):
            from ptfile.sources.fsspec_file import FsspecFile
        opened = FsspecFile(url, options)
    return RemoteSource(opened)

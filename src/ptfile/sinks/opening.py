"""The sink for whatever a caller gives to save."""

from __future__ import annotations

import os

from ptfile._types import Path, Writable
from ptfile.errors import UnsupportedError
from ptfile.sinks.base import Sink
from ptfile.sinks.local_file import FileSink
from ptfile.sinks.stream import StreamSink
from ptfile.stores.urls import (
    OBJECT_STORES,
    WEB,
    StorageOptions,
    is_file_url,
    is_url,
    local_path,
    needs_fsspec,
    needs_obstore,
    redacted,
    scheme_of,
)


def open_sink(
    f: Path | Writable, *, fsync: bool = False, small_pages: bool = False, storage_options: StorageOptions = None
) -> Sink:
    """Where the bytes of a file go that is saved to a path, a URL or a file object. Nothing is opened yet.

    fsync: as in `save`; what a store has taken is durable in any case. small_pages: as in `FileSink`.

    Raises TypeError for anything else, UnsupportedError for a URL that nothing can be saved to.
    """
    if is_file_url(f):
        return FileSink(local_path(f), fsync=fsync, small_pages=small_pages)
    if is_url(f):
        return _open_url(f, storage_options)
    if isinstance(f, (str, os.PathLike)):
        return FileSink(f, fsync=fsync, small_pages=small_pages)
    if callable(getattr(f, "write", None)) and callable(getattr(f, "flush", None)):
        return StreamSink(f, fsync=fsync)
    message = f"f is a {type(f).__name__}: it must be a path, a URL, or an object with write and flush"
    raise TypeError(message)


def _open_url(url: str, options: StorageOptions) -> Sink:
    if scheme_of(url) in WEB:
        fix = "Save to a path, or to the store behind it (s3://, gs://, az://)"
        raise UnsupportedError("a web server has no way to save a file to it", fix=fix, file=redacted(url))
    if scheme_of(url) in OBJECT_STORES:
        with needs_obstore(url):
            from ptfile.sinks.object_store import ObjectSink
        return ObjectSink(url, options)
    with needs_fsspec(url):
        from ptfile.sinks.fsspec_file import FsspecSink
        from ptfile.sinks.hub_file import HubSink
    return HubSink(url, options) if scheme_of(url) == "hf" else FsspecSink(url, options)

"""An object of a store as a sink: its parts go up while the file is being made, and together they appear or none."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

import obstore

from ptfile._types import Buffer
from ptfile.sinks.base import write_zeros
from ptfile.stores.objects import open_store, translated
from ptfile.stores.urls import StorageOptions, redacted

if TYPE_CHECKING:
    from obstore import WritableFile
    from typing_extensions import Self

_PART_MIN = 8 << 20
_PARTS_MAX = 10_000
"""Parts of an upload at most, at S3 and where its protocol is spoken."""
_UNKNOWN = 16 << 20
"""Bytes of a part of what nobody knows the size of: enough for 150 GiB."""
_MEMORY = 64 << 20
"""Bytes of parts on their way, as long as the parts are not so large that two of them are more."""
_MEBIBYTE = 1 << 20


def part_size(nbytes: int | None) -> int:
    """Bytes of each part of an upload of so many bytes: the fewest that will do, in whole mebibytes.

    >>> part_size(1 << 30) >> 20, part_size(1 << 40) >> 20
    (8, 105)
    """
    if nbytes is None:
        return _UNKNOWN
    return max(_PART_MIN, -(-nbytes // (_PARTS_MAX * _MEBIBYTE)) * _MEBIBYTE)


class ObjectSink:
    """A URL to save to. At abort the upload is called off, so that nothing of it stays, and what was there does."""

    __slots__ = ("_key", "_nbytes", "_store", "_writer", "name")

    def __init__(self, url: str, options: StorageOptions) -> None:
        """Raises IsADirectoryError for a bucket."""
        self.name = redacted(url)
        self._store, self._key = open_store(url, options)
        self._nbytes: int | None = None
        self._writer: WritableFile | None = None

    def expect(self, size: int) -> None:
        """Choose parts of a size that are not too many."""
        self._nbytes = size

    def write(self, data: Buffer) -> None:
        """Write all of it. Raises OSError, also for a part from before that did not arrive."""
        with translated(self.name):
            writer = self._opened()
            rest = memoryview(data).cast("B")
            for start in range(0, rest.nbytes, _PART_MIN):
                writer.write(rest[start : start + _PART_MIN])

    def skip(self, length: int) -> None:
        """Write zeros: an object has no holes."""
        write_zeros(self, length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            with translated(self.name):
                self._opened().close()
        except BaseException:
            self._abort()
            raise

    def _opened(self) -> WritableFile:
        if self._writer is None:
            size = part_size(self._nbytes)
            at_once = max(2, _MEMORY // size)
            self._writer = obstore.open_writer(self._store, self._key, buffer_size=size, max_concurrency=at_once)
        return self._writer

    def _abort(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            # The exception on its way is the one to see; what fails while cleaning up would only hide it.
            failure = OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            with suppress(Exception):
                writer.__exit__(OSError, failure, None)

"""A file of one of fsspec's file systems, in ranges."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from ptfile._types import Buffer
from ptfile.errors import UnsupportedError
from ptfile.sources.remote import HEAD
from ptfile.stores.filesystems import in_tries, open_filesystem, protocols
from ptfile.stores.hub import is_hub, pinned
from ptfile.stores.urls import StorageOptions, changed, ignores_ranges, redacted

_SIDE_BY_SIDE = frozenset({"hf", "local", "memory"})
"""File systems that are not asynchronous and stand several threads all the same."""


class FsspecFile:
    """One file, as it was when it was opened, as far as its file system can tell one version of a file from another."""

    def __init__(self, url: str, options: StorageOptions) -> None:
        """Raises FileNotFoundError, PermissionError, other OSError, and UnsupportedError as `open_filesystem` does."""
        self.name = redacted(url)
        self._filesystem, self._path = open_filesystem(url, options)
        side_by_side = getattr(self._filesystem, "async_impl", False) or protocols(self._filesystem) & _SIDE_BY_SIDE
        self._turn = nullcontext() if side_by_side else threading.Lock()
        self._never_changes = False
        self._how: dict[str, Any] = {}
        if is_hub(self._filesystem):
            self._how = {"cache_type": "none"}  # it would fetch 5 MiB more than it is asked for each time
        info = in_tries(self.name, self._look)
        if info.get("type") == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.name)
        if info.get("size") is None:
            fix = "Download the file, and give its path"
            raise UnsupportedError("its file system does not know its size", fix=fix, file=self.name)
        self.size = int(info["size"])
        head = bytearray(min(HEAD, self.size))
        if head:
            self.fetch(0, memoryview(head))
        self.head: Buffer = head

    def fetch(self, start: int, target: memoryview) -> None:
        """Fill the target from `start` on, in a few tries."""

        def get() -> tuple[bytes, bool]:
            with self._turn:
                data: bytes = self._filesystem.cat_file(self._path, start, start + target.nbytes, **self._how)
                return data, self._is_same()

        # The hub's library asks again itself for a range that it was refused.
        data, is_same = in_tries(self.name, get, answers_are_final=is_hub(self._filesystem))
        if not is_same:
            raise changed(self.name)
        if len(data) > target.nbytes:
            raise ignores_ranges(self.name)
        if len(data) < target.nbytes:
            raise OSError(errno.EIO, f"{len(data)} bytes came where {target.nbytes} are asked for", self.name)
        target[:] = data

    def _look(self) -> Mapping[str, Any]:
        """Find out which file it is. Returns what is known about it."""
        if is_hub(self._filesystem):
            by_commit = pinned(self._filesystem, self._path)
            self._never_changes = by_commit is not None
            self._path = by_commit or self._path
        info: Mapping[str, Any] = self._filesystem.info(self._path)
        self._version = self._filesystem.ukey(self._path)
        return info

    def _is_same(self) -> bool:
        if self._never_changes:
            return True
        self._filesystem.invalidate_cache(self._path)
        return bool(self._filesystem.ukey(self._path) == self._version)

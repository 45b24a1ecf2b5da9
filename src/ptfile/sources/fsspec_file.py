"""A file of one of fsspec's file systems, in ranges."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import nullcontext
from typing import Any

from ptfile._types import Buffer
from ptfile.errors import UnsupportedError
from ptfile.sources.remote import HEAD
from ptfile.stores.filesystems import is_hub, open_filesystem, pinned, protocols, translated
from ptfile.stores.urls import StorageOptions, changed, redacted

_TRIES = 4
_FIRST_PAUSE = 0.1
"""Seconds before a range is asked for again; twice as many the next time."""
_SIDE_BY_SIDE = frozenset({"hf", "local", "memory"})
"""File systems that are not asynchronous and stand several threads all the same."""


class FsspecFile:
    """One file, as it was when it was opened, as far as its file system can tell one version of a file from another."""

    def __init__(self, url: str, options: StorageOptions) -> None:
        """Raises FileNotFoundError, PermissionError, other OSError, and UnsupportedError as `open_filesystem` does."""
        self.name = redacted(url)
        self._filesystem, self._path = open_filesystem(url, options)
        self._how: dict[str, Any] = {}
        with translated(self.name):
            if is_hub(self._filesystem):
                self._path = pinned(self._filesystem, self._path)
                self._how = {"cache_type": "none"}  # it would fetch 5 MiB more than it is asked for each time
            info = self._filesystem.info(self._path)
            if info.get("type") == "directory":
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.name)
            self._version = self._filesystem.ukey(self._path)
        if info.get("size") is None:
            fix = "Download the file, and give its path"
            raise UnsupportedError("its file system does not know its size", fix=fix, file=self.name)
        self.size = int(info["size"])
        side_by_side = getattr(self._filesystem, "async_impl", False) or protocols(self._filesystem) & _SIDE_BY_SIDE
        self._turn = nullcontext() if side_by_side else threading.Lock()
        head = bytearray(min(HEAD, self.size))
        if head:
            self.fetch(0, memoryview(head))
        self.head: Buffer = head

    def fetch(self, start: int, target: memoryview) -> None:
        """Fill the target from `start` on, in a few tries."""
        pause = _FIRST_PAUSE
        for left in reversed(range(_TRIES)):
            try:
                with self._turn, translated(self.name):
                    data = self._filesystem.cat_file(self._path, start, start + target.nbytes, **self._how)
                    is_same = self._is_same()
                break
            except OSError as error:
                if not left or isinstance(error, (FileNotFoundError, PermissionError)):
                    raise
                time.sleep(pause)
                pause *= 2
        if not is_same or len(data) != target.nbytes:
            raise changed(self.name)
        target[:] = data

    def _is_same(self) -> bool:
        if is_hub(self._filesystem) and "@" in self._path:  # by its commit
            return True
        self._filesystem.invalidate_cache(self._path)
        return bool(self._filesystem.ukey(self._path) == self._version)

"""A file of one of fsspec's file systems, in ranges."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

from ptfile._types import Buffer
from ptfile.errors import UnsupportedError
from ptfile.sources.remote import HEAD
from ptfile.stores.filesystems import open_filesystem, protocols, translated
from ptfile.stores.hub import is_hub, pinned
from ptfile.stores.urls import StorageOptions, changed, ignores_ranges, redacted

_TRIES = 4
_FIRST_PAUSE = 0.1
"""Seconds before something is asked for again; twice as many the next time."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError)
"""What is no better the next time."""
_SIDE_BY_SIDE = frozenset({"hf", "local", "memory"})
"""File systems that are not asynchronous and stand several threads all the same."""

_T = TypeVar("_T")


class FsspecFile:
    """One file, as it was when it was opened, as far as its file system can tell one version of a file from another."""

    def __init__(self, url: str, options: StorageOptions) -> None:
        """Raises FileNotFoundError, PermissionError, other OSError, and UnsupportedError as `open_filesystem` does."""
        self.name = redacted(url)
        self._filesystem, self._path = open_filesystem(url, options)
        side_by_side = getattr(self._filesystem, "async_impl", False) or protocols(self._filesystem) & _SIDE_BY_SIDE
        self._turn = nullcontext() if side_by_side else threading.Lock()
        self._never_changes = False
        self._tries = _TRIES
        self._how: dict[str, Any] = {}
        if is_hub(self._filesystem):
            self._tries = 1  # for a range: the hub's library tries again itself
            self._how = {"cache_type": "none"}  # it would fetch 5 MiB more than it is asked for each time
        info = self._in_tries(_TRIES, self._look)
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
            data: bytes = self._filesystem.cat_file(self._path, start, start + target.nbytes, **self._how)
            return data, self._is_same()

        data, is_same = self._in_tries(self._tries, get)
        if is_same and len(data) > target.nbytes:
            raise ignores_ranges(self.name)
        if not is_same or len(data) != target.nbytes:
            raise changed(self.name)
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

    def _in_tries(self, tries: int, do: Callable[[], _T]) -> _T:
        """What is done, in the end. Raises the OSError of the last try, and at once what is final."""
        for turn in range(tries):
            try:
                with self._turn, translated(self.name):
                    return do()
            except OSError as error:
                if turn == tries - 1 or isinstance(error, _FINAL):
                    raise
            time.sleep(_FIRST_PAUSE * 2**turn)
        raise AssertionError

"""An object of a store, or a file of a web server, in ranges."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import obstore

from ptfile._types import Buffer
from ptfile.sources.remote import HEAD
from ptfile.stores.objects import open_store, translated
from ptfile.stores.urls import StorageOptions, changed, redacted

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

_CUTS = 10
"""Broken connections in the middle of one range after which it is given up."""
_CHUNK = 16 << 10
"""Bytes that are taken off a connection at once: what was waiting for more of them is lost when it breaks."""


class StoredObject:
    """One object, as it was when it was opened: a range of what has taken its place since is an error."""

    def __init__(self, url: str, options: StorageOptions) -> None:
        """Fetch its first bytes, which tells its size and its ETag as well.

        Raises FileNotFoundError, PermissionError, other OSError, and UnsupportedError for a server that gives no
        ranges, or without obstore.
        """
        self.name = redacted(url)
        self._store, self._key = open_store(url, options)
        self._first: ObjectMeta | None = None
        try:
            with translated(self.name):
                got = obstore.get(self._store, self._key, options={"range": (0, HEAD)})
                self._first = got.meta
                self.head: Buffer = bytes(got.bytes())
        except OSError as error:
            # An empty object has no range at all, so this is how one looks.
            if error.errno != errno.EIO or not self._is_empty():
                raise
            self.head = b""
        self.size = 0 if self._first is None else self._first["size"]
        self._etag = self._first and self._first["e_tag"]

    def fetch(self, start: int, target: memoryview) -> None:
        """Fill the target from `start` on; where the connection breaks, go on from there."""
        done = cuts = 0
        while True:
            got = self._get(start + done, start + target.nbytes)
            try:
                with translated(self.name):
                    for chunk in got.stream(min_chunk_size=_CHUNK):
                        part = memoryview(chunk)[: target.nbytes - done]
                        target[done : done + part.nbytes] = part
                        done += part.nbytes
            except OSError as error:
                cuts += 1
                if error.errno != errno.EIO or cuts > _CUTS:
                    raise
            if done == target.nbytes:
                return

    def _get(self, start: int, stop: int) -> obstore.GetResult:
        options: GetOptions = {"range": (start, stop)}
        if self._etag and not self._etag.startswith("W/"):  # a weak one matches nothing (RFC 9110, 13.1.1)
            options["if_match"] = self._etag
        with translated(self.name):
            got = obstore.get(self._store, self._key, options=options)
        # Not all servers look at If-Match, and not all have ETags.
        assert self._first is not None
        fields = ("size", "e_tag") if self._etag else ("size", "last_modified")
        if any(got.meta[field] != self._first[field] for field in fields):
            raise changed(self.name)
        return got

    def _is_empty(self) -> bool:
        try:
            with translated(self.name):
                return bool(obstore.head(self._store, self._key)["size"] == 0)
        except OSError:
            return False

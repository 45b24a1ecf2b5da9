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
"""Connections that break in the middle of one range until it is given up."""
_CHUNK = 16 << 10
"""Bytes that are taken off a connection at once: what was waiting for more of them is lost when it breaks."""


class StoredObject:
    """One object, as it was when it was opened: a range of what has taken its place since is an error."""

    def __init__(self, url: str, options: StorageOptions) -> None:
        """Fetch its first bytes, which tells its size and its ETag as well.

        Raises FileNotFoundError, PermissionError, other OSError, and UnsupportedError for a server that gives no
        ranges.
        """
        self.name = redacted(url)
        self._store, self._key = open_store(url, options)
        self._first: ObjectMeta = {"size": 0}
        """What was known of the object when it was opened."""
        self.head: Buffer = b""
        try:
            with translated(self.name):
                got = obstore.get(self._store, self._key, options={"range": (0, HEAD)})
        except OSError as error:
            # An empty object has no range at all, so this is how one looks.
            if error.errno != errno.EIO or not self._is_empty():
                raise
        else:
            self._first = got.meta
            self.head = bytearray(min(HEAD, self.size))
            self._fill(memoryview(self.head), 0, got)

    @property
    def size(self) -> int:
        return int(self._first["size"])

    def fetch(self, start: int, target: memoryview) -> None:
        self._fill(target, start, self._get(start, start + target.nbytes))

    def _fill(self, target: memoryview, start: int, got: obstore.GetResult) -> None:
        """Fill the target with what was got, and where the connection breaks, get the rest."""
        done = 0
        for left in reversed(range(_CUTS)):
            try:
                with translated(self.name):
                    for chunk in got.stream(min_chunk_size=_CHUNK):
                        part = memoryview(chunk)[: target.nbytes - done]
                        target[done : done + part.nbytes] = part
                        done += part.nbytes
            except OSError as error:
                if error.errno != errno.EIO or not left:
                    raise
            if done == target.nbytes:
                return
            got = self._get(start + done, start + target.nbytes)
        raise OSError(errno.EIO, f"the server gives {done} bytes where {target.nbytes} are asked for", self.name)

    def _get(self, start: int, stop: int) -> obstore.GetResult:
        """A range. Raises OSError with `errno.ESTALE` if it is not of the object that was opened."""
        options: GetOptions = {"range": (start, stop)}
        etag = self._first["e_tag"]
        if etag and not etag.startswith("W/"):  # a weak one matches nothing (RFC 9110, 13.1.1)
            options["if_match"] = etag
        with translated(self.name):
            got = obstore.get(self._store, self._key, options=options)
        # Not all servers look at If-Match, and not all have ETags.
        by = "e_tag" if etag and got.meta["e_tag"] else "last_modified"
        if any(got.meta[field] != self._first[field] for field in ("size", by)):
            raise changed(self.name)
        return got

    def _is_empty(self) -> bool:
        try:
            with translated(self.name):
                return bool(obstore.head(self._store, self._key)["size"] == 0)
        except OSError:
            return False

"""A file of one of fsspec's file systems as a sink, which appears when it is whole: by fsspec's own transactions."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ptfile._types import Buffer
from ptfile.sinks.base import write_zeros
from ptfile.stores.filesystems import open_filesystem, translated
from ptfile.stores.urls import StorageOptions, redacted

if TYPE_CHECKING:
    from typing_extensions import Self

_WRITE_MAX = 8 << 20


class FsspecSink:
    """A URL to save to. At abort nothing of it appears, as far as the file system keeps what fsspec promises."""

    __slots__ = ("_file", "_filesystem", "_path", "name")

    def __init__(self, url: str, options: StorageOptions) -> None:
        """Raises UnsupportedError as `open_filesystem` does."""
        self.name = redacted(url)
        self._filesystem, self._path = open_filesystem(url, options)
        self._file: Any = None

    def expect(self, size: int) -> None:
        """There is no way to ask for room."""

    def write(self, data: Buffer) -> None:
        """Write all of it. Raises OSError."""
        rest = memoryview(data).cast("B")
        with translated(self.name):
            for start in range(0, rest.nbytes, _WRITE_MAX):
                self._file.write(rest[start : start + _WRITE_MAX])

    def skip(self, length: int) -> None:
        write_zeros(self, length)

    def __enter__(self) -> Self:
        with translated(self.name):
            self._filesystem.start_transaction()
            try:
                self._file = self._filesystem.open(self._path, "wb")
            except BaseException:
                self._abort()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            with translated(self.name):
                self._file.close()
                self._filesystem.end_transaction()
        except BaseException:
            self._abort()
            raise

    def _abort(self) -> None:
        from fsspec.spec import AbstractBufferedFile

        file, self._file = self._file, None
        # The exception on its way is the one to see; what fails while cleaning up would only hide it.
        with suppress(Exception):
            if isinstance(file, AbstractBufferedFile):
                file.closed = True  # to close it would send what it has
            elif file is not None:
                file.close()
        with suppress(Exception):
            self._filesystem.transaction.complete(commit=False)

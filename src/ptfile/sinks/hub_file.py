"""A file on Hugging Face's hub as a sink: a commit wants all of it at once, so it is made on this machine first."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING

from ptfile._types import Buffer
from ptfile.sinks.base import write_zeros
from ptfile.sinks.local_file import FileSink
from ptfile.stores.filesystems import open_filesystem
from ptfile.stores.hub import check_target, upload
from ptfile.stores.urls import StorageOptions, redacted

if TYPE_CHECKING:
    from typing_extensions import Self


class HubSink:
    """A URL to save to, whose repository or bucket is there. At abort nothing has been sent."""

    __slots__ = ("_file", "_filesystem", "_folder", "_path", "name")

    def __init__(self, url: str, options: StorageOptions) -> None:
        """Raises UnsupportedError as `open_filesystem` does."""
        self.name = redacted(url)
        self._filesystem, self._path = open_filesystem(url, options)

    def expect(self, size: int) -> None:
        """Raises OSError, with the path, if there is clearly no room for it in the folder for temporary files."""
        self._file.expect(size)

    def write(self, data: Buffer) -> None:
        """Write all of it. Raises OSError, with the path of the temporary file."""
        self._file.write(data)

    def skip(self, length: int) -> None:
        write_zeros(self, length)

    def __enter__(self) -> Self:
        check_target(self._filesystem, self._path, name=self.name)
        self._folder = TemporaryDirectory(prefix="ptfile-")
        try:
            self._file = FileSink(os.path.join(self._folder.name, "file.pt"))  # noqa: PTH118
            self._file.__enter__()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        with self._folder:
            self._file.__exit__(kind, error, trace)
            if kind is None:
                upload(self._filesystem, self._path, self._file.name, name=self.name)

"""Whatever else has a URL, by fsspec: Hugging Face's hub, ftp, other people's file systems."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fsspec.core import url_to_fs

from ptfile.errors import UnsupportedError
from ptfile.stores.urls import StorageOptions, reason, redacted, scheme_of


def open_filesystem(url: str, options: StorageOptions) -> tuple[Any, str]:
    """The file system that a URL is in, an instance of its own, and the path there.

    Raises UnsupportedError for a scheme that fsspec does not know, and for one whose package is not installed.
    """
    scheme, name = scheme_of(url), redacted(url)
    try:
        filesystem, path = url_to_fs(url, **{"skip_instance_cache": True, **(options or {})})
    except ImportError as error:  # says which package to install
        raise UnsupportedError(f"{scheme}:// is not for fsspec alone", fix=reason(error), file=name) from None
    except ValueError as error:
        raise UnsupportedError(f"a URL that nothing here reads ({reason(error)})", fix="", file=name) from None
    return filesystem, path


def protocols(filesystem: Any) -> frozenset[str]:
    """The schemes that a file system goes by."""
    names = filesystem.protocol
    return frozenset((names,) if isinstance(names, str) else names)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise what a file system raises as OSError with `name`: its own errors may hold a URL with a signature in it."""
    try:
        yield
    except NotImplementedError:
        raise UnsupportedError("this file system of fsspec does not do that", fix="", file=name) from None
    except Exception as error:  # noqa: BLE001  of the library behind it, which can be any
        number = getattr(error, "errno", None) or _number_of(error)
        raise OSError(number, getattr(error, "strerror", None) or reason(error), name) from None


_NUMBERS = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES, IsADirectoryError: errno.EISDIR}
_STATUSES = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT}


def _number_of(error: Exception) -> int:
    """The number that makes an OSError of the class that fits, for errors that were raised without one."""
    number = next((number for kind, number in _NUMBERS.items() if isinstance(error, kind)), None)
    status = getattr(getattr(error, "response", None), "status_code", None)  # of requests, httpx and those like them
    return number or _STATUSES.get(status or 0, errno.EIO)

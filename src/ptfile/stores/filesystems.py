"""Whatever else has a URL, by fsspec: Hugging Face's hub, ftp, other people's file systems."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import responses
from typing import Any, TypeVar

from fsspec.core import url_to_fs

from ptfile.errors import UnsupportedError
from ptfile.stores.urls import StorageOptions, options_checked, reason, redacted, scheme_of

_TRIES = 4
_FIRST_PAUSE = 0.1
"""Seconds before something is asked for again; twice as many the next time."""
_FINAL = frozenset({errno.ENOENT, errno.EACCES, errno.EISDIR})
"""What is no better the next time."""
_NUMBERS = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES, IsADirectoryError: errno.EISDIR}
_STATUSES = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT}
"""What servers answer, as the errors of files."""
_T = TypeVar("_T")


def open_filesystem(url: str, options: StorageOptions) -> tuple[Any, str]:
    """The file system that a URL is in, an instance of its own, and the path there.

    Raises UnsupportedError for a scheme that fsspec does not know, and for one whose package is not installed;
    IsADirectoryError for a URL with a slash at its end, which file systems leave out.
    """
    scheme, name = scheme_of(url), redacted(url)
    if url.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    try:
        with options_checked():
            filesystem, path = url_to_fs(url, **{"skip_instance_cache": True, **(options or {})})
    except ImportError as error:  # says which package to install
        raise UnsupportedError(f"{scheme}:// is not for fsspec alone", fix=reason(error), file=name) from None
    except ValueError as error:
        fix = "Give a path, or a URL that obstore or fsspec knows"
        raise UnsupportedError(f"a URL that nothing here reads ({reason(error)})", fix=fix, file=name) from None
    except OSError:  # some connect at once
        with translated(name):
            raise
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
        fix = "Copy the file to or from there by its own tools, and give its path"
        raise UnsupportedError("this file system of fsspec does not do that", fix=fix, file=name) from None
    except Exception as error:  # noqa: BLE001  of the library behind it, which can be any
        number, words = _number_of(error), _words_of(error)
        if number == errno.EACCES and scheme_of(name).endswith("hf"):
            words += ". Log in with `hf auth login`, or set HF_TOKEN, as someone who may do this"
        raise OSError(number, words, name) from None


def in_tries(name: str, do: Callable[[], _T], *, answers_are_final: bool = False) -> _T:
    """What is done, in the end. Raises the error of the last try, `translated`, and at once what is final.

    answers_are_final: a server's 503 too, since who asked it has tried again already.
    """
    for turn in range(_TRIES):
        try:
            return do()
        except Exception as error:
            answered = answers_are_final and _response_of(error) is not None
            if turn == _TRIES - 1 or answered or _number_of(error) in _FINAL or isinstance(error, NotImplementedError):
                with translated(name):
                    raise
        time.sleep(_FIRST_PAUSE * 2**turn)
    raise AssertionError


def _number_of(error: Exception) -> int:
    """The number that makes an OSError of the class that fits."""
    number = getattr(error, "errno", None) or next((_NUMBERS[kind] for kind in _NUMBERS if isinstance(error, kind)), 0)
    response = _response_of(error)
    return number or _STATUSES.get(0 if response is None else response.status_code, errno.EIO)


def _words_of(error: Exception) -> str:
    """What went wrong, on one line."""
    response = _response_of(error)
    if response is not None:
        more = getattr(error, "server_message", None)
        answer = f"the server answers {response.status_code} {responses.get(response.status_code, '')}".rstrip()
        return f"{answer}: {reason(ValueError(more))}" if more else answer
    said: str = getattr(error, "strerror", None) or reason(error)
    if isinstance(error, FileNotFoundError):
        return f"there is no such file ({said})"
    why = reason(error.__cause__) if error.__cause__ else ""
    return f"{said} ({why})" if why not in said else said


def _response_of(error: BaseException) -> Any:
    """The answer that a library like requests or httpx, which the hub's uses, found wrong; None for other errors."""
    response = getattr(error, "response", None)
    if response is None and not isinstance(error, FileNotFoundError):  # which says more than a 404
        response = getattr(error.__cause__, "response", None)
    return response if isinstance(getattr(response, "status_code", None), int) else None

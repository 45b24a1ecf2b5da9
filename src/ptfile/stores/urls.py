"""What a URL is, whose it is, and how it is called where others can see it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeGuard

from ptfile.errors import UnsupportedError

StorageOptions: TypeAlias = "Mapping[str, Any] | None"
"""How to open a store: its endpoint, its region, that requests are not signed. For s3, gs, az and http these are the
keywords of obstore's `from_url` and its client's (`allow_http`, `timeout`), else those of fsspec's file system."""

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"})
WEB = frozenset({"http", "https"})

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*([a-z][a-z0-9+.-]+)://")
"""A scheme has two letters or more: `c:` is a drive. fsspec puts one file system into another by `::`."""
_USER = re.compile(r"(?<=://)[^/?#\s]*:[^/?#\s]*@|(?<=http://)[^/?#\s]*@|(?<=https://)[^/?#\s]*@")
"""A password before the host, on the web a token too. In `abfss://container@account` that is the container."""
_QUERY = re.compile(r"[?#][^\s\"')>]*")
_SECRET = re.compile(
    r"secret|password|token$|_key$|connection_string|^authorization$|^cookie$|(?:^|-)sig(?:nature)?$", re.IGNORECASE
)
"""Names of credentials in options and in signed URLs: `account_key`, `token`, `X-Amz-Signature`, `sig`."""
_MOST_TEXT = 200
_BUCKET = re.compile(r"[\w.$-]+(?:@[\w.-]+)?")
"""Azure's `$web` is one too, and `container@account.dfs.core.windows.net`."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class StorageOptionsError(TypeError):
    """`storage_options` are not what opens the store takes."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"storage_options: {problem}")


def is_url(f: object) -> TypeGuard[str]:
    """Whether a text is a URL, and no path. What is no text is none: `pathlib.Path("s3://x")` is the local `s3:/x`.

    >>> is_url("s3://bucket/model.pt"), is_url("C:/model.pt"), is_url("./s3://x")
    (True, False, False)
    """
    return isinstance(f, str) and _URL.match(f) is not None


def is_file_url(f: object) -> TypeGuard[str]:
    """Whether a text is the URL of a file on this machine."""
    return isinstance(f, str) and f.startswith("file://")


def scheme_of(url: str) -> str:
    """The scheme; that of a chain of fsspec's is the whole chain of them.

    >>> scheme_of("s3://bucket/model.pt"), scheme_of("filecache::hf://org/model.pt")
    ('s3', 'filecache::hf')
    """
    return url.partition("://")[0]


def local_path(url: str) -> str:
    """The path that a `file://` URL stands for. Raises OSError for one of another machine."""
    # They bring half of Python's network library.
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        problem = "a file URL has three slashes before its path, or is on another machine"
        raise OSError(errno.EINVAL, problem, redacted(url))
    if parts.query or parts.fragment:
        raise OSError(errno.EINVAL, "in a file URL, ? is written as %3F, and # as %23", url)
    return url2pathname(parts.path)


def split(url: str) -> tuple[str, str]:
    """The bucket or container as a URL, and the key in it, which is taken as it stands: nothing is unescaped.

    Raises IsADirectoryError where there is no key, and OSError for what obstore has no request for, or would ask for by
    another name: an empty part of a key, for which a slash too many is enough, `.`, `..`, control characters.

    >>> split("s3://bucket/runs/7/a b%20c.pt")
    ('s3://bucket', 'runs/7/a b%20c.pt')
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket or not key or key.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), redacted(url))
    if not _BUCKET.fullmatch(bucket):
        problem = "that is no name of a bucket; credentials and the like stand elsewhere"
        raise OSError(errno.EINVAL, problem, redacted(url))
    if not {"", ".", ".."}.isdisjoint(key.split("/")) or _CONTROL.search(key):
        problem = "no part of a key may be empty (is there a slash too many?), `.` or `..`, or have control characters"
        raise OSError(errno.EINVAL, problem, redacted(url))
    return f"{scheme}://{bucket}", key


def redacted(text: str) -> str:
    """A URL, or a text with some in it, without what may be secret: a password, the query of a signed URL.

    >>> redacted("https://me:pass@host/model.pt?X-Amz-Signature=1234")
    'https://…@host/model.pt?…'
    """
    return _QUERY.sub("?…", _USER.sub("…@", text)) if "://" in text else text


def secrets_in(url: str, options: StorageOptions) -> list[str]:
    """What in a URL, and which of the options for it, are credentials: their names. Most are known by theirs alone.

    >>> secrets_in("s3://bucket/model.pt", {"access_key_id": "me", "secret_access_key": "mine", "region": "us-east-1"})
    ['secret_access_key']
    >>> secrets_in("https://me:pass@host/model.pt?sig=1234&x=1", None)
    ['the password', 'sig']
    """
    in_query = [name for name, _, _ in (part.partition("=") for part in re.split("[?&]", url)[1:])]
    found = ["the password"] if _USER.search(url) else []
    found += [name for name in in_query if _SECRET.search(name)]
    for name, value in (options or {}).items():
        if isinstance(value, Mapping):  # headers, and file systems inside others
            found += secrets_in("", value)
        elif isinstance(value, str) and (_SECRET.search(name) or _USER.search(value)):
            found.append(name)
    return found


def reason(error: BaseException) -> str:
    """What a library says about a failure, in one short line without secrets."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return redacted(line)[:_MOST_TEXT]


@contextmanager
def _needs(url: str, *, package: str, extra: str) -> Iterator[None]:
    """Raise UnsupportedError for what is imported here if the package is not installed."""
    try:
        yield
    except ImportError as error:
        problem = f"{scheme_of(url)}:// is read and written by {package}, which is not installed"
        raise UnsupportedError(problem, fix=f"Install it: pip install 'ptfile[{extra}]'", file=redacted(url)) from error


@contextmanager
def options_checked() -> Iterator[None]:
    """Raise StorageOptionsError for what a library says of its arguments, which are those of its user here."""
    try:
        yield
    except StorageOptionsError:
        raise
    except TypeError as error:
        raise StorageOptionsError(reason(error)) from None


needs_obstore = partial(_needs, package="obstore", extra="remote")
needs_fsspec = partial(_needs, package="fsspec", extra="fsspec")


def ignores_ranges(name: str) -> UnsupportedError:
    """The error for a server that sends all of a file where a part is asked for."""
    problem = "the server does not give parts of a file: it ignores Range requests"
    return UnsupportedError(problem, fix="Download the file, and give its path", file=name)


def changed(name: str) -> OSError:
    """The error for a file that is not the one that was opened."""
    return OSError(errno.ESTALE, "it has changed since it was opened: open it again", name)

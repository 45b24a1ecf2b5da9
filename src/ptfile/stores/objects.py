"""Object stores and web servers, by obstore: which store a URL names, and what its errors mean here.

Credentials come from where obstore looks for them: the environment, or the machine's or the container's own identity.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from obstore import exceptions as theirs
from obstore import store

from ptfile.errors import UnsupportedError
from ptfile.stores.urls import WEB, StorageOptions, changed, reason, redacted, scheme_of, split

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_RETRY = {
    "max_retries": 8,
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
    "retry_timeout": timedelta(minutes=2),
}
"""About a quarter of a minute of a store that says 503 or does not answer. obstore's own would be minutes."""
_INSTANCE_METADATA = "169.254.169.254"
"""Where clouds tell a machine who it is; to fail there is to have found credentials nowhere."""


def open_store(url: str, options: StorageOptions) -> tuple[ObjectStore, str]:
    """The store that a URL is in, and its key there. Raises IsADirectoryError for a bucket."""
    given: dict[str, Any] = {"retry_config": _RETRY, **(options or {})}
    with translated(redacted(url)):
        if scheme_of(url) in WEB:
            # The store is the URL as it stands, query and all, and the key in it is empty: nothing is escaped anew.
            client = {"allow_http": url.startswith("http:"), **(given.pop("client_options", None) or {})}
            return store.HTTPStore(url.partition("#")[0], client_options=client, **given), ""
        bucket, key = split(url)
        return store.from_url(bucket, **given), key


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise the errors of obstore as those that a file would give, with `name`.

    What obstore says holds the URL with its query, which may be a signature, so it is not chained.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such object or bucket", name) from None
    except (theirs.PermissionDeniedError, theirs.UnauthenticatedError) as error:
        raise PermissionError(errno.EACCES, f"the store does not allow it: {said(error)}", name) from None
    except theirs.PreconditionError:
        raise changed(name) from None
    except theirs.NotSupportedError as error:
        if "Range" not in str(error):
            raise UnsupportedError(f"the store does not do this ({said(error)})", fix="", file=name) from None
        raise UnsupportedError(
            "the server does not give parts of a file: it ignores Range requests",
            fix="Download the file, and give its path",
            file=name,
        ) from None
    except theirs.BaseError as error:
        raise OSError(errno.EIO, said(error), name) from None


def status_of(error: Exception) -> str:
    """The status line that a server gave; empty if it gave none."""
    return str(error).partition("status code: ")[2].partition(":")[0][:60]


def said(error: Exception) -> str:
    """What obstore says of a failure, on one line."""
    if _INSTANCE_METADATA in str(error):
        return (
            "no credentials were found in the environment, nor has this machine any of its own. For what is public, "
            "give storage_options={'skip_signature': True}"
        )
    status = status_of(error)
    return f"the server answers {status}" if status else reason(error).rpartition(" - ")[2]

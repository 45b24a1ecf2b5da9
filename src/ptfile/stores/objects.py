"""Object stores and web servers, by obstore: which store a URL names, and what its errors mean here.

Credentials come from where obstore looks for them: the environment, or the machine's or the container's own identity.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from obstore import exceptions as theirs
from obstore import store

from ptfile.errors import UnsupportedError
from ptfile.stores.urls import (
    WEB,
    StorageOptions,
    StorageOptionsError,
    changed,
    ignores_ranges,
    options_checked,
    reason,
    redacted,
    scheme_of,
    split,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_RETRY = {
    "max_retries": 8,
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
    "retry_timeout": timedelta(minutes=2),
}
"""About a quarter of a minute of a store that says 503 or does not answer. obstore's own would be minutes."""
_CLIENT = frozenset({
    "allow_http", "allow_invalid_certificates", "connect_timeout", "default_content_type", "default_headers",
    "http1_only", "http2_only", "pool_idle_timeout", "pool_max_idle_per_host", "proxy_ca_certificate", "proxy_excludes",
    "proxy_url", "randomize_addresses", "read_timeout", "root_certificate", "timeout", "user_agent",
})  # fmt: skip
"""Options that obstore wants one level down, in `client_options`, and for which it otherwise panics."""
_RETRYING = "retry_config"
"""The one option of which obstore takes numbers as numbers."""
_SECONDS = frozenset({
    "connect_timeout", "init_backoff", "max_backoff", "pool_idle_timeout", "read_timeout", "retry_timeout", "timeout",
})  # fmt: skip
"""Options that are durations."""
_INSTANCE_METADATA = "169.254.169.254"
"""Where clouds tell a machine who it is; to fail there is to have found credentials nowhere."""
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with what belongs to it",
}
"""Where they can be put, by the scheme; those without a line here are other names of Azure."""


def open_store(url: str, options: StorageOptions) -> tuple[ObjectStore, str]:
    """The store that a URL is in, and its key there.

    Raises IsADirectoryError for a bucket, and OSError with `errno.EINVAL` for a key that no request can be made for.
    """
    given: dict[str, Any] = {_RETRYING: _RETRY, **_as_taken(options or {})}
    client = {name: given.pop(name) for name in _CLIENT & given.keys()} | (given.pop("client_options", None) or {})
    with translated(redacted(url)), options_checked():
        if scheme_of(url) in WEB:
            # The store is the URL as it stands, query and all, and the key in it is empty: nothing is escaped anew.
            client = {"allow_http": url.startswith("http:"), **client}
            return store.HTTPStore(url.partition("#")[0], client_options=client, **given), ""
        bucket, key = split(url)
        return store.from_url(bucket, **given, client_options=client or None), key


def _as_taken(options: Mapping[str, Any], *, has_numbers: bool = False) -> dict[str, Any]:
    """Options as obstore takes them: numbers as texts, and as durations where they are seconds.

    >>> _as_taken({"access_key_id": 123, "allow_http": True, "client_options": {"timeout": 5}})
    {'access_key_id': '123', 'allow_http': True, 'client_options': {'timeout': datetime.timedelta(seconds=5)}}
    """
    taken: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            taken[name] = _as_taken(value, has_numbers=has_numbers or name == _RETRYING)
        elif not isinstance(value, (int, float)) or isinstance(value, bool):
            taken[name] = value
        elif name in _SECONDS:
            taken[name] = timedelta(seconds=value)
        else:
            taken[name] = value if has_numbers else str(value)
    return taken


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise the errors of obstore as those that a file would give, with `name`; TypeError for an option that it lacks.

    What obstore says holds the URL with its query, which may be a signature, so it is not chained.
    """
    try:
        yield
    except FileNotFoundError:
        raise _missing(name) from None
    except theirs.PreconditionError:
        raise changed(name) from None
    except theirs.NotSupportedError as error:
        if "Range" not in str(error):
            fix = "Copy the file to or from there by its own tools, and give its path"
            raise UnsupportedError(f"the store does not do this ({reason(error)})", fix=fix, file=name) from None
        raise ignores_ranges(name) from None
    except theirs.UnknownConfigurationKeyError as error:
        raise StorageOptionsError(reason(error)) from None
    except ValueError as error:
        if "Invalid key" in str(error):
            raise StorageOptionsError(reason(error)) from None
        raise OSError(errno.EINVAL, f"that is no URL of a file ({reason(error)})", name) from None
    except (theirs.PermissionDeniedError, theirs.UnauthenticatedError) as error:
        raise _refused(error, name) from None
    except theirs.BaseError as error:
        raise _failed(error, name) from None
    except OSError as error:
        if error.filename is not None or error.errno is not None:
            raise  # one of ours
        raise _failed(error, name) from None  # the writer's: every failure of the last request


def _missing(name: str) -> OSError:
    what = "file" if scheme_of(name) in WEB else "object or bucket"
    return FileNotFoundError(errno.ENOENT, f"there is no such {what}", name)


def _refused(error: Exception, name: str) -> OSError:
    fix = "other credentials are needed, or there is no such object"
    if scheme_of(name) in WEB:
        fix = "has the signature run out?" if "?" in name else "it may want a password or a token"
    return PermissionError(errno.EACCES, f"the store does not allow it: {_said(error)}; {fix}", name)


def _failed(error: Exception, name: str) -> OSError | UnsupportedError:
    """The error for what obstore says in words alone."""
    text = str(error)
    if _INSTANCE_METADATA in text:
        how = _CREDENTIALS.get(scheme_of(name).removesuffix("a"), _CREDENTIALS["az"])
        problem = (
            f"no credentials were found in the environment, nor has this machine any of its own: {how}. What is "
            "public is read with the storage option skip_signature=true"
        )
        return PermissionError(errno.EACCES, problem, name)
    if "non-partial" in text:
        return ignores_ranges(name)
    status = _status_of(error)
    if status.startswith("404"):
        return _missing(name)
    if status.startswith(("401", "403")):
        return _refused(error, name)
    if "Account must be specified" in text:
        problem = "of which account? Set AZURE_STORAGE_ACCOUNT_NAME, or give the storage option account_name=..."
        return OSError(errno.EINVAL, problem, name)
    if "builder error" in text:
        problem = "an endpoint with http:// wants the storage option allow_http=true"
        return OSError(errno.EINVAL, problem, name)
    return OSError(errno.EIO, _said(error), name)


def _status_of(error: Exception) -> str:
    """The status line that a server gave; empty if it gave none."""
    return str(error).partition("status code: ")[2].partition(":")[0][:60]


def _said(error: Exception) -> str:
    """What obstore says of a failure, on one line."""
    status = _status_of(error)
    if status:
        return f"the server answers {status}"
    said = reason(error).rpartition(" - ")[2]
    return f"no answer from the server ({said})" if "error sending request" in said else said

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


def is_hub(filesystem: Any) -> bool:
    """Whether it is Hugging Face's hub."""
    return "hf" in protocols(filesystem)


def protocols(filesystem: Any) -> frozenset[str]:
    """The schemes that a file system goes by."""
    names = filesystem.protocol
    return frozenset((names,) if isinstance(names, str) else names)


def pinned(filesystem: Any, path: str) -> str:
    """The path of a file on the hub by the commit that its branch is at now: what it leads to never changes."""
    from huggingface_hub import HfApi

    at = filesystem.resolve_path(path)
    if not hasattr(at, "repo_id"):  # a bucket has no commits
        return path
    api = HfApi(endpoint=filesystem.endpoint, token=filesystem.token)
    commit = api.repo_info(at.repo_id, revision=at.revision, repo_type=at.repo_type).sha
    kind = "" if at.repo_type == "model" else f"{at.repo_type}s/"
    return f"{kind}{at.repo_id}@{commit}/{at.path_in_repo}"


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise what a file system raises as OSError with `name`: its own errors may hold a URL with a signature in it."""
    try:
        yield
    except NotImplementedError:
        raise UnsupportedError("this file system of fsspec does not do that", fix="", file=name) from None
    except OSError as error:
        raise OSError(error.errno or _number_of(error), error.strerror or reason(error), name) from None
    except Exception as error:  # noqa: BLE001  of the library behind it, which can be any
        raise OSError(errno.EIO, reason(error), name) from None


def _number_of(error: OSError) -> int:
    """The number that makes an OSError of the same class, for those that were raised without one."""
    numbers = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES, IsADirectoryError: errno.EISDIR}
    return next((number for kind, number in numbers.items() if isinstance(error, kind)), errno.EIO)

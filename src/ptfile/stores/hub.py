"""Hugging Face's hub, by its own library: which commit a file is of, and how one gets there."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any

from ptfile.stores.filesystems import in_tries, protocols, translated


def is_hub(filesystem: Any) -> bool:
    """Whether it is Hugging Face's hub."""
    return "hf" in protocols(filesystem)


def pinned(filesystem: Any, path: str) -> str | None:
    """The path of a file by the commit that its branch is at now: what it leads to never changes.

    None for a file in a bucket, which has no commits.
    """
    at = filesystem.resolve_path(path)
    if not _is_in_repository(at):
        return None
    commit = _hub(filesystem).repo_info(at.repo_id, revision=at.revision, repo_type=at.repo_type).sha
    kind = "" if at.repo_type == "model" else f"{at.repo_type}s/"
    return f"{kind}{at.repo_id}@{commit}/{at.path_in_repo}"


def check_target(filesystem: Any, path: str, *, name: str) -> None:
    """Raises FileNotFoundError if there is no such repository, IsADirectoryError for one without a path in it."""
    at = in_tries(name, partial(filesystem.resolve_path, path))
    if not (at.path_in_repo if _is_in_repository(at) else at.path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)


def upload(filesystem: Any, path: str, file: str, *, name: str) -> None:
    """Put a file of this machine on the hub, in one commit. Raises OSError with `name`."""
    size = Path(file).stat().st_size
    with translated(name):
        at, hub = filesystem.resolve_path(path), _hub(filesystem)
        if not _is_in_repository(at):
            hub.batch_bucket_files(at.bucket_id, add=[(file, at.path)])
            return
        place: dict[str, Any] = {"repo_id": at.repo_id, "repo_type": at.repo_type}
        message = f"Upload {at.path_in_repo} with ptfile"
        commit = hub.upload_file(
            path_or_fileobj=file, path_in_repo=at.path_in_repo, revision=at.revision, commit_message=message, **place
        )
    # What the repository's .gitignore names is left out of commits without a word.
    find = partial(hub.get_paths_info, paths=[at.path_in_repo], revision=commit.oid, **place)
    try:
        found = in_tries(name, find)
    except OSError as error:
        problem = f"there is a commit {commit.oid}, but the hub does not say whether the file is in it"
        raise OSError(error.errno, f"{problem}: {error.strerror}", name) from None
    if [entry.size for entry in found] != [size]:
        raise OSError(errno.EIO, "the hub did not take the file: does the repository's .gitignore name it?", name)


def _is_in_repository(at: Any) -> bool:
    return hasattr(at, "repo_id")


def _hub(filesystem: Any) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=filesystem.endpoint, token=filesystem.token)

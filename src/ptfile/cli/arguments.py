"""The arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

_MOST_OFFERED = 1000
"""Names that the shell is offered."""
FILE = click.Path()
"""A path or an address, as the user wrote it; the shell completes it as a file."""


def json_option(command: _F) -> _F:
    """`--json`, for the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def encoding_option(command: _F) -> _F:
    """`--encoding`, for the argument `encoding`."""
    help_text = "How to read strings that Python 2 wrote, such as latin1."
    return click.option("--encoding", default="utf-8", help=help_text)(command)


def tensor_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names in the checkpoint that begin like what is there, for the shell; reads the pickle alone."""
    from ptfile._checkpoint import open as open_checkpoint

    try:
        with open_checkpoint(ctx.params.get("file") or "") as checkpoint:
            names = [name for name in checkpoint if name.startswith(incomplete) and name.isprintable()]
    except Exception:  # noqa: BLE001  (a shell that completes has no place for any error)
        return []
    return names[:_MOST_OFFERED]

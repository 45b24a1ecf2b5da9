"""The arguments and options that several commands have."""

from __future__ import annotations

import json
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


def storage_option(command: _F) -> _F:
    """`--storage-option`, as often as needed, for the argument `storage_options`: a dict, or None."""
    return click.option(
        "--storage-option",
        "storage_options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_storage_options,
        help="How to open the store of a URL: endpoint=https://..., skip_signature=true. For more than one, again.",
    )(command)


def _storage_options(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any] | None:
    """What several KEY=VALUE are together. Dots in a key go into a dict in it; a value may be JSON, or is a text."""
    options: dict[str, Any] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not all(key.split(".")):
            raise click.BadParameter("it has the form KEY=VALUE")  # it may hold a secret, and is not shown
        *outer, last = key.split(".")
        inside = options
        for part in outer:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise click.BadParameter(f"{part} is a value already, and nothing goes into it")
        try:
            inside[last] = json.loads(value)
        except ValueError:
            inside[last] = value
    return options or None


def tensor_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names in the checkpoint that begin like what is there, for the shell; reads the pickle alone."""
    from ptfile._checkpoint import open as open_checkpoint

    try:
        options = ctx.params.get("storage_options")
        with open_checkpoint(ctx.params.get("file") or "", storage_options=options) as checkpoint:
            names = [name for name in checkpoint if name.startswith(incomplete) and name.isprintable()]
    except Exception:  # noqa: BLE001  (a shell that completes has no place for any error)
        return []
    return names[:_MOST_OFFERED]

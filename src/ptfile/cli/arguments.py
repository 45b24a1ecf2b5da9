"""The arguments and options that several commands have."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from ptfile.cli.printable import printable
from ptfile.errors import PtfileError
from ptfile.stores.urls import StorageOptions, is_file_url, is_url, local_path, redacted

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
    """What several KEY=VALUE are together. Dots in a key go into a dict in it."""
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
        inside[last] = _value(value)
    return options or None


def _value(text: str) -> Any:
    """What JSON makes of a text, if it is that, and of numbers only what is written as they are: `1e5` may be a key.

    >>> [_value(text) for text in ("true", "21", '"21"', "us-east-1", "1e5", "NaN")]
    [True, 21, '21', 'us-east-1', '1e5', 'NaN']
    """
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (int, float)) and not isinstance(value, bool) and str(value) != text else value


@contextmanager
def usage_errors() -> Iterator[None]:
    """What a function of ptfile has against its arguments, it has against the command line."""
    try:
        yield
    except PtfileError:  # some of these are ValueErrors as well, about files
        raise
    except ValueError as error:
        raise click.UsageError(printable(str(error))) from error


def check_new(target: str, storage_options: StorageOptions, *, force: bool) -> None:
    """Raise UsageError for a file or an object that is there, or may be, and is not to be replaced."""
    if force:
        return
    name = printable(redacted(target))
    try:
        if _is_there(target, storage_options):
            raise click.UsageError(f"{name} is there already: give another name, or --force to replace it")
    except PermissionError as error:  # whoever may only write is not told
        why = printable(str(error.strerror))
        raise click.UsageError(
            f"whether {name} is there already cannot be seen ({why}); --force does not ask"
        ) from error


def _is_there(target: str, storage_options: StorageOptions) -> bool:
    path = local_path(target) if is_file_url(target) else target
    if not is_url(path):
        return os.path.isfile(path)  # noqa: PTH113  (a pipe or /dev/null may be written to at any time)
    from ptfile.sinks import open_sink
    from ptfile.sources import open_source

    open_sink(target, storage_options=storage_options)  # says of a web server that nothing can be saved there
    try:
        open_source(target, mmap=False, storage_options=storage_options).close()
    except FileNotFoundError:
        return False
    return True


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

"""Sentences for people: wrapped at words in a terminal, as they are in a pipe."""

from __future__ import annotations

import shutil
import sys
import textwrap

import click

from ptfile.cli.printable import printable

_HANGING = 2


def echo(line: str) -> None:
    """Print a line, of which nothing is obeyed. In a terminal it goes on in the next, indented; words stay whole."""
    line = printable(line)
    if sys.stdout.isatty():
        line = wrapped(line, shutil.get_terminal_size().columns)
    click.echo(line)


def wrapped(line: str, width: int) -> str:
    r"""The line in lines of `width`, indented as it is and a little more.

    >>> wrapped("  a: one two three", 12)
    '  a: one two\n    three'
    """
    indent = len(line) - len(line.lstrip())
    behind = " " * (indent + _HANGING)
    made = textwrap.wrap(
        line, width, subsequent_indent=behind, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return "\n".join(made)

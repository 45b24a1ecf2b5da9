"""Where text for people goes: a terminal with its width and colours, or a pipe without either.

A terminal's lines are made by rich; here they are fitted, so that nothing wraps where nobody wants it to. A pipe needs
no rich, which takes as long to import as half of ptfile.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ptfile.cli.printable import columns_of, printable

PIPE_WIDTH = 80
"""Columns that a chart is drawn for where there is no terminal."""
_DOTS = "…"
_TEXT_DOTS = "..."


class Screen:
    """The standard output, as people look at it."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self.width = PIPE_WIDTH
        """Columns. In a pipe lines may be longer."""
        if self.is_terminal:
            from rich.console import Console

            self._console = Console(highlight=False, soft_wrap=True)
            self.width = self._console.width
        self.has_blocks = _can_write("█▁…", sys.stdout.encoding)
        """Whether it has the characters that charts are drawn with."""

    def line(self, *parts: str | tuple[str, str]) -> None:
        """Write one line: texts, and pairs of a text and its style."""
        if not self.is_terminal:
            text = "".join([part if isinstance(part, str) else part[0] for part in parts])
            sys.stdout.write(f"{text.rstrip()}\n")
            return
        from rich.text import Text

        line = Text.assemble(*parts)
        line.rstrip()
        self._console.print(line)

    def heading(self, name: str, about: str) -> None:
        """The name of a file and what it is: on two lines if one is too short."""
        name = printable(name)
        apart = self.is_terminal and columns_of(name) + 2 + columns_of(about) > self.width
        between = "\n" if apart else "  " if self.is_terminal else ": "
        self.line((name, "bold"), between, about)

    def folded(self, text: str) -> None:
        """Write a long text on as many lines as the terminal needs; in a pipe on one."""
        while self.is_terminal and columns_of(text) > self.width:
            head = _first(text, self.width)
            self.line(head)
            text = text[len(head) :]
        self.line(text)

    def cut(self, text: str, width: int) -> str:
        """The text in so many columns: in a terminal without its middle, if it is longer; in a pipe whole."""
        return cut(text, width, _DOTS if self.has_blocks else _TEXT_DOTS) if self.is_terminal else text


def cut(text: str, width: int, dots: str = _DOTS) -> str:
    """The text without its middle, if it is wider than `width` columns: names differ at their ends.

    >>> cut("encoder.layers.11.attention.weight", 20)
    'encoder.l…ion.weight'
    """
    if columns_of(text) <= width:
        return text
    room = max(width - len(dots), 0)
    head, tail = _first(text, room // 2), _first(text[::-1], room - room // 2)[::-1]
    return (head + dots + tail)[:width] if width < len(dots) else head + dots + tail


def _first(text: str, width: int) -> str:
    taken = ""
    for character in text:
        width -= columns_of(character)
        if width < 0:
            break
        taken += character
    return taken


def widest(cells: Sequence[str], most: int | None = None) -> int:
    """Columns of the widest cell, or `most`."""
    width = max(map(columns_of, cells), default=0)
    return width if most is None else min(width, most)


def left(text: str, width: int) -> str:
    """The text with spaces behind it."""
    return text + " " * (width - columns_of(text))


def _can_write(characters: str, encoding: str | None) -> bool:
    try:
        characters.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

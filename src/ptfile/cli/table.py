"""Tables: with rich in a terminal, as plain aligned text everywhere else.

Rich measures every cell of a table before it writes the first, for some minutes if there are a million. So the widths
are found here, and rich gets the rows in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from ptfile.cli.printable import columns_of

if TYPE_CHECKING:
    from rich.console import Console

BLOCK = 500
"""Rows that rich gets at once."""
GAP = 2
"""Spaces between columns."""
NARROWEST = 16
"""Characters that the first column keeps in however narrow a terminal."""

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """How one column looks."""

    title: str
    style: str = ""
    """Rich's name for a colour or a weight."""
    right: bool = False
    """Numbers stand at the right."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text. The first column is the one that is folded if there is too little room."""

    columns: tuple[Column, ...]
    rows: Sequence[Row]
    header: bool = True

    def widths(self) -> list[int]:
        """The widest cell of each column, in terminal cells: 中 takes two."""
        lines = [tuple(column.title for column in self.columns), *self.rows] if self.header else self.rows
        return [max(map(columns_of, cells)) for cells in zip(*lines, strict=True)]


def write_plain(table: Table, file: IO[str]) -> None:
    """Aligned columns of whatever width they need: a pipe has no edge."""
    widths = table.widths()
    lines = [tuple(column.title for column in table.columns)] if table.header else []
    for row in (*lines, *table.rows):
        cells = [
            _pad(cell, width, column.right) for cell, width, column in zip(row, widths, table.columns, strict=True)
        ]
        file.write((" " * GAP).join(cells).rstrip() + "\n")


def _pad(cell: str, width: int, right: bool) -> str:
    room = " " * (width - columns_of(cell))
    return room + cell if right else cell + room


def write_rich(table: Table, console: Console) -> None:
    """Columns that fit the terminal: names too long for it go on in the next line, and nothing is lost."""
    widths = table.widths()
    room = console.width - sum(widths[1:]) - GAP * (len(widths) - 1)
    widths[0] = min(widths[0], max(room, NARROWEST))
    for start in range(0, len(table.rows), BLOCK):
        console.print(_block(table, widths, table.rows[start : start + BLOCK], header=table.header and start == 0))


def _block(table: Table, widths: list[int], rows: Sequence[Row], *, header: bool) -> object:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    block = RichTable(
        box=box.SIMPLE_HEAD,
        show_header=header,
        show_edge=False,
        padding=(0, GAP - 1, 0, 0),  # the box puts one space between columns
        pad_edge=False,
        border_style="dim",
        header_style="bold",
    )
    for column, width in zip(table.columns, widths, strict=True):
        block.add_column(
            column.title,
            style=column.style,
            justify="right" if column.right else "left",
            width=width,
            overflow="fold",
        )
    for row in rows:
        # As `Text`, not as markup: a name may hold brackets.
        block.add_row(Text(fold(row[0], widths[0])), *map(Text, row[1:]))
    return block


def fold(name: str, width: int) -> str:
    r"""The name in lines of `width`, broken before a dot where there is one in the second half of a line.

    >>> fold("encoder.layers.0.weight", 16)
    'encoder.layers.0\n.weight'
    """
    lines = []
    while len(name) > width:
        dot = name.rfind(".", width // 2, width + 1)
        end = dot if dot > 0 else width
        lines.append(name[:end])
        name = name[end:]
    return "\n".join([*lines, name])

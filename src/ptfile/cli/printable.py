"""Text from a file, made safe to show, and how much room it takes: what every command needs, and imports nothing."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey or an encoding would refuse.

    Names and messages come from the file, and whoever made that may mean harm.

    >>> printable("pfäd 中")
    'pfäd 中'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: 中 takes two.

    >>> columns_of("weight"), columns_of("中")
    (6, 2)
    """
    if text.isascii() and text.isprintable():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)

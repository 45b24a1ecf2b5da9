"""Text from a file, made safe to show. A module of its own because every command needs it, and needs no numpy."""

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

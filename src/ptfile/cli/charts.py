"""Bars and histograms drawn with characters: pure functions from numbers to text."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = " ▁▂▃▄▅▆▇█"
_PLAIN = "#"


def bar(share: float, width: int, *, has_blocks: bool = True) -> str:
    """A bar that fills its share, from 0 to 1, of `width` columns; what is not nothing shows.

    >>> bar(0.5, 8), bar(0.0001, 8), bar(0.5, 8, has_blocks=False)
    ('████', '▏', '####')
    """
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    if not has_blocks:
        return _PLAIN * max(eighths // 8, int(share > 0))
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def columns(counts: Sequence[int], height: int, *, has_blocks: bool = True) -> list[str]:
    """A histogram as lines of text, the highest first: a column for each count; what is not nothing shows.

    >>> columns([1, 8, 16, 0], 2)
    ['  █ ', '▁██ ']
    """
    most = max(counts, default=0)
    tops = [max(round(count / most * height * 8), 1) if count else 0 for count in counts]
    lines = []
    for row in reversed(range(height)):
        levels = [min(max(top - row * 8, 0), 8) for top in tops]
        if has_blocks:
            lines.append("".join(_LEVELS[level] for level in levels))
        else:
            lines.append("".join(_PLAIN if level >= 4 or (level and row == 0) else " " for level in levels))
    return lines

"""Results as a drawing: plain SVG, which needs no library to draw and none to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from report import RIVAL, SUBJECT, Row, times
from targets import DROP_IN
from works.scale import COUNTS

_WIDTH, _LABELS, _BAR, _GAP = 860, 300, 11, 14
_COLOURS = {SUBJECT: "#2563a8", DROP_IN: "#8fb8de"}
_STYLE = "text { font: 12px system-ui, sans-serif; fill: #222 } .head { font-weight: 600 } .grid { stroke: #ccc }"
_TICKS = (0.5, 1, 2, 5, 10, 20, 50)
_SCALE_HEIGHT = 180


def plot(rows: Sequence[Row]) -> str:
    """How many times as fast as torch ptfile is at each work, and what one tensor of many costs."""
    compared = [row for row in rows if RIVAL in row.results]
    bars, height = _bars(compared)
    curves = list(_curves(rows, height))
    height += _SCALE_HEIGHT if curves else 0
    box = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
    ground = f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([box, f"<style>{_STYLE}</style>", ground, *bars, *curves, "</svg>"]) + "\n"


def _x(ratio: float) -> float:
    """Where a ratio is, on a scale on which each doubling takes as much room."""
    low, high = math.log(_TICKS[0]), math.log(_TICKS[-1])
    part = (math.log(min(max(ratio, _TICKS[0]), _TICKS[-1])) - low) / (high - low)
    return _LABELS + part * (_WIDTH - _LABELS - 50)


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _bars(rows: Sequence[Row]) -> tuple[list[str], int]:
    head = f"times as fast as torch: {SUBJECT} (dark), {DROP_IN} (light)"
    parts = [_text(_LABELS, 18, head, kind="head")]
    y = 44
    for row in rows:
        who = [name for name in _COLOURS if name in row.results]
        parts.append(_text(_LABELS - 8, y + _BAR, f"{row.title}: {row.operation}", anchor="end"))
        for name in who:
            ratio = row.results[RIVAL].median / row.results[name].median
            left, right = sorted((_x(1), _x(ratio)))
            size = f'x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{_BAR}"'
            parts.append(f'<rect {size} fill="{_COLOURS[name]}"/>')
            parts.append(_text(right + 4, y + _BAR - 1, f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"))
            y += _BAR + 1
        y += _GAP
    for tick in _TICKS:
        x = _x(tick)
        parts.insert(0, f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="38" y2="{y - _GAP + 4}"/>')
        parts.insert(1, _text(x, 34, f"{tick:g}", anchor="middle"))
    return parts, y + 10


def _curves(rows: Sequence[Row], top: int) -> Iterator[str]:
    """The time for one tensor over the number of tensors."""
    found = {row.operation: row.results[SUBJECT] for row in rows if row.work == "scale"}
    if not found:
        return
    yield _text(_LABELS, top + 14, "time for one tensor of 16 floats, in a dict of so many", kind="head")
    most = max(measured.median for measured in found.values())
    bottom, room = top + _SCALE_HEIGHT - 30, _SCALE_HEIGHT - 70
    step = (_WIDTH - _LABELS - 120) / (len(COUNTS) - 1)
    for number, count in enumerate(COUNTS):
        yield _text(_LABELS + 20 + number * step, bottom + 18, f"{count:,}", anchor="middle")
    yield f'<line class="grid" x1="{_LABELS}" x2="{_WIDTH - 50}" y1="{bottom}" y2="{bottom}"/>'
    for name, colour in (("save", "#2563a8"), ("load", "#b4552d")):
        points = []
        for number, count in enumerate(COUNTS):
            measured = found[f"{name}, {count:,}"]
            x, y = _LABELS + 20 + number * step, bottom - measured.median / most * room
            points.append(f"{x:.1f},{y:.1f}")
            yield _text(x, y - 6, times(measured).partition(" (")[0], anchor="middle")
        yield f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield _text(x + 30, y + 4, name)

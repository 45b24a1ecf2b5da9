"""Parts of a checkpoint as people ask for them: `model.layer.0.weight[0:10, ..., -1]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import cache
from types import EllipsisType

from ptfile._names import components

Index = tuple["int | slice | EllipsisType | None", ...]

ROOT = "(root)"
"""What stands for the empty name, which a checkpoint has that is one tensor."""
_NEAR = 5
_MOST_COMPARED = 20_000
"""Names that are compared with one that is not there."""
_INTEGER = r"[+-]?[0-9]{1,18}"
_ITEM = re.compile(
    rf"\s*(?:(?P<dots>\.\.\.)|(?P<none>None)|(?P<at>{_INTEGER})"
    rf"|(?P<start>{_INTEGER})?\s*:\s*(?P<stop>{_INTEGER})?\s*(?::\s*(?P<step>{_INTEGER})?)?)\s*"
)


class SelectionError(ValueError):
    """A name that is not in the checkpoint, or an index that is none. Says what there is."""


class UnknownNameError(KeyError):
    """A name that is not in the checkpoint. Says what there is, when somebody asks: many only look whether it is."""

    def __init__(self, name: object, said: Callable[[], str]) -> None:
        super().__init__(name)
        self._said = cache(said)  # names that are near take a moment to find

    def __str__(self) -> str:
        return self._said()

    def __reduce__(self) -> tuple[object, ...]:
        return KeyError, (str(self),)  # the names stay here


def select(names: Collection[str], text: str) -> tuple[str, Index | None]:
    """The name and the index that a text asks for; the longest name that exists is the one.

    Raises SelectionError, with the names that are near.

    >>> select({"state[0]", "state[0].avg"}, "state[0][:10, -1]")
    ('state[0]', (slice(None, 10, None), -1))
    >>> select({"state[0]", "state[0].avg"}, "state[0]")
    ('state[0]', None)
    """
    text = text.removeprefix(ROOT)
    if text in names:
        return text, None
    if text.endswith("]"):
        starts = [match.start() for match in re.finditer(r"\[", text)]
        for start in reversed(starts):
            if text[:start] in names and "]" not in text[start:-1]:
                return text[:start], parse_index(text[start:])
    raise SelectionError(unknown(names, text))


def parse_index(text: str) -> Index:
    """An index as Python writes it, brackets included: integers, slices, `...` and None.

    Raises SelectionError for anything else.

    >>> parse_index("[0:10, ..., -1]")
    (slice(0, 10, None), Ellipsis, -1)
    """
    items = []
    for written in text[1:-1].split(","):
        found = _ITEM.fullmatch(written)
        if found is None:
            raise SelectionError(f"{written.strip()!r} in {text} is no index: write it as in Python, [0:10, ..., -1]")
        items.append(_item(found))
    return tuple(items)


def _item(found: re.Match[str]) -> int | slice | EllipsisType | None:
    if found["dots"]:
        return ...
    if found["none"]:
        return None
    if found["at"]:
        return int(found["at"])
    start, stop, step = (None if found[part] is None else int(found[part]) for part in ("start", "stop", "step"))
    return slice(start, stop, step)


def below(names: Iterable[str], prefix: str) -> list[str]:
    """The names of what is inside the place with a name."""
    return [name for name in names if name.startswith((f"{prefix}.", f"{prefix}[")) or not prefix]


def unknown(names: Collection[str], text: str) -> str:
    """What is said of a name that is not among these: what is inside the place that it names, or what is near.

    >>> unknown(["layer.bias", "layer.weight"], "layer")
    'layer is a group of 2 names: layer.bias, layer.weight'
    """
    inside = below(names, text) if text else list(names)
    if not names:
        return "the checkpoint is empty"
    if inside:
        many = "1 name" if len(inside) == 1 else f"{len(inside):,} names"
        there = f"{text} is a group of {many}" if text else f"there are {len(inside):,} names"
        return f"{there}: {_listed(inside)}"
    import difflib  # for whoever mistypes a name

    candidates = list(names)[:_MOST_COMPARED]
    near = difflib.get_close_matches(text, candidates, _NEAR, 0.5)
    last = components(text)[-1]
    near = near or [name for name in candidates if name.endswith(last)] or list(names)
    return f"there is no {text}: there is {_listed(near)}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(name or ROOT for name in names[:_NEAR])
    return f"{shown} and {len(names) - _NEAR:,} more" if len(names) > _NEAR else shown

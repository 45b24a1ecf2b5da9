"""`ptfile diff`: what is different between two checkpoints.

Exit codes: 0 nothing is, 1 something is, 2 a file could not be read, or the command line is wrong.

`--json` prints one object. Its keys stay as they are; later versions may add some.

    a, b                        the paths
    same                        whether nothing is different
    compared                    how many names are in both
    differences                 list
        name                    as `ptfile ls` writes it; attributes of dicts, which that leaves out, are there too
        kind                    "removed", "added", "type", "shape", "dtype", "scale" or "value"
        a, b                    objects of what is in each; null if the name is not in it
            dtype, shape        of a tensor
            type, value         of anything else, as in `ptfile ls --json`
        elements                of tensors of one shape; null for anything else
        differing               how many of them are different beyond the tolerance
        max_abs                 the largest absolute difference; "inf" or "nan" if it is no number
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ptfile._diff import Diff, Difference, diff
from ptfile._selection import ROOT
from ptfile.cli import text, to_json
from ptfile.cli.arguments import FILE, encoding_option, json_option, storage_option
from ptfile.cli.printable import printable
from ptfile.cli.progress import progress_bar
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.quantized import PerTensor

if TYPE_CHECKING:
    from ptfile.cli.screen import Screen

_SIGNS = {"removed": ("-", "red"), "added": ("+", "green")}
_CHANGED = ("~", "yellow")
_NAME_SHARE = 0.5
"""Of the columns of a terminal, for names at most."""
_ARROW = " → "


@click.command("diff")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("--rtol", type=click.FloatRange(min=0), default=0.0, help="Tolerance in proportion to the values of B.")
@click.option("--atol", type=click.FloatRange(min=0), default=0.0, help="Tolerance in absolute numbers.")
@click.option("--nan-differs", is_flag=True, help="Count NaN as different from NaN.")
@json_option
@encoding_option
@storage_option
def command(
    a: str,
    b: str,
    *,
    rtol: float,
    atol: float,
    nan_differs: bool,
    as_json: bool,
    encoding: str,
    storage_options: StorageOptions,
) -> None:
    """Say what is different between the checkpoints A and B: names, types, shapes, dtypes, values.

    Numbers are the same if |a - b| <= atol + rtol * |b|. Devices, strides, sharing and formats are not compared.

    Exit codes: 0 the same, 1 different, 2 a file could not be read.
    """
    with progress_bar(b) as progress:
        found = diff(
            a,
            b,
            rtol=rtol,
            atol=atol,
            equal_nan=not nan_differs,
            encoding=encoding,
            storage_options=storage_options,
            progress=progress,
        )
    if as_json:
        to_json.write(as_dict(found))
    else:
        _write(found)
    if not found.same:
        raise SystemExit(1)


# for programs


def as_dict(found: Diff) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {
        "a": found.a,
        "b": found.b,
        "same": found.same,
        "compared": found.compared,
        "differences": [
            {
                "name": one.name,
                "kind": one.kind,
                "a": None if one.kind == "added" else _side(one.a),
                "b": None if one.kind == "removed" else _side(one.b),
                "elements": one.a.numel() if _has_elements(one) else None,
                "differing": one.differing,
                "max_abs": to_json.number(one.max_abs),
            }
            for one in found.differences
        ],
    }


def _has_elements(one: Difference) -> bool:
    return one.differing is not None and isinstance(one.a, Attributed)


def _side(thing: Any) -> dict[str, Any]:
    if isinstance(thing, Attributed):
        shape = getattr(thing, "shape", None)
        return {"dtype": thing.dtype.name, "shape": None if shape is None else list(shape)}
    return {"type": type(thing).__name__, "value": to_json.value(thing)}


# for people


def _write(found: Diff) -> None:
    from ptfile.cli.screen import Screen, left, widest

    screen = Screen()
    names = [printable(one.name) or ROOT for one in found.differences]
    most = int(screen.width * _NAME_SHARE) if screen.is_terminal else None
    width = widest(names, most)
    for name, one in zip(names, found.differences, strict=True):
        sign, style = _SIGNS.get(one.kind, _CHANGED)
        said = screen.cut(printable(_said(one, screen)), screen.width - width - 4)
        screen.line((f"{sign} {left(screen.cut(name, width), width)}", style), f"  {said}")
    if found.differences:
        screen.line()
    screen.line((_total(found), "bold"))


def _total(found: Diff) -> str:
    compared = text.count(found.compared, "name")
    if found.same:
        return f"the same: {compared} compared"
    kinds = [one.kind for one in found.differences]
    parts = {kind: kinds.count(kind) for kind in ("removed", "added")}
    counts = [f"{count:,} {kind}" for kind, count in parts.items() if count]
    changed = len(kinds) - sum(parts.values())
    counts += [f"{changed:,} changed"] if changed else []
    return f"different: {', '.join(counts)}; {compared} compared"


def _said(one: Difference, screen: Screen) -> str:
    arrow = _ARROW if screen.has_blocks else " -> "
    return ", ".join(_words(one, arrow))


def _words(one: Difference, arrow: str) -> Iterator[str]:
    """What is different."""
    if one.kind in _SIGNS:
        yield text.brief(one.a if one.kind == "removed" else one.b)
        return
    are_tensors = isinstance(one.a, Attributed) and isinstance(one.b, Attributed)
    if one.kind == "dtype":
        yield arrow.join(str(getattr(side.dtype, "name", side.dtype)) for side in (one.a, one.b))
    elif one.kind == "shape":
        yield arrow.join(text.shape(side.shape) for side in (one.a, one.b))
    elif one.kind == "scale":
        yield arrow.join(_scale(side) for side in (one.a, one.b))
    elif one.kind == "type" and not are_tensors:
        yield arrow.join(f"{type(side).__name__} {text.brief(side)}" for side in (one.a, one.b))
    elif one.differing is None:
        yield arrow.join(text.brief(side) for side in (one.a, one.b))
    if one.differing == 0:
        yield "the values are the same"
    elif one.differing is not None:
        elements = one.a.numel() if are_tensors else one.a.size
        yield f"{one.differing:,} of {text.count(elements, 'element')}"
        if one.max_abs is not None:
            yield "NaN in one of them" if math.isnan(one.max_abs) else f"by at most {_number(one.max_abs)}"


def _scale(tensor: Any) -> str:
    quantizer = tensor.quantizer
    if isinstance(quantizer, PerTensor):
        return f"scale {quantizer.scale:g}, zero point {quantizer.zero_point}"
    return f"scales along dimension {quantizer.axis}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"

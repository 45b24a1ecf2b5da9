"""`ptfile show`: one tensor or value of a checkpoint.

`--json` prints one object. Its keys stay as they are; later versions may add some. All have

    file, name, index           the index as it was written, "[0:10]"; null without one
    kind                        "tensor" or "value"

and a value has

    type, value                 as in `ptfile ls --json`

and a tensor

    dtype, shape, layout        "float32", [64, 3], "strided"
    device, requires_grad
    stride, offset              in elements; null for other layouts
    elements, bytes
    parts                       names of what a tensor of another layout is made of: show those for more; []
    statistics                  object; null for elements that are no numbers, and on the meta device
        of                      "values"; "magnitudes" of complex numbers; "values()" of a sparse or nested tensor
        count, nans, infinities, zeros
        min, max, mean, std     numbers; null if there is none
        histogram               counts in equal parts of the range from min to max
    values                      nested lists, if there are at most 1000 elements; null if there are more

Numbers that JSON has not are texts: "nan", "inf", "-inf", "(1+2j)".
"""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

import ptfile
from ptfile._lazy import np
from ptfile._selection import ROOT, SelectionError, select
from ptfile._tree import parts
from ptfile._types import Progress
from ptfile.cli import text, to_json
from ptfile.cli.arguments import FILE, encoding_option, json_option, storage_option, tensor_names
from ptfile.cli.charts import columns
from ptfile.cli.printable import printable
from ptfile.cli.progress import progress_bar
from ptfile.errors import PtfileError, UnsupportedError
from ptfile.stores.urls import StorageOptions, redacted
from ptfile.tensors.nested import JaggedTensor, NestedTensor, WrapperTensor
from ptfile.tensors.pieces import piece
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.quantized import PerTensor, QuantizedTensor
from ptfile.tensors.sparse import SparseCompressedTensor, SparseTensor
from ptfile.tensors.statistics import Statistics, statistics
from ptfile.tensors.tensor import Tensor
from ptfile.tensors.text import values_text

if TYPE_CHECKING:
    from ptfile.cli.screen import Screen

MOST_VALUES = 1000
"""Elements that `--json` prints."""
MOST_SHOWN = 200
"""Elements that people are shown before it is a summary."""
MOST_BINS = 60
_HEIGHT = 7
_LABEL = 10
_FEW = 7
"""Elements of which nobody needs a histogram."""
_OF_PARTS = (SparseTensor, SparseCompressedTensor, NestedTensor, JaggedTensor)


@click.command("show")
@click.argument("file", type=FILE)
@click.argument("name", required=False, default="", metavar="NAME[INDEX]", shell_complete=tensor_names)
@json_option
@encoding_option
@storage_option
def command(file: str, name: str, *, as_json: bool, encoding: str, storage_options: StorageOptions) -> None:
    """Show a tensor: its values, what they are like, and how they lie; or another value of a checkpoint.

    NAME is as `ptfile ls` prints it. INDEX is as in Python: 'layer.weight[0:10, ..., -1]'. Only what is needed of the
    file is read, and nothing that it names is run.
    """
    with (
        progress_bar(redacted(file)) as progress,
        ptfile.open(file, encoding=encoding, storage_options=storage_options) as checkpoint,
    ):
        found, index = _select(checkpoint, name)
        thing = _indexed(checkpoint[found], found, index)
        written = None if index is None else name.removeprefix(ROOT)[len(found) :]
        head = {"file": redacted(file), "name": found, "index": written}
        seen = as_dict(thing, progress) if as_json else _look(thing, progress)
    if isinstance(seen, dict):
        to_json.write({**head, **seen})
    else:
        _write((found or ROOT) + (head["index"] or ""), thing, seen)


def _select(checkpoint: ptfile.Checkpoint, name: str) -> tuple[str, Any]:
    only = next(iter(checkpoint)) if len(checkpoint) == 1 else ""
    try:
        return select(checkpoint, name or only)
    except SelectionError as error:
        raise click.UsageError(printable(str(error))) from error


def _indexed(thing: Any, name: str, index: Any) -> Any:
    """A part of what has a name. Raises UsageError for what has none."""
    if isinstance(thing, np.ndarray):
        thing = _as_tensor(thing)
    if index is None:
        return thing
    try:
        if isinstance(thing, (Tensor, np.ndarray)):
            return thing[index]
        if isinstance(thing, QuantizedTensor):
            return thing.dequantize()[index]
    except (IndexError, ptfile.TensorError) as error:
        raise click.UsageError(printable(f"{name or ROOT} has no such part: {error}")) from error
    inside = ", ".join(f"{name}.{part}" for part in parts(thing)) if isinstance(thing, Attributed) else ""
    fix = f": its parts are {inside}" if inside else ""
    raise click.UsageError(printable(f"{name or ROOT} is no tensor that can be indexed{fix}"))


def _as_tensor(array: np.ndarray[Any, Any]) -> Any:
    """A tensor of the elements of an array, if there is a dtype for them."""
    try:
        return ptfile.from_numpy(array)
    except (PtfileError, ValueError):
        return array


# what it is


def _facts(tensor: Any) -> dict[str, Any]:
    """What is said of a tensor of any kind, by the keys of the JSON."""
    strided = isinstance(tensor, (Tensor, QuantizedTensor))
    layout = str(getattr(tensor, "layout", "strided" if strided else "nested")).rpartition(".")[2]
    shape = getattr(tensor, "shape", None)
    elements = None if shape is None else int(np.prod(shape, dtype=object))
    return {
        "dtype": tensor.dtype.name,
        "shape": None if shape is None else list(shape),
        "layout": layout,
        "device": str(getattr(tensor, "device", "cpu")),
        "requires_grad": bool(getattr(tensor, "requires_grad", False)),
        "stride": list(tensor.stride()) if strided else None,
        "offset": tensor.storage_offset() if strided else None,
        "elements": elements,
        "bytes": elements * tensor.dtype.itemsize if strided and elements is not None else None,
        "parts": list(parts(tensor)),
    }


def _numbers_of(tensor: Any) -> tuple[Tensor | QuantizedTensor | None, str]:
    """The tensor whose numbers stand for those of a tensor, and what they are of it."""
    if isinstance(tensor, _OF_PARTS):
        return tensor.values(), "values()"
    if isinstance(tensor, WrapperTensor):
        return None, ""
    return tensor, "magnitudes" if tensor.dtype.is_complex else "values"


def _statistics(tensor: Any, bins: int, progress: Progress) -> tuple[Statistics | None, str]:
    numbers, of = _numbers_of(tensor)
    if numbers is None or numbers.device == "meta":
        return None, of
    try:
        return statistics(numbers, bins, progress=progress), of
    except UnsupportedError:
        return None, of


# for programs


def as_dict(thing: Any, progress: Progress) -> dict[str, Any]:
    """What `--json` prints of a tensor or a value."""
    if not isinstance(thing, Attributed):
        return {"kind": "value", "type": type(thing).__name__, "value": to_json.value(thing)}
    found, of = _statistics(thing, MOST_BINS, progress)
    return {"kind": "tensor", **_facts(thing), "statistics": _as_dict(found, of), "values": _values(thing)}


def _as_dict(found: Statistics | None, of: str) -> dict[str, Any] | None:
    if found is None:
        return None
    numbers = {key: to_json.number(getattr(found, key)) for key in ("min", "max", "mean", "std")}
    counts = {key: getattr(found, key) for key in ("count", "nans", "infinities", "zeros")}
    return {"of": of, **counts, **numbers, "histogram": list(found.histogram)}


def _values(tensor: Any) -> Any:
    few = isinstance(tensor, (Tensor, QuantizedTensor)) and tensor.numel() <= MOST_VALUES
    if not few or tensor.device == "meta":
        return None
    try:
        return to_json.nested(_whole(tensor).tolist())
    except UnsupportedError:
        return None


def _whole(tensor: Any) -> Any:
    """A small tensor in memory."""
    return piece(tensor, (slice(None),) * tensor.ndim) if isinstance(tensor, Tensor) else tensor


# for people


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read of a tensor to show it."""

    facts: dict[str, Any]
    values: list[str]
    """Lines of text."""
    statistics: Statistics | None
    of: str


def _look(thing: Any, progress: Progress) -> _Seen | None:
    """Read what is shown; None for what is no tensor. Nothing is written yet: there may be a bar."""
    from ptfile.cli.screen import Screen

    if not isinstance(thing, Attributed):
        return None
    width = Screen().width
    facts = _facts(thing)
    bins = min(MOST_BINS, width - _LABEL - 4, max(2 * math.isqrt(facts["elements"] or 0), 6))
    found, of = _statistics(thing, bins, progress)
    numbers, _ = _numbers_of(thing)
    values = []
    if numbers is not None and numbers.device != "meta":
        shown = numbers.dequantize() if isinstance(numbers, QuantizedTensor) else numbers
        values = values_text(shown, line_width=width - 1, threshold=MOST_SHOWN).split("\n")
    return _Seen(facts, values, found, of)


def _write(title: str, thing: Any, seen: _Seen | None) -> None:
    from ptfile.cli.screen import Screen

    screen = Screen()
    if seen is not None:
        _write_tensor(screen, title, thing, seen)
        return
    screen.heading(title, type(thing).__name__)
    screen.line()
    for line in _value_lines(thing):
        screen.folded(printable(line))


def _value_lines(thing: Any) -> list[str]:
    if isinstance(thing, str):
        return [thing] if thing.isprintable() else [repr(thing)]
    if isinstance(thing, np.ndarray):
        return repr(thing).split("\n")
    short = text.value(thing)
    return [_REPR.repr(thing)] if short.endswith("…") or "..." in short else [short]


def _write_tensor(screen: Screen, title: str, tensor: Any, seen: _Seen) -> None:
    facts = seen.facts
    shape = "" if facts["shape"] is None else f" {facts['shape']}"
    size = "" if facts["bytes"] is None else f", {text.size(facts['bytes'])}"
    screen.heading(title, f"{facts['dtype']}{shape}{size}")
    screen.line()
    for label, said in _rows(tensor, facts):
        screen.line((f"{label:{_LABEL}}", "dim"), screen.cut(printable(said), screen.width - _LABEL))
    if seen.values:
        screen.line()
    for line in seen.values:
        screen.line(line)
    if seen.statistics is not None and seen.statistics.count:
        _write_statistics(screen, seen.statistics, seen.of)


def _rows(tensor: Any, facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if facts["layout"] != "strided":
        rows.append(("Layout", facts["layout"]))
    if facts["parts"]:
        rows.append(("Parts", ", ".join(facts["parts"])))
    if facts["stride"] is not None:
        rows.append(("Stride", f"{facts['stride']} from element {facts['offset']:,} of its storage"))
    grad = ", requires grad" if facts["requires_grad"] else ""
    rows.append(("Device", facts["device"] + grad))
    if isinstance(tensor, QuantizedTensor):
        quantizer = tensor.quantizer
        if isinstance(quantizer, PerTensor):
            rows.append(("Quantized", f"scale {quantizer.scale:g}, zero point {quantizer.zero_point}"))
        else:
            rows.append(("Quantized", f"by channel, along dimension {quantizer.axis}"))
    if tensor.python_side is not None and tensor.attributes:
        rows.append(("Attributes", ", ".join(map(str, tensor.attributes))))
    return rows


def _write_statistics(screen: Screen, found: Statistics, of: str) -> None:
    screen.line()
    name = {"magnitudes": " of the magnitudes"}.get(of, "")
    if found.min is not None:
        screen.line(("Range     ", "dim"), f"{_number(found.min)} to {_number(found.max)}{name}")
    if found.mean is not None:
        spread = "" if found.std is None else f", standard deviation {_number(found.std)}"
        screen.line(("Mean      ", "dim"), f"{_number(found.mean)}{spread}")
    screen.line(("Zeros     ", "dim"), f"{found.zeros:,} of {found.count:,}{_percent(found.zeros, found.count)}")
    if found.nans or found.infinities:
        said = f"{found.nans:,} NaN, {found.infinities:,} infinite"
        screen.line(("Not finite", "bold red"), (f" {said}", "bold red"))
    if found.count > _FEW and len(found.histogram) > 1:
        screen.line()
        _write_histogram(screen, found)


def _percent(part: int, whole: int) -> str:
    return f" ({part / whole:.1%})" if part else ""


def _write_histogram(screen: Screen, found: Statistics) -> None:
    """Columns over a line with the range, and the count of the highest beside it."""
    repeat = max(min(MOST_BINS, screen.width - _LABEL - 4) // len(found.histogram), 1)  # few have wide columns
    drawn = columns([count for count in found.histogram for _ in range(repeat)], _HEIGHT, has_blocks=screen.has_blocks)
    corner, edge = ("└", "─") if screen.has_blocks else ("+", "-")
    side = "│" if screen.has_blocks else "|"
    top = f"{max(found.histogram):,}"
    for number, line in enumerate(drawn):
        label = top if number == 0 else ""
        screen.line((f"{label:>{_LABEL}} {side}", "dim"), (line, "cyan"))
    width = len(drawn[0])
    screen.line((f"{'0':>{_LABEL}} {corner}{edge * width}", "dim"))
    low, high = _number(found.min), _number(found.max)
    gap = max(width - len(low) - len(high), 1)
    screen.line((f"{'':>{_LABEL}}  {low}{' ' * gap}{high}", "dim"))


def _number(value: Any) -> str:
    """A number in few digits; an integer in all, unless it is very long."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}"


def _longer() -> reprlib.Repr:
    longer = reprlib.Repr()
    longer.maxstring = longer.maxother = longer.maxlong = 2000
    longer.maxlist = longer.maxtuple = longer.maxdeque = longer.maxset = longer.maxfrozenset = 100
    return longer


_REPR = _longer()

"""`ptfile ls`: what is in a checkpoint, by name.

`--json` prints one object. Its keys stay as they are; later versions may add some.

    file, bytes, format         the file: its path, its size, its dialect
    tensors                     list, in the checkpoint's order; a tensor with two names is there twice
        name                    its place in the checkpoint, such as "model.layer.0.weight"
        dtype, shape            "float32", [64, 3, 7, 7]
        stride, offset          where it lies in its storage, in elements
        bytes                   of its elements
        device, requires_grad   "cpu", false
        storage                 index into `storages`
    storages                    list
        bytes, device           its size, "cpu"
        unreached               bytes of it before, between and behind the tensors that look at it
        names                   of all that look at it
    values                      list of what is no tensor
        name, type              "epoch", "int"
        value                   itself, if it is null, a boolean, a finite number or a text; else a short text
    total                       object: tensors, elements, storages, bytes (of storages), unreached
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ptfile._inspect import Summary, ValueInfo, inspect
from ptfile._selection import ROOT
from ptfile.cli import text, to_json
from ptfile.cli.arguments import FILE, encoding_option, json_option, storage_option
from ptfile.cli.printable import printable
from ptfile.cli.progress import progress_bar
from ptfile.stores.urls import StorageOptions

if TYPE_CHECKING:
    from ptfile.cli.table import Table

MOST_VALUES = 30
"""Values that are no tensors which are shown to people."""
_CONTAINERS = (dict, list, tuple, set, frozenset, deque)


@click.command("ls")
@click.argument("file", type=FILE)
@json_option
@encoding_option
@storage_option
def command(file: str, *, as_json: bool, encoding: str, storage_options: StorageOptions) -> None:
    """List the tensors of a checkpoint: names, dtypes, shapes and sizes, and which of them share a storage.

    Reads no tensor's bytes, and runs nothing that the file names.
    """
    with progress_bar(file):
        summary = inspect(file, encoding=encoding, storage_options=storage_options)
    if as_json:
        to_json.write(as_dict(summary))
    else:
        _write(summary)


# for programs


def as_dict(summary: Summary) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {
        "file": summary.file,
        "bytes": summary.nbytes,
        "format": summary.format,
        "tensors": [
            {
                "name": tensor.name,
                "dtype": tensor.dtype,
                "shape": tensor.shape,
                "stride": tensor.stride,
                "offset": tensor.offset,
                "bytes": tensor.nbytes,
                "device": tensor.device,
                "requires_grad": tensor.requires_grad,
                "storage": tensor.storage,
            }
            for tensor in summary.tensors
        ],
        "storages": [
            {
                "bytes": storage.nbytes,
                "device": storage.device,
                "unreached": storage.unreached,
                "names": storage.names,
            }
            for storage in summary.storages
        ],
        "values": [
            {"name": item.name, "type": item.type, "value": to_json.value(item.value)} for item in summary.values
        ],
        "total": {
            "tensors": len(summary.tensors),
            "elements": summary.elements,
            "storages": len(summary.storages),
            "bytes": summary.storage_nbytes,
            "unreached": summary.unreached,
        },
    }


# for people


def _write(summary: Summary) -> None:
    heading = printable(summary.file)
    about = f"{summary.format} format, {text.size(summary.nbytes)}"
    tables = [table for table in (tensor_table(summary), value_table(summary)) if table.rows]
    notes = list(_notes(summary))
    if sys.stdout.isatty():
        _write_rich(heading, about, tables, notes)
    else:
        _write_plain(heading, about, tables, notes)


def _write_plain(heading: str, about: str, tables: list[Table], notes: list[str]) -> None:
    from ptfile.cli.table import write_plain

    out = sys.stdout
    out.write(f"{heading}: {about}\n\n")
    for table in tables:
        write_plain(table, out)
        out.write("\n")
    out.writelines(f"{note}\n" for note in notes)


def _write_rich(heading: str, about: str, tables: list[Table], notes: list[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    from ptfile.cli.table import write_rich

    console = Console(highlight=False)
    console.print(Text.assemble((heading, "bold"), f"  {about}\n"))
    for table in tables:
        write_rich(table, console)
        console.print()
    for place, note in enumerate(notes):
        console.print(Text(note, "bold" if place == 0 else "dim"))


def tensor_table(summary: Summary) -> Table:
    """A row for each tensor. Columns that would say the same of all are left out."""
    from ptfile.cli.table import Column, Table

    marks = _marks(summary)
    waste = _waste(summary)
    elsewhere = any(tensor.device != "cpu" for tensor in summary.tensors)
    columns = [
        Column("Name", "cyan"),
        Column("Dtype", "green"),
        Column("Shape"),
        Column("Size", right=True),
        *([Column("Device", "magenta")] if elsewhere else []),
        *([Column("Shared", "yellow")] if marks else []),
        *([Column("Waste", "red", right=True)] if waste else []),
    ]
    rows = [
        (
            tensor.name or ROOT,
            tensor.dtype,
            text.shape(tensor.shape),
            text.size(tensor.nbytes),
            *([printable(tensor.device)] if elsewhere else []),
            *([marks.get(tensor.storage, "")] if marks else []),
            *([waste.get(place, "")] if waste else []),
        )
        for place, tensor in enumerate(summary.tensors)
    ]
    return Table(tuple(columns), rows)


def _marks(summary: Summary) -> dict[int, str]:
    """`#1`, `#2`: a mark for each storage that several names share."""
    shared = [number for number, storage in enumerate(summary.storages) if storage.is_shared]
    return {number: f"#{place}" for place, number in enumerate(shared, 1)}


def _waste(summary: Summary) -> dict[int, str]:
    """The bytes that no tensor reaches, of each storage that has any, by the place of its first tensor."""
    first: dict[int, int] = {}
    for place, tensor in enumerate(summary.tensors):
        first.setdefault(tensor.storage, place)
    unreached = {place: summary.storages[number].unreached for number, place in first.items()}
    return {place: text.size(nbytes) for place, nbytes in unreached.items() if nbytes}


def value_table(summary: Summary) -> Table:
    """A row for each of the first values that are no tensors."""
    from ptfile.cli.table import Column, Table

    rows = [(item.name or ROOT, text.value(item.value)) for item in _telling(summary)[:MOST_VALUES]]
    return Table((Column("Value", "cyan"), Column("")), rows, header=False)


def _telling(summary: Summary) -> list[ValueInfo]:
    """The values without empty containers: a saved module has a dozen of them for every layer, for hooks."""
    return [item for item in summary.values if not isinstance(item.value, _CONTAINERS) or item.value]


def _notes(summary: Summary) -> Iterator[str]:
    total = (text.count(len(summary.tensors), "tensor"), text.count(summary.elements, "element"))
    where = f"{text.size(summary.storage_nbytes)} in {text.count(len(summary.storages), 'storage')}"
    waste = f", {text.size(summary.unreached)} of them waste" if summary.unreached else ""
    yield f"{', '.join(total)}, {where}{waste}"
    if any(storage.is_shared for storage in summary.storages):
        yield "Tensors with the same # share a storage: writing to one changes the other where they overlap."
    if summary.unreached:
        yield "Waste is in the file though no tensor reaches it. Saved with storages='reachable' it is left out."
    hidden = len(_telling(summary)) - MOST_VALUES
    if hidden > 0:
        yield f"{text.count(hidden, 'more value')}: --json lists all."

"""`ptfile info`: what a checkpoint is made of.

`--json` prints one object. Its keys stay as they are; later versions may add some.

    file, bytes, format         the file: its path, its size, its dialect
    writer                      which versions of PyTorch write such files, in words
    protocol                    of its first pickle; null if it says none
    pickle_bytes                of all pickles that a load runs
    facts                       object: the small records that say how a zip file was written, as texts
    total                       object: tensors, elements, storages, bytes (of storages), values
    waste                       object: what is in the file and no tensor reaches
        bytes, unreached        all of it; of storages that tensors look at
        unused                  object: records that nothing names, and their bytes
    dtypes, prefixes, devices   lists of the tensors' shares, largest first
        name                    "float32", "model.layers", "cpu"
        tensors, elements, bytes
    shared                      list of lists: the names that look at one storage
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ptfile._info import Info, Share, info
from ptfile._selection import ROOT
from ptfile.cli import text, to_json
from ptfile.cli.arguments import FILE, encoding_option, json_option, storage_option
from ptfile.cli.charts import bar
from ptfile.cli.printable import printable
from ptfile.cli.progress import progress_bar
from ptfile.stores.urls import StorageOptions

if TYPE_CHECKING:
    from ptfile.cli.screen import Screen

MOST_SHARED = 8
"""Storages with several names that people are shown."""
_SHOWN_FACTS = ("version", ".format_version", ".storage_alignment", "byteorder", "archive_version")
_LABEL = 10
_LONGEST_BAR = 40
_SHORTEST_BAR = 10
_GAP = "  "


@click.command("info")
@click.argument("file", type=FILE)
@json_option
@encoding_option
@storage_option
def command(file: str, *, as_json: bool, encoding: str, storage_options: StorageOptions) -> None:
    """Say what a checkpoint is made of: its writer, sizes by dtype and by name, waste, devices, sharing.

    Reads no tensor's bytes, and runs nothing that the file names.
    """
    with progress_bar(file):
        found = info(file, encoding=encoding, storage_options=storage_options)
    if as_json:
        to_json.write(as_dict(found))
    else:
        _write(found)


def as_dict(found: Info) -> dict[str, Any]:
    """The object that `--json` prints."""
    summary = found.summary
    return {
        "file": summary.file,
        "bytes": summary.nbytes,
        "format": summary.format,
        "writer": found.writer,
        "protocol": found.protocol,
        "pickle_bytes": found.pickle_nbytes,
        "facts": dict(found.facts),
        "total": {
            "tensors": len(summary.tensors),
            "elements": summary.elements,
            "storages": len(summary.storages),
            "bytes": summary.storage_nbytes,
            "values": len(summary.values),
        },
        "waste": {"bytes": found.waste, "unreached": summary.unreached, "unused": dict(found.unused)},
        "dtypes": [_share(share) for share in found.by_dtype()],
        "prefixes": [_share(share) for share in found.by_prefix()],
        "devices": [_share(share) for share in found.by_device()],
        "shared": [list(names) for names in _shared(found)],
    }


def _share(share: Share) -> dict[str, Any]:
    return {"name": share.name, "tensors": share.tensors, "elements": share.elements, "bytes": share.nbytes}


def _shared(found: Info) -> list[tuple[str, ...]]:
    return [storage.names for storage in found.summary.storages if storage.is_shared]


# for people


def _write(found: Info) -> None:
    from ptfile.cli.screen import Screen

    screen = Screen()
    summary = found.summary
    screen.heading(summary.file, f"{summary.format} format, {text.size(summary.nbytes)}")
    screen.line()
    for label, said in _facts(found):
        screen.line((f"{label:{_LABEL}}", "dim"), screen.cut(said, screen.width - _LABEL))
    if summary.tensors:
        _write_charts(
            screen, _Chart("By dtype", found.by_dtype(), "green"), _Chart("By name", _sized(found.by_prefix()), "cyan")
        )
    _write_shared(screen, _shared(found))
    if found.waste:
        screen.line()
        screen.line("Waste is in the file though no tensor reaches it.")
        screen.line("Saved again with storages='reachable' the file has none.")


def _facts(found: Info) -> Iterator[tuple[str, str]]:
    """Rows of a label and what is to be said."""
    summary = found.summary
    protocol = "0 or 1" if found.protocol is None else found.protocol
    records = ", ".join(f"{name} {value}" for name, value in found.facts.items() if name in _SHOWN_FACTS)
    yield "Writer", f"{found.writer}, or a program that writes as it does"
    if found.pickle_nbytes:
        yield "Pickle", f"protocol {protocol}, {text.size(found.pickle_nbytes)}"
    yield "Tensors", f"{text.count(len(summary.tensors), 'tensor')}, {text.count(summary.elements, 'element')}"
    yield "Storages", f"{text.size(summary.storage_nbytes)} in {text.count(len(summary.storages), 'storage')}"
    devices = found.by_device()
    if [share.name for share in devices] not in ([], ["cpu"]):
        yield "Devices", ", ".join(f"{printable(share.name)} ({text.size(share.nbytes)})" for share in devices)
    if records:
        yield "Records", printable(records)
    if summary.values:
        yield "Values", f"{text.count(len(summary.values), 'value')} beside the tensors"
    if found.waste:
        share = f"{text.size(found.waste)}, {found.waste / summary.nbytes:.0%} of the file"
        unused = f", {text.count(len(found.unused), 'record')} that nothing names" if found.unused else ""
        yield "Waste", share + unused


def _sized(shares: Sequence[Share]) -> list[Share]:
    """Those that add anything: not tensors whose bytes are another's as well."""
    return [share for share in shares if share.nbytes]


@dataclass(frozen=True, slots=True)
class _Chart:
    """Shares, a row for each: its name, what it comes to, and a bar."""

    title: str
    shares: Sequence[Share]
    style: str

    def labels(self) -> list[str]:
        return [self.title, *(printable(share.name) or ROOT for share in self.shares)]

    def parts(self) -> list[float]:
        """Of the whole, from 0 to 1."""
        total = sum(share.nbytes for share in self.shares) or 1
        return [share.nbytes / total for share in self.shares]

    def numbers(self) -> list[tuple[str, ...]]:
        """The cells between the name and the bar, with their heads first."""
        rows = [
            (f"{one.tensors:,}", f"{one.elements:,}", text.size(one.nbytes), f"{part:.0%}")
            for one, part in zip(self.shares, self.parts(), strict=True)
        ]
        return [("Tensors", "Elements", "Size", ""), *rows]


def _write_charts(screen: Screen, *charts: _Chart) -> None:
    """Charts in the same columns."""
    from ptfile.cli.screen import left, widest

    cells = [row for chart in charts for row in chart.numbers()]
    widths = [widest(column) for column in zip(*cells, strict=True)]
    beside = sum(widths) + len(_GAP) * (len(widths) + 1)
    labels = [label for chart in charts for label in chart.labels()]
    name_width = widest(labels, max(screen.width - beside - _SHORTEST_BAR, _LABEL) if screen.is_terminal else None)
    bar_width = min(max(screen.width - beside - name_width, _SHORTEST_BAR), _LONGEST_BAR)
    largest = max((part for chart in charts for part in chart.parts()), default=0.0) or 1.0
    for chart in charts:
        screen.line()
        rows = zip(chart.labels(), chart.numbers(), [0.0, *chart.parts()], strict=True)
        for number, (label, row, part) in enumerate(rows):
            name = left(screen.cut(label, name_width), name_width)
            said = _GAP.join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            if number == 0:
                screen.line((f"{name}{_GAP}{said}", "bold"))
            else:
                drawn = bar(part / largest, bar_width, has_blocks=screen.has_blocks)
                screen.line((name, chart.style), f"{_GAP}{said}{_GAP}", (drawn, chart.style))


def _write_shared(screen: Screen, groups: Sequence[Sequence[str]]) -> None:
    if not groups:
        return
    screen.line()
    screen.line(("Shared storages", "bold"))
    for names in groups[:MOST_SHARED]:
        shown = " = ".join(printable(name) or ROOT for name in names[:4])
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        screen.line((screen.cut(shown, screen.width - len(more)), "cyan"), more)
    if len(groups) > MOST_SHARED:
        screen.line((f"and {len(groups) - MOST_SHARED} more: --json lists all", "dim"))

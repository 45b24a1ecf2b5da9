"""The tables of docs/reliability.md, which are made by its tests.

    python -m tests.reliability.page

writes them anew, in Linux and with PyTorch installed; a test fails while they are out of date.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.reliability.cuts import PLACES, TENSORS, Cut, cuts
from tests.reliability.faults import Fault, faults
from tests.reliability.flips import Counts, Flipper, Outcome, small_files
from tests.reliability.kills import ends
from tests.reliability.save_page import byte_table, fault_table, kill_table
from tests.reliability.saves import kinds
from tests.reliability.table import table

KNOWN = "missing at its end"
"""What `load` says of a cut file when it knows how large it was."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- {}: made by `python -m tests.reliability.page` -->", "<!-- end of {} -->"
_ROWS: Mapping[str, tuple[str, ...]] = {
    "the pickle, `data.pkl`": ("data.pkl",),
    "bytes of tensors": ("storages",),
    "`byteorder` and `version`": ("byteorder", "version"),
    "records that no load reads": ("records that load never reads",),
    "checksums": ("header: crc", "descriptor: crc", "directory: crc"),
    "names": ("header: name", "directory: name"),
    "sizes, offsets, lengths, counts": tuple(
        f"{place}: {field}"
        for place in ("header", "descriptor", "directory", "end")
        for field in ("size", "offset", "length", "lengths", "count")
    ),
    "signatures": tuple(f"{place}: signature" for place in ("header", "descriptor", "directory", "end")),
    "methods, flags, disks": tuple(
        f"{place}: {field}" for place in ("header", "directory", "end") for field in ("method", "flags", "disk")
    ),
    "padding, versions, times, attributes": tuple(
        f"{place}: {field}"
        for place in ("header", "directory", "end")
        for field in ("padding", "version", "time", "date", "attributes")
    ),
}
"""Headings, and the parts of a file below them."""


def flip_counts(folder: Path) -> dict[str, Counts]:
    """The outcomes for each of the small files, by what is in it."""
    found = {}
    for name, data in small_files().items():
        flipper = Flipper(data, folder / "flipped.pt")
        found[name] = flipper.count()
        flipper.close()
    return found


def flip_table(counts: Mapping[str, Counts]) -> Iterator[str]:
    """What was flipped, down; what `load` and `verify` made of it, across."""
    files = small_files()
    bits = sum(8 * len(data) for data in files.values())
    sizes = " and ".join(f"one of {len(data):,} bytes ({name})" for name, data in files.items())
    yield f"{len(files)} files, {sizes}: {bits:,} bits in all, each flipped alone."
    yield ""
    rows = [
        (heading, *_totals(counts, parts))
        for heading, parts in _ROWS.items()
    ]  # fmt: skip
    every = ("all", *_totals(counts, tuple(part for parts in _ROWS.values() for part in parts)))
    head = ("flipped", "bits", "`load`: error", "the same value", "another value", "`verify` finds it", "does not")
    yield from table(head, [*rows, every])
    lazy = Counter[tuple[str, Outcome]]()
    for way in ("open", "mmap"):
        for outcome, number in _of(counts, ("storages",), way).items():
            lazy[way, outcome] += number
    yield ""
    yield "And with the bits of tensors' bytes, by the two ways to leave them for later:"
    yield ""
    columns: tuple[Outcome, ...] = ("error", "same", "different")
    yield from table(
        ("", "error", "the same value", "another value"),
        [
            (f"`{call}`", *(f"{lazy[way, outcome]:,}" for outcome in columns))
            for way, call in (("open", "ptfile.open"), ("mmap", "ptfile.load(…, mmap=True)"))
        ],
    )


def _totals(counts: Mapping[str, Counts], parts: Sequence[str]) -> tuple[str, ...]:
    load, verify = _of(counts, parts, "load"), _of(counts, parts, "verify")
    numbers = (
        sum(load.values()), load["error"], load["same"], load["different"], verify["found"], verify["missed"]
    )  # fmt: skip
    return tuple(f"{number:,}" for number in numbers)


def _of(counts: Mapping[str, Counts], parts: Sequence[str], way: str) -> Counter[Outcome]:
    total: Counter[Outcome] = Counter()
    for those in counts.values():
        for part in parts:
            total.update(those.get((part, way), Counter()))
    return total


def cut_table(found: Sequence[Cut]) -> Iterator[str]:
    """How many tensors lie before a cut, and how many came back equal."""
    yield f"A file of {TENSORS} tensors cut off at {PLACES} places, of which every tenth is shown here:"
    yield ""
    shown = [*found[9::10]]
    yield from table(
        ("bytes left", "tensors before the cut", "salvaged, and equal", "`load` knows how much is missing"),
        [
            (f"{cut.length:,}", str(cut.whole), str(cut.salvaged), _yes("missing at its end" in cut.said))
            for cut in shown
        ],
    )
    equal = sum(cut.whole == cut.salvaged for cut in found)
    known = sum(KNOWN in cut.said for cut in found)
    yield ""
    yield (
        f"Of all {PLACES} cuts, all tensors before the cut came back in {equal}, and `load` said how many bytes are\n"
        f"missing in {known}; the others are inside the pickle."
    )


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def section(text: str, name: str) -> str:
    """What the page has between the marks of a section."""
    return text.partition(_BEGIN.format(name))[2].partition(_END.format(name))[0].strip("\n")


def with_section(text: str, name: str, lines: Iterator[str]) -> str:
    """The page with another text between the marks."""
    begin, end = _BEGIN.format(name), _END.format(name)
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{rest.partition(end)[2]}"


def save_faults(folder: Path) -> list[Fault]:
    """Every fault of every kind of `ptfile.save`."""
    return [fault for kind in kinds("ptfile.save") for fault in faults(kind, folder / f"faults in {kind}")]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = DOCUMENT.read_text("utf-8")
        page = with_section(page, "bits", flip_table(flip_counts(folder)))
        page = with_section(page, "cuts", cut_table(list(cuts(folder))))
        page = with_section(page, "faults", fault_table(save_faults(folder)))
        page = with_section(page, "kills", kill_table(ends(folder, "operations")))
        libraries = ends(folder, "ptfile.save", "ptfile.torch.save", "torch.save")
        page = with_section(page, "bytes", byte_table(libraries))
        DOCUMENT.write_text(page, "utf-8")

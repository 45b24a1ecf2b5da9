"""docs/compatibility.md: every case of the golden corpus against every version of PyTorch, and how it loads.

    python -m tests.golden.compatibility

writes it anew; a test fails while it is out of date.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from tests.golden import exceptions
from tests.golden.corpus import Corpus, CorpusFile, files, versions
from tests.golden.outcome import Outcome, Verdict, judge, natural_encoding

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
_MARKS = {"equal": "=", "as in PyTorch": "~", "wrong": "!"}
_SECTIONS = {
    "Zip format": ("zip",),
    "Legacy format": ("legacy",),
    "TorchScript, torch.package and torch.export": ("torchscript", "package", "pt2"),
    "Made by hand: tar format, and the stream before 0.4": ("synthetic",),
}
"""Headings, and the kinds of files below them."""
_TEXT_COLUMNS = ("written by", "why", "case")
_INTRODUCTION = """\
# Compatibility

<!-- Made by `python -m tests.golden.compatibility`; not to be edited. -->

{count} files that PyTorch {oldest} to {newest} wrote, each loaded by `ptfile.load(file, unknown="inert")` and compared
with what was saved: values bit by bit, types, dtypes, shapes, strides, shared storages, identity, attributes. The
files, with a description of what is in each, are in `tests/golden/corpus`; `tests/test_corpus.py` runs the comparison.
Where strings of Python 2 are no text, `encoding="latin1"` was given.

| mark | meaning |
|:---:|---|
| `=` | loads, and equals what was saved |
| `~` | loads as in PyTorch: what is lost is lost in the file, and PyTorch gets the same |
| a number | loads with the difference that the list below explains, or is refused for the reason there |
| `!` | a fault |

A blank says that this PyTorch cannot save the case, or that the corpus does not have it.
"""
_SAVED_AGAIN = """\
`ptfile.save` of what was loaded gives the bytes of the file for the zip files of PyTorch 2.13 and 2.15, the bytes of
the pickle for those of 1.10 to 2.6, and of the pickle but for the keys of storages, which were addresses, for 1.4 and
1.6; except for these:
"""


def document(corpus: Corpus) -> str:
    """The whole page."""
    loadable = [file for file in files() if file.kind not in exceptions.OTHER_FORMATS]
    outcomes = {file: judge(corpus, file, natural_encoding(file)) for file in loadable}
    numbers = {reason: str(number) for number, reason in enumerate(_reasons(outcomes.values()), 1)}
    cases = {file: str(corpus.expectation(file).description["case"]) for file in outcomes}
    numbered = [version for version in versions() if version != "synthetic"]
    ends = (numbered[0].split("-")[1], numbered[-1].split("-")[1])
    parts = [
        _INTRODUCTION.format(count=len(outcomes), oldest=ends[0], newest=ends[1]),
        _section("Totals", _totals(outcomes)),
        _section("Differences", _table(["", "why"], ([number, reason] for reason, number in numbers.items()))),
    ]
    parts.append(_section("Saved again", _other_bytes(cases)))
    for heading, kinds in _SECTIONS.items():
        chosen = {file: _mark(outcome, numbers) for file, outcome in outcomes.items() if file.kind in kinds}
        parts.append(_section(heading, _cases(chosen, cases)))
    return "\n".join(parts)


def _reasons(outcomes: Iterable[Outcome]) -> list[str]:
    """The reasons of the list of exceptions, each once, in order of first use."""
    return list(dict.fromkeys(outcome.reason for outcome in outcomes if outcome.verdict in ("excused", "refused")))


def _mark(outcome: Outcome, numbers: Mapping[str, str]) -> str:
    return _MARKS.get(outcome.verdict) or numbers[outcome.reason]


def _section(heading: str, lines: Iterator[str]) -> str:
    return "\n".join([f"## {heading}", "", *lines, ""])


def _totals(outcomes: Mapping[CorpusFile, Outcome]) -> Iterator[str]:
    """How many files of each version load, and how."""
    verdicts = get_args(Verdict)
    counts: Counter[tuple[str, str]] = Counter((file.version, outcome.verdict) for file, outcome in outcomes.items())
    rows = []
    for version in versions():
        row = [counts[version, verdict] for verdict in verdicts]
        rows.append([_title(version), *map(str, [sum(row), *row])])
    every = [sum(counts[version, verdict] for version in versions()) for verdict in verdicts]
    rows.append(["all", *map(str, [sum(every), *every])])
    return _table(["written by", "files", "equal", "as in PyTorch", "with a difference", "refused", "fault"], rows)


def _other_bytes(cases: Mapping[CorpusFile, str]) -> Iterator[str]:
    """What is not saved to its own bytes, and why, on whatever Python and numpy."""
    found: dict[str, set[str]] = {}
    for pattern, entry in exceptions.OTHER_BYTES.items():
        found.setdefault(entry.reason, set()).update(cases[file] for file in cases if _is_saved(file, pattern))
    yield _SAVED_AGAIN
    yield from _table(["case", "why"], ([", ".join(sorted(names)), reason] for reason, names in found.items()))


def _is_saved(file: CorpusFile, pattern: str) -> bool:
    return file.kind == "zip" and re.fullmatch(pattern, str(file)) is not None


def _cases(marks: Mapping[CorpusFile, str], cases: Mapping[CorpusFile, str]) -> Iterator[str]:
    """Cases down, versions across."""
    columns = [version for version in versions() if any(file.version == version for file in marks)]
    # Two files of a case in one version are told apart by their names.
    cells: dict[str, dict[str, str]] = {}
    for file, mark in marks.items():
        row = cells.setdefault(cases[file] if file.version != "synthetic" else file.name, {})
        row[file.version] = (row[file.version] + " " + mark) if file.version in row else mark
    rows = ([name, *(row.get(version, "") for version in columns)] for name, row in sorted(cells.items()))
    return _table(["case", *map(_title, columns)], rows)


def _title(version: str) -> str:
    """`2.13.0 (py3.11)`"""
    _, _, rest = version.partition("-")
    number, _, python = rest.partition("-")
    return f"{number} ({python})" if number else version


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    # Marks and counts are short and stand in the middle; text begins on the left.
    sides = ["---" if name in _TEXT_COLUMNS else ":---:" for name in head]
    for row in (head, sides, *rows):
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        DOCUMENT.write_text(document(Corpus(Path(folder))), "utf-8")

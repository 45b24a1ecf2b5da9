"""What ptfile and PyTorch make of hostile and random files is the same, or `fuzz/differences.py` says why not."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from random import Random

from fuzz.differences import NO_ANSWER, ROWS, Case, row_of

from fuzz import differential

MADE = 1_500
"""Files made at random, the same each time; `make fuzz TARGET=differential` makes more, and looks at the corpus."""


def test_every_difference_on_hostile_and_random_files_has_a_reason() -> None:
    """Values are equal where both load, but for the rows of the table."""
    made = itertools.islice(differential.made_inputs(Random(0)), MADE)
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    found = list(differential.unexplained(itertools.chain(differential.hostile_inputs(), made), counts, totals))
    assert list(map(str, found)) == []
    assert totals["both load"] > 100
    assert totals["both refuse"] > 800


def test_a_difference_without_a_reason_is_seen() -> None:
    """Values, an error that no row is about, and a file on which ptfile ends the process."""
    assert row_of(Case("made", b"", "", "", "", "", ("value: ptfile 1, PyTorch 2",))) is None
    assert row_of(Case("made", b"", "FormatError", "it is Tuesday", "", "", ())) is None
    assert row_of(Case("made", b"", "", "", "RuntimeError", "it is Tuesday", ())) is None
    ended = Case("made", b"", NO_ANSWER, "", NO_ANSWER, "", ())
    assert ended.differs
    assert row_of(ended) is None


def test_the_page_is_made_from_the_table() -> None:
    """`make fuzz TARGET=differential WRITE=1` writes it."""
    counted = json.loads(differential.COUNTS.read_text())
    assert set(counted["rows"]) <= {row.name for row in ROWS}
    page = differential.document(counted["rows"], Counter(counted["totals"]))
    assert differential.DOCUMENT.read_text("utf-8") == page

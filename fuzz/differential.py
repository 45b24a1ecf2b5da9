"""Where ptfile and PyTorch (`weights_only=True`) differ about a file: counted, and explained by `fuzz/differences.py`.

    python -m fuzz.differential [--seconds N] [--write]

`--write` writes `docs/differential.md` from the table and the counts of this run. The exit code is 1 if a difference
has no explanation; such files are kept in `.fuzz/finds/differential`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import queue
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.hostile.pickle_assembler import checkpoint

from fuzz import containers, load, pickles, seeds, targets
from fuzz.differences import NO_ANSWER, ROWS, Case, row_of
from fuzz.hostile import bodies
from fuzz.values import SIZES

DOCUMENT = Path(__file__).parent.parent / "docs" / "differential.md"
COUNTS = Path(__file__).parent / "differential.json"
WORK = Path(".fuzz")
GENERATED = 20_000
"""Inputs that are made, if no time is given."""
PATIENCE = 5.0
"""Seconds that PyTorch has for one file."""
_PATIENCE_FOR_OURS = 60.0
"""Seconds that ptfile has: it never takes as long, but the machine may be busy."""
_START = 120.0
"""Seconds that it has to import PyTorch."""
_STORAGES = tuple(bytes(range(size)) for size in SIZES)


class Beside:
    """The process that has PyTorch; a new one after it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None

    def case(self, source: str, data: bytes) -> Case:
        """What both make of a file."""
        process = self._process or self._start()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: then there is no answer either
            process.stdin.write(struct.pack("<Q", len(data)) + data)
            process.stdin.flush()
        ours = self._answer(_PATIENCE_FOR_OURS)
        theirs = self._answer(PATIENCE)
        if NO_ANSWER in (ours["error"], theirs["error"]):
            self.close()
        return Case(
            source, data, ours["error"], ours["text"], theirs["error"], theirs["text"], tuple(theirs.get("found", ()))
        )

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "fuzz.beside_torch"]
        process = self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lines = queue.SimpleQueue()
        self._reader = threading.Thread(target=_read_lines, args=(process.stdout, self._lines), daemon=True)
        self._reader.start()
        self._answer(_START)
        return process

    def _answer(self, patience: float) -> dict[str, Any]:
        """What is in the next line."""
        try:
            line = self._lines.get(timeout=patience)
        except queue.Empty:
            line = b""
        answer: dict[str, Any] = json.loads(line) if line else {"error": NO_ANSWER, "text": ""}
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._reader is not None:
                self._reader.join()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()
            self._process = None


def _read_lines(stream: Any, lines: queue.SimpleQueue[bytes]) -> None:
    """All lines of a pipe, which no wait with an end can be put on everywhere; and an empty one behind them."""
    for line in stream:
        lines.put(line)
    lines.put(b"")


def corpus_inputs() -> Iterator[tuple[str, bytes]]:
    """The golden files, and the committed inputs of the fuzzer."""
    for name, data in seeds.files(1 << 20):
        if not name.endswith(".gz") and ".dcp" not in name:
            yield "golden", data
    for path in targets.inputs("load"):
        yield "corpus", path.read_bytes()


def hostile_inputs() -> Iterator[tuple[str, bytes]]:
    """The bodies that mean harm."""
    for body in bodies().values():
        yield "hostile", checkpoint(body, *_STORAGES)


def made_inputs(rng: Random) -> Iterator[tuple[str, bytes]]:
    """Without end: generated pickles in sound files, golden files with a changed pickle, and files that lie."""
    golden = [data for _, data in seeds.files(4_096)]
    pool = [checkpoint(pickles.generated(rng)[:-1].removeprefix(b"\x80\x02"), *_STORAGES) for _ in range(50)]
    while True:
        data = checkpoint(b"", *_STORAGES)
        records = dict(containers.records_of(data))
        yield "generated", containers.zip_of([*(records | {"a/data.pkl": pickles.generated(rng)}).items()])
        mutated = load.mutate(rng, rng.choice(golden), rng.choice(pool))
        pool[rng.randrange(len(pool))] = mutated
        yield "mutated", mutated
        yield "mutated", load.mutate(rng, rng.choice(pool), rng.choice(golden))


def unexplained(inputs: Iterable[tuple[str, bytes]], counts: Counter[str], totals: Counter[str]) -> Iterator[Case]:
    """The cases that no row explains; the others are counted by the names of rows, all of them by their source."""
    beside = Beside()
    try:
        for source, data in inputs:
            case = beside.case(source, data)
            totals[source] += 1
            if not case.differs:
                totals["both refuse" if case.ours else "not compared" if case.theirs_text else "both load"] += 1
                continue
            totals["differ"] += 1
            row = row_of(case)
            if row is None:
                yield case
            else:
                counts[row.name] += 1
    finally:
        beside.close()


def document(counts: dict[str, int], totals: dict[str, int]) -> str:
    """The page, from the table and what was counted."""
    lines = [
        "# Where ptfile and PyTorch differ",
        "",
        "<!-- Made by `make fuzz TARGET=differential WRITE=1`; not to be edited. -->",
        "",
        "`ptfile.load` and `torch.load(weights_only=True)` of PyTorch 2.13, side by side on the same files: "
        f"{totals['golden']:,} of the golden corpus, {totals['hostile'] + totals['corpus']:,} written by hand to do "
        f"harm or found by fuzzing, and {totals['generated'] + totals['mutated']:,} made at random from a fixed seed: "
        f"pickles and containers, changed by their structure. Both refuse {totals['both refuse']:,}. Both load "
        f"{totals['both load'] + totals['not compared']:,}, with equal values, {totals['not compared']:,} of which are "
        f"of dtypes that PyTorch cannot compare. On {totals['differ']:,} they differ, for the reasons below. "
        "`tests/parity/test_differential.py` fails on a difference that no row explains.",
        "",
        "The first row that fits a file counts it; a dash is for what only longer runs come upon. The counts tell what "
        "the generators like to make, not what files there are.",
    ]
    for way, title in WAYS.items():
        lines += ["", f"## {title}", "", "| what is in the file | why | files |", "| --- | --- | ---: |"]
        rows = ((row, counts.get(row.name, 0)) for row in ROWS if row.way == way)
        lines += [f"| {row.name} | {row.reason} | {f'{count:,}' if count else '-'} |" for row, count in rows]
    return "\n".join(lines) + "\n"


WAYS = {
    "ptfile refuses": "ptfile refuses, PyTorch loads",
    "ptfile loads": "ptfile loads, PyTorch refuses",
    "values": "Both load, with other values",
}


def main() -> int:
    """Run, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.differential", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, help="how long to go on making inputs, from a new seed")
    parser.add_argument("--write", action="store_true", help="write docs/differential.md")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    finds = 0
    for case in unexplained(_inputs(options.seconds), counts, totals):
        finds += 1
        _keep(case)
    if options.write:
        COUNTS.write_text(
            json.dumps({"rows": dict(sorted(counts.items())), "totals": dict(sorted(totals.items()))}, indent=1)
        )
        DOCUMENT.write_text(document(counts, totals), "utf-8")
    for name, count in counts.most_common():
        print(f"{count:8,}  {name}")
    print(dict(totals), f"{finds} without an explanation")
    return 1 if finds else 0


def _inputs(seconds: float | None) -> Iterator[tuple[str, bytes]]:
    yield from corpus_inputs()
    yield from hostile_inputs()
    end = None if seconds is None else time.monotonic() + seconds
    for number, made in enumerate(made_inputs(Random(0) if end is None else Random())):
        if number >= GENERATED if end is None else time.monotonic() > end:
            return
        yield made


def _keep(case: Case) -> None:
    folder = WORK / "finds" / "differential"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(case.data).hexdigest()[:16]
    path.write_bytes(case.data)
    path.with_name(path.name + ".txt").write_text(str(case))
    print(case)


if __name__ == "__main__":
    sys.exit(main())

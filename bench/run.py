"""ptfile beside torch. `make bench`, or `python bench/run.py [--quick] [--only NAME] [--rounds N] [--json OUT]`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from harness import Context, Work, measure
from report import (
    HEADS,
    HEADS_BESIDE,
    NOTES,
    Row,
    aligned,
    describe,
    load_average,
    machine,
    main_rows,
    rows_beside,
    warn,
)
from targets import outcomes
from works import NAMES, load_work

_IN_MEMORY = Path("/dev/shm")


def folder_for(scratch: int, *, on_disk: bool = False) -> Path:
    """A folder in memory if there is one with so much room, else the one for temporary files."""
    if (
        not on_disk
        and _IN_MEMORY.is_dir()
        and os.access(_IN_MEMORY, os.W_OK)
        and shutil.disk_usage(_IN_MEMORY).free > scratch
    ):
        return _IN_MEMORY
    return Path(tempfile.gettempdir())


def run_work(work: Work, *, quick: bool, rounds: int | None) -> list[Row]:
    rounds = rounds or (work.quick_rounds if quick else work.rounds)
    title = work.quick_title if quick else work.title
    rows = []
    with tempfile.TemporaryDirectory(
        prefix="ptfile-bench-", dir=folder_for(work.scratch, on_disk=work.on_disk)
    ) as folder:
        context = Context(Path(folder), quick)
        for operation in work.operations:
            started = time.perf_counter()
            results = measure(work, operation, context, rounds)
            rows.append(Row(work.name, title, operation.name, results, load_average()))
            warn(f"{title}: {operation.name}: {rounds} rounds in {time.perf_counter() - started:.0f} s")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure ptfile beside torch.")
    parser.add_argument("--quick", action="store_true", help="less of everything, in under a minute")
    parser.add_argument("--only", metavar="NAME", action="append", choices=NAMES, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rounds", metavar="N", type=int, help="turns for each contestant; at least 1")
    parser.add_argument("--json", metavar="OUT", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    facts = machine()
    busy = [load_average()]
    rows = [
        row
        for work in map(load_work, options.only or NAMES)
        if work.in_quick or options.only or not options.quick
        for row in run_work(work, quick=options.quick, rounds=options.rounds)
    ]
    busy.append(load_average())
    where = "in memory (/dev/shm)" if folder_for(0) == _IN_MEMORY else "in the folder for temporary files"
    print(describe(facts))
    print(f"Files are {where}. Load average before and after: {busy[0]}, {busy[1]}.\n")
    print(aligned(HEADS, main_rows(rows)), "\n")
    if beside := rows_beside(rows):
        print(aligned(HEADS_BESIDE, beside), "\n")
    print("\n".join(NOTES), "\n")
    for outcome in outcomes(rows):
        what = f"{outcome.title}, {outcome.who}: {outcome.target}"
        print(f"{'reached ' if outcome.reached else 'MISSED  '} {outcome.measured:>10}  {what}")
    if options.json:
        result = {"machine": facts, "load_average": busy, "files": where, "quick": options.quick}
        text = json.dumps({**result, "results": [row.as_json() for row in rows]}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

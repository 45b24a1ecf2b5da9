"""A contestant's process: makes the contestant that it is told to, and runs it whenever a line comes in on stdin.

It answers on stdout with one line of JSON: first that it is ready, then what each run took.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import memory
from harness import Contestant, Context
from works import load_work


def run_once(contestant: Contestant, *, first: bool) -> dict[str, Any]:
    """Run it once, measured, and check what it did."""
    contestant.before()
    memory.provide(contestant.touches)
    memory.settle()
    before = memory.start()
    started = time.perf_counter()
    result = contestant.run()
    seconds = time.perf_counter() - started
    peak = memory.peak()
    gc.collect()
    memory.settle()
    after = memory.now()
    contestant.check(result)
    elsewhere = contestant.peak() if first else None
    if elsewhere is not None:
        peak, before, after = elsewhere, 0, None
    return {
        "seconds": seconds / contestant.loops,
        "peak": _beyond(peak, before, contestant.payload),
        "kept": _beyond(after, before, contestant.payload),
    }


def _beyond(most: int | None, before: int | None, payload: int) -> int | None:
    return None if most is None or before is None else max(most - before - payload, 0)


def main() -> None:
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.loads(sys.argv[1])
    context = Context(Path(order["folder"]), order["quick"])
    operations = {operation.name: operation for operation in load_work(order["work"]).operations}
    contestant = operations[order["operation"]].contestants[order["contestant"]](context)
    print(json.dumps("ready"), file=answers, flush=True)
    for turn, _ in enumerate(sys.stdin):
        print(json.dumps(run_once(contestant, first=turn == 0)), file=answers, flush=True)


if __name__ == "__main__":
    main()

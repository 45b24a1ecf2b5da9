"""Where a contestant's time goes: `python bench/profile_work.py small_tensors load [--who torch] [--quick]`.

cProfile makes many small calls look dearer than they are; the first line says by how much all of them together.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path

import memory
from harness import Context
from run import folder_for
from works import NAMES, load_work


def main() -> None:
    parser = argparse.ArgumentParser(description="Profile one operation of one work.")
    parser.add_argument("work", choices=NAMES)
    parser.add_argument("operation")
    parser.add_argument("--who", default="ptfile")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sort", default="tottime", help="a sort key of pstats, such as cumtime")
    parser.add_argument("--lines", type=int, default=25)
    options = parser.parse_args()
    work = load_work(options.work)
    with tempfile.TemporaryDirectory(
        prefix="ptfile-bench-", dir=folder_for(work.scratch, on_disk=work.on_disk)
    ) as folder:
        context = Context(Path(folder), options.quick)
        for operation in work.operations:
            contestant = operation.contestants[options.who](context)
            contestant.before()
            if operation.name != options.operation:
                contestant.run()  # later operations may need what earlier ones leave
                continue
            times = []
            for profiler in (None, None, cProfile.Profile()):
                contestant.before()
                memory.settle()
                started = time.perf_counter()
                result = profiler.runcall(contestant.run) if profiler else contestant.run()
                times.append(time.perf_counter() - started)
                contestant.check(result)
                del result
            print(f"first run {times[0]:.3f} s, second {times[1]:.3f} s, profiled {times[2]:.3f} s")
            assert profiler is not None
            pstats.Stats(profiler).sort_stats(options.sort).print_stats(options.lines)


if __name__ == "__main__":
    main()

"""What each hostile file costs: `python -m tests.hostile.report [WAY ...]`, of all ways if none is named."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.hostile.judge import faults
from tests.hostile.runner import run, write_files
from tests.hostile.sections import CASES
from tests.hostile.ways import WAYS, expected

_ROW = "{:8} {:60.60} {:20} {:>8} {:>6}  {}"


def rows(way: str, folder: Path, sizes: dict[str, int]) -> list[tuple[float, int, str]]:
    """Print what came of each case; seconds of the processor and bytes of each, with its name."""
    names = [name for name, case in CASES.items() if expected(case, way) is not None]
    found = []
    for name, report in run(names, way, folder).items():
        found.append((report.get("processor", 0.0), report.get("peak", 0), f"{way} {name}"))
        print(_row(way, name, report, "; ".join(faults(CASES[name], way, report, sizes[name]))[:200]))
    return found


def _row(way: str, name: str, report: dict[str, Any], remark: str) -> str:
    if "died" in report:
        return _ROW.format(way, name, "died", "", "", remark)
    outcome = report.get("error", "loads")
    return _ROW.format(way, name, outcome, f"{report['processor']:.4f}", f"{report['peak'] / (1 << 20):.1f}", remark)


def main(ways: Sequence[str]) -> None:
    """Print the table and its extremes."""
    print(_ROW.format("way", "case", "answer", "seconds", "MiB", ""))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = write_files(folder)
        found = [row for way in ways for row in rows(way, folder, sizes)]
    seconds, _, slowest = max(found)
    peak, largest = max((peak, case) for _, peak, case in found)
    print(f"\n{len(CASES)} cases in {len(ways)} ways:")
    print(f"slowest: {slowest}, {seconds:.3f} s; most memory: {largest}, {peak / (1 << 20):.1f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:] or list(WAYS))

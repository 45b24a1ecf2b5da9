"""What checksums cost, for docs/reliability.md: loading with them and without, and verifying, in memory and on a disk.

    PYTHONPATH=src python bench/checksums.py [--mib 1024] [--rounds 15] [FOLDER ...]

Each folder gets a file of 256 float32 tensors; give one in memory (/dev/shm) and one on a disk. The ways take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import ptfile
from ptfile.containers import pieces, zip_reader

TENSORS = 256


class NoChecksums:
    """In place of `isal_zlib`: says that every checksum is what it should be, since 0 passes."""

    @staticmethod
    def crc32(_data: Any, _crc: int = 0) -> int:
        return 0

    @staticmethod
    def crc32_combine(_first: int, _second: int, _length: int) -> int:
        return 0


def load(path: Path) -> Any:
    return ptfile.load(path)


def load_unchecked(path: Path) -> Any:
    with (
        mock.patch.object(zip_reader, "isal_zlib", NoChecksums),
        mock.patch.object(pieces, "isal_zlib", NoChecksums),
        mock.patch.object(zip_reader, "_check_crc"),
    ):
        return ptfile.load(path)


def verify(path: Path) -> Any:
    assert ptfile.verify(path).ok


def forget(path: Path) -> None:
    """Have the system drop the file from its cache, so that it is read from the disk. In memory nothing happens."""
    if hasattr(os, "posix_fadvise"):
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


@dataclass(frozen=True)
class Run:
    """Seconds that one run took: on the clock, and of the processor."""

    clock: float
    processor: float


def timed(way: Callable[[Path], Any], path: Path) -> Run:
    forget(path)
    clock, processor = time.perf_counter(), time.process_time()
    kept = way(path)
    took = Run(time.perf_counter() - clock, time.process_time() - processor)
    del kept
    return took


def measured(path: Path, rounds: int) -> dict[Callable[[Path], Any], list[Run]]:
    """The ways take turns, each round in the opposite order; the first round warms up and does not count."""
    ways = (load, load_unchecked, verify)
    runs: dict[Callable[[Path], Any], list[Run]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way in ways if number % 2 else reversed(ways):
            took = timed(way, path)
            if number:
                runs[way].append(took)
    return runs


def row(folder: Path, runs: dict[Callable[[Path], Any], list[Run]], kind: str) -> str:
    """Least and median of each way, in ms; and what checksums cost: the median over the rounds, its quartiles."""
    times = {way: [getattr(run, kind) * 1e3 for run in those] for way, those in runs.items()}
    cells = [f"{min(each):.0f}, {statistics.median(each):.0f}" for each in times.values()]
    ratios = [100 * (a / b - 1) for a, b in zip(times[load], times[load_unchecked], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"| {folder} | {kind} | {cells[0]} | {cells[1]} | {middle:+.1f} % ({low:+.1f} to {high:+.1f}) | {cells[2]} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(tempfile.gettempdir())])
    options = parser.parse_args()
    elements = (options.mib << 20) // TENSORS // 4
    random = np.random.default_rng(1)
    tree = {f"t{i}": ptfile.from_numpy(random.random(elements, np.float32)) for i in range(TENSORS)}
    print(f"{options.mib} MiB; ms, least and median of {options.rounds} rounds; the cost is over pairs of a round")
    print("| where | time | load | without checksums | they cost | verify |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for folder in options.folders:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            path = Path(name) / "checksums.pt"
            ptfile.save(tree, path)
            runs = measured(path, options.rounds)
            for kind in ("clock", "processor"):
                print(row(folder, runs, kind))
    print(f"load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "")


if __name__ == "__main__":
    main()

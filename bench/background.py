"""What a save costs the program that asks for it, for docs/saving-in-the-background.md.

    PYTHONPATH=src python bench/background.py [--mib 1024] [--rounds 7] [--fsync] [FOLDER ...]

256 float32 tensors are saved to each folder; give one in memory (/dev/shm) and one on a disk. Each round saves once in
the foreground, and in the background with nothing to do meanwhile, with steps of numpy's and with steps of Python's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import ptfile

TENSORS = 256
MATRIX = np.ones((300, 300), np.float32)


def numpy_step() -> None:
    """As a training loop does: outside of the interpreter for most of the time."""
    MATRIX @ MATRIX


def python_step() -> None:
    """The worst there is: never outside."""
    for _ in range(20_000):
        pass


def steps(step: Callable[[], None], is_over: Callable[[], bool]) -> float:
    """Steps in a second."""
    started, done = time.perf_counter(), 0
    while not is_over():
        step()
        done += 1
    return done / (time.perf_counter() - started)


def foreground(tree: object, path: Path, fsync: bool) -> dict[str, float]:
    started = time.perf_counter()
    ptfile.save(tree, path, fsync=fsync)
    return {"save": time.perf_counter() - started}


def background(tree: object, path: Path, fsync: bool, name: str, step: Callable[[], None] | None) -> dict[str, float]:
    """Seconds: of the call, and until the file is there. With steps, the share of their speed that was left."""
    end = time.perf_counter() + 0.5
    alone = steps(step, lambda: time.perf_counter() > end) if step else 0.0
    started, processor = time.perf_counter(), time.thread_time()
    saving = ptfile.save_async(tree, path, fsync=fsync)
    times = {
        f"{name}: the call": time.perf_counter() - started,
        f"{name}: the call, time of the processor": time.thread_time() - processor,
    }
    if step:
        times[f"{name}: steps go on at"] = steps(step, saving.done) / alone
    saving.result()
    return {**times, f"{name}: until the file is there": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(tempfile.gettempdir())])
    options = parser.parse_args()
    elements = (options.mib << 20) // TENSORS // 4
    random = np.random.default_rng(1)
    tree = {f"t{i}": ptfile.from_numpy(random.random(elements, np.float32)) for i in range(TENSORS)}
    for folder in options.folders:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            path = Path(name) / "model.pt"
            rounds = []
            for _ in range(options.rounds + 1):
                rounds.append(foreground(tree, path, options.fsync))
                for kind, step in {"alone": None, "numpy": numpy_step, "Python": python_step}.items():
                    rounds[-1] |= background(tree, path, options.fsync, kind, step)
        print(f"{options.mib} MiB to {folder}: least, median of {options.rounds} rounds")
        for what in rounds[0]:
            figures = [each[what] for each in rounds[1:]]
            print(f"  {what}: {min(figures):.2f}, {statistics.median(figures):.2f}")
    print(f"load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "")


if __name__ == "__main__":
    main()

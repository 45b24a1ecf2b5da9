"""What converting and editing costs beside a plain copy, for docs/convert-and-edit.md.

    PYTHONPATH=src python bench/convert.py FOLDER [--gib 4] [--rounds 5] [--only WORDS]
    PYTHONPATH=src python bench/convert.py FOLDER --small 100000

FOLDER, on the disk that is of interest, gets a checkpoint of 64 bfloat16 tensors. Each way runs in a process of its
own; the ways take turns with `cp`, and the disk is synced before each. Neither of them waits for the disk at the end.
Printed are medians, of the processors' time too, which other work on the machine changes less, and by how much the peak
of memory grew. With --small it is a checkpoint of so many tensors of 64 bytes, beside loading it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

TENSORS = 64

_WORK = """
import sys, time, numpy, ptfile
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
before, start, used = peak(), time.perf_counter(), time.process_time()
{call}
print(time.perf_counter() - start, time.process_time() - used, peak() - before)
"""
CONVERT = "ptfile.convert(sys.argv[1], sys.argv[2], verify={verify})"
LOAD = "ptfile.load(sys.argv[1])"
EXTRACT = "ptfile.extract(sys.argv[1], 'layer.5.weight', sys.argv[2])"
EDIT = "ptfile.edit(sys.argv[1], sys.argv[2], drop=['layer.0.weight'], verify={verify})"
CAST = "ptfile.edit(sys.argv[1], sys.argv[2], cast='float16', verify={verify})"

WAYS = {
    ".pt to .safetensors": ("x.pt", "y.safetensors", CONVERT.format(verify=False)),
    ".pt to .safetensors, verified": ("x.pt", "y.safetensors", CONVERT.format(verify=True)),
    ".safetensors to .pt": ("x.safetensors", "y.pt", CONVERT.format(verify=False)),
    ".safetensors to .pt, verified": ("x.safetensors", "y.pt", CONVERT.format(verify=True)),
    ".pt to .npz": ("x.pt", "y.npz", CONVERT.format(verify=False)),
    ".pt to .npz, verified": ("x.pt", "y.npz", CONVERT.format(verify=True)),
    "edit: one tensor dropped": ("x.pt", "y.pt", EDIT.format(verify=False)),
    "edit: one tensor dropped, verified": ("x.pt", "y.pt", EDIT.format(verify=True)),
    "edit: cast to float16": ("x.pt", "y.pt", CAST.format(verify=False)),
    "edit: cast to float16, verified": ("x.pt", "y.pt", CAST.format(verify=True)),
}


SMALL = {
    "load": ("x.pt", "y", LOAD),
    **{way: call for way, call in WAYS.items() if "cast" not in way},
    ".npz to .pt": ("x.npz", "y.pt", CONVERT.format(verify=False)),
    ".npz to .pt, verified": ("x.npz", "y.pt", CONVERT.format(verify=True)),
    "extract": ("x.pt", "y.npy", EXTRACT),
}


def make(folder: Path, gib: float) -> None:
    """The checkpoint in both formats; no two tensors are the same."""
    import ptfile

    nbytes = int(gib * (1 << 30)) // TENSORS
    noise = np.random.default_rng(0).integers(0, 1 << 32, nbytes // 4, np.uint32)
    tensors = {}
    for number in range(TENSORS):
        elements = (noise ^ np.uint32(number * 0x9E3779B1 & 0xFFFFFFFF)).view(np.uint16)
        tensors[f"layer.{number}.weight"] = ptfile.from_numpy(elements).view(ptfile.bfloat16)
    ptfile.save(tensors, folder / "x.pt")
    ptfile.convert(folder / "x.pt", folder / "x.safetensors")


def make_small(folder: Path, count: int) -> None:
    """A checkpoint of many tensors, in all formats."""
    import ptfile

    tensors = {f"layer.{number}.weight": ptfile.full((16,), float(number)) for number in range(count)}
    ptfile.save(tensors, folder / "x.pt")
    for name in ("x.safetensors", "x.npz"):
        ptfile.convert(folder / "x.pt", folder / name)


class Cost(NamedTuple):
    """What a run took."""

    seconds: float
    processor: float
    """Seconds that processors worked for it."""
    mebibytes: int
    """By which the peak of memory grew."""


def timed(folder: Path, way: str) -> Cost:
    """Run one way."""
    os.sync()
    if way == "cp":
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(["cp", folder / "x.pt", folder / "y.pt"], check=True)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        (folder / "y.pt").unlink()
        return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 0)
    source, target, call = (WAYS | SMALL)[way]
    command = [sys.executable, "-c", _WORK.format(call=call), folder / source, folder / target]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.split()
    (folder / target).unlink(missing_ok=True)
    return Cost(float(answer[0]), float(answer[1]), int(answer[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="words that the names of the ways have in them")
    parser.add_argument("--small", type=int, default=0, metavar="COUNT", help="many small tensors instead")
    options = parser.parse_args()
    beside = "load" if options.small else "cp"
    ways = [way for way in (SMALL if options.small else WAYS) if options.only in way and way != beside]
    turns: dict[str, list[tuple[Cost, Cost]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.small:
            make_small(folder, options.small)
        else:
            make(folder, options.gib)
        for _ in range(options.rounds):
            for way in ways:
                turns[way].append((timed(folder, beside), timed(folder, way)))
    print_costs(beside, [one for each in turns.values() for one, _ in each], 1.0, 1.0)
    for way, each in turns.items():
        ratio = statistics.median(one.seconds / other.seconds for one, other in each)
        work = statistics.median(one.processor / other.processor for one, other in each)
        print_costs(way, [other for _, other in each], ratio, work)


def print_costs(way: str, costs: list[Cost], ratio: float, work: float) -> None:
    """Medians; ratio, work: how fast it was, and how little it worked, beside the way that it took turns with."""
    seconds, processor = (statistics.median(cost[number] for cost in costs) for number in (0, 1))
    grown = max(cost.mebibytes for cost in costs)
    print(f"{way:34} {seconds:6.2f} s  x{ratio:5.2f}   processors {processor:6.2f} s  x{work:5.2f}   {grown:4} MiB")


if __name__ == "__main__":
    main()

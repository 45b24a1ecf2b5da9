"""What converting and editing costs beside a plain copy, for docs/convert-and-edit.md.

    PYTHONPATH=src python bench/convert.py FOLDER [--gib 4] [--rounds 5]

FOLDER, on the disk that is of interest, gets a checkpoint of 64 bfloat16 tensors. Each way runs in a process of its
own; the ways take turns with `cp`, and the disk is synced before each. Printed are medians, and by how much the peak of
memory grew.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TENSORS = 64

_WORK = """
import sys, time, ptfile
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
before, start = peak(), time.perf_counter()
{call}
print(time.perf_counter() - start, peak() - before)
"""
CONVERT = "ptfile.convert(sys.argv[1], sys.argv[2], verify={verify})"
EDIT = "ptfile.edit(sys.argv[1], sys.argv[2], drop=['layer.0.weight'])"
CAST = "ptfile.edit(sys.argv[1], sys.argv[2], cast='float16')"

WAYS = {
    ".pt to .safetensors": ("x.pt", "y.safetensors", CONVERT.format(verify=False)),
    ".pt to .safetensors, verified": ("x.pt", "y.safetensors", CONVERT.format(verify=True)),
    ".safetensors to .pt": ("x.safetensors", "y.pt", CONVERT.format(verify=False)),
    ".safetensors to .pt, verified": ("x.safetensors", "y.pt", CONVERT.format(verify=True)),
    ".pt to .npz": ("x.pt", "y.npz", CONVERT.format(verify=False)),
    ".pt to .npz, verified": ("x.pt", "y.npz", CONVERT.format(verify=True)),
    "edit: one tensor dropped": ("x.pt", "y.pt", EDIT),
    "edit: cast to float16": ("x.pt", "y.pt", CAST),
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


def timed(folder: Path, way: str) -> tuple[float, int]:
    """Seconds, and mebibytes."""
    os.sync()
    if way == "cp":
        start = time.perf_counter()
        subprocess.run(["cp", folder / "x.pt", folder / "y.pt"], check=True)
        seconds, grown, out = time.perf_counter() - start, 0, folder / "y.pt"
    else:
        source, target, call = WAYS[way]
        out = folder / target
        command = [sys.executable, "-c", _WORK.format(call=call), folder / source, out]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.split()
        seconds, grown = float(answer[0]), int(answer[1])
    out.unlink()
    return seconds, grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make(folder, options.gib)
        found: dict[str, list[tuple[float, int]]] = {"cp": [], **{way: [] for way in WAYS}}
        copies: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way in WAYS:
                copy = timed(folder, "cp")
                found["cp"].append(copy)
                copies[way].append(copy[0])
                found[way].append(timed(folder, way))
    size = options.gib
    median = statistics.median(seconds for seconds, _ in found["cp"])
    print(f"{'cp':32} {median:6.2f} s  {size / median:5.2f} GiB/s")
    for way in WAYS:
        seconds = statistics.median(each for each, _ in found[way])
        ratio = statistics.median(copy / each for copy, (each, _) in zip(copies[way], found[way], strict=True))
        grown = max(each for _, each in found[way])
        print(f"{way:32} {seconds:6.2f} s  {size / seconds:5.2f} GiB/s  {ratio:5.2f} of cp  {grown:4} MiB", flush=True)


if __name__ == "__main__":
    main()

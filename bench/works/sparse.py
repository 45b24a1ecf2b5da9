"""Files that are large and take no space: PyTorch leaves the tensors' bytes out, and only one slice is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COUNT = 256
"""Tensors in a file."""
NAME = "layers.128.weight"
PART = slice(5000, 6024)
"""The elements of it that are not 0: 0, 1, 2 and so on."""

_MAKE = f"""
import mmap, sys, torch
path, numel = sys.argv[1], int(sys.argv[2])
with torch.serialization.skip_data():
    torch.save({{f"layers.{{i}}.weight": torch.empty(numel) for i in range({COUNT})}}, path)
torch.serialization.set_default_mmap_options(mmap.MAP_SHARED)
part = torch.load(path, mmap=True)["{NAME}"][{PART.start}:{PART.stop}]
part.copy_(torch.arange(len(part)))
"""


def sparse_file(folder: Path, nbytes: int) -> Path:
    """A file of about so many bytes, made if it is not there: a dict of float32 tensors of one size."""
    path = folder / "sparse.pt"
    if not path.exists():
        subprocess.run([sys.executable, "-c", _MAKE, str(path), str(nbytes // COUNT // 4)], check=True)
    return path

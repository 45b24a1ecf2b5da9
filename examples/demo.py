"""The main job: save, load, list and slice a .pt file with nothing but ptfile. Run it with `make demo`."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import ptfile
from ptfile.cli import main as ptfile_command


def step(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def show(code: str, result: object) -> None:
    print(f"  >>> {code}\n  " + str(result).replace("\n", "\n  "))


def run() -> None:
    step("1. Save the example of PyTorch's documentation: evens is a view of every second of the numbers")
    numbers = ptfile.arange(1, 10)
    evens = numbers[1::2]
    path = Path("tensors.pt")
    ptfile.save([numbers, evens], path)
    show('ptfile.save([numbers, evens], "tensors.pt")', f"{path.stat().st_size} bytes, those that torch.save writes")

    step("2. Load it: nothing in the file is run, and the checksums are right")
    loaded_numbers, loaded_evens = ptfile.load(path)
    show('loaded_numbers, loaded_evens = ptfile.load("tensors.pt")', f"{loaded_numbers}\n{loaded_evens}")
    assert loaded_numbers.tolist() == numbers.tolist()
    assert loaded_evens.tolist() == evens.tolist()

    step("3. The two still share their memory")
    loaded_evens *= 2
    show("loaded_evens *= 2; loaded_numbers", loaded_numbers)
    assert loaded_numbers.tolist() == [1, 4, 3, 8, 5, 12, 7, 16, 9]
    assert numbers.tolist() == list(range(1, 10))  # the file and the original have not changed

    step("4. A checkpoint, listed without reading a tensor")
    weight = ptfile.from_numpy(ptfile.arange(12.0).numpy().reshape(3, 4))
    checkpoint = {"epoch": 3, "model": {"embed.weight": weight, "head.weight": weight, "head.bias": ptfile.zeros(3)}}
    path = Path("model.pt")
    ptfile.save(checkpoint, path)
    print("  $ ptfile ls model.pt\n", flush=True)
    code = ptfile_command(["ls", path.name])
    assert code == 0

    step("5. Slice it: a view, in numpy's terms or in PyTorch's")
    loaded_weight = ptfile.load(path)["model"]["embed.weight"]
    show('ptfile.load("model.pt")["model"]["embed.weight"][1:, ::2]', loaded_weight[1:, ::2])
    assert (loaded_weight[1:, ::2].numpy() == weight.numpy()[1:, ::2]).all()

    step("6. PyTorch")
    installed = "installed" if importlib.util.find_spec("torch") else "not installed"
    imported = "imported" if "torch" in sys.modules else "not imported"
    print(f"  {installed} and {imported}")
    assert "torch" not in sys.modules


if __name__ == "__main__":
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            run()
        finally:
            os.chdir(home)  # Windows removes no folder that someone is in

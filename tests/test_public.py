"""The public face: what `import ptfile` shows, what it imports, and that its documentation is true."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import ptfile

HAS_TORCH = importlib.util.find_spec("torch") is not None
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ptfile.__path__, "ptfile.")
    if not module.name.endswith("__main__") and (HAS_TORCH or not module.name.startswith("ptfile.torch"))
)
"""All modules; the drop-in is for those who have PyTorch."""


def imported_by(statement: str) -> set[str]:
    """The packages that a fresh interpreter has after a statement."""
    script = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
    return {name.partition(".")[0] for name in json.loads(result.stdout)}


def _place(name: str) -> tuple[bool, list[tuple[str, int]]]:
    """Classes first, then the rest, each as people sort: int8 before int16."""
    parts = re.findall(r"(\D*)(\d*)", name)
    return name[0].islower(), [(text, int(number or -1)) for text, number in parts]


def test_all_is_sorted_and_complete() -> None:
    """`__all__` is every public name of the package that is no module, in order."""
    visible = {
        name for name, value in vars(ptfile).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert sorted(ptfile.__all__, key=_place) == ptfile.__all__
    assert set(ptfile.__all__) == visible


def test_importing_it_imports_no_framework_and_no_extra() -> None:
    """PyTorch, the command line's packages and those of the tests wait until someone asks for them."""
    unwanted = {"torch", "jax", "click", "rich", "safetensors", "obstore", "fsspec", "dill", "cloudpickle", "ml_dtypes"}

    assert imported_by("import ptfile") & (unwanted | {"numpy"}) == {"numpy"}


def test_saving_and_loading_imports_no_framework() -> None:
    """Nor does the main job need PyTorch, though it be installed."""
    job = "import io, ptfile\nb = io.BytesIO()\nptfile.save(ptfile.zeros(3), b)\nb.seek(0)\nptfile.load(b)"

    assert imported_by(job).isdisjoint({"torch", "jax", "click", "rich"})


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_the_documentation_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example in a docstring gives what it says it gives."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)

    assert doctest.testmod(module).failed == 0


def test_the_packages_own_example_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first example that a reader meets is run, and it is an example."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(ptfile)

    assert result.failed == 0
    assert result.attempted >= 4


def test_the_readme_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of the README run."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(Path(__file__).parents[1] / "README.md"), module_relative=False)

    assert result.failed == 0
    assert result.attempted >= 5


def test_what_the_docs_say_of_open_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/open.md runs."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(Path(__file__).parents[1] / "docs" / "open.md"), module_relative=False)

    assert result.failed == 0
    assert result.attempted >= 5


def test_the_demo_runs(tmp_path: Path) -> None:
    """`make demo` shows every step of the main job."""
    demo = Path(__file__).parents[1] / "examples" / "demo.py"
    result = subprocess.run(
        [sys.executable, str(demo)], capture_output=True, encoding="utf-8", cwd=tmp_path, check=True
    )

    assert "tensor([ 1,  4,  3,  8,  5, 12,  7, 16,  9])" in result.stdout
    assert "model.embed.weight  float32  [3, 4]  48 B  #1" in result.stdout
    assert "not imported" in result.stdout

"""The public face: what `import ptfile` shows, what it imports, and that its documentation is true."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

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
    return {name.partition(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


def test_type_checkers_are_told_what_there_is() -> None:
    """`__init__.pyi` has every name of the package, from the module that it comes from, and no other."""
    stub = ast.parse(Path(ptfile.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    told = {alias.name: (node.module, alias.asname) for node in imports for alias in node.names}
    lists = [ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign)]

    assert told == {name: (f"ptfile.{module}", None) for name, module in vars(ptfile)["_HOMES"].items()}
    assert lists == [sorted(ptfile.__all__, key=_place)]


def _place(name: str) -> tuple[bool, list[tuple[str, int]]]:
    """Classes first, then the rest, each as people sort: int8 before int16."""
    parts = re.findall(r"(\D*)(\d*)", name)
    return name[0].islower(), [(text, int(number or -1)) for text, number in parts]


@pytest.mark.parametrize("name", ptfile.__all__)
def test_every_name_is_there(name: str) -> None:
    """It can be asked for, is the same each time, and completion shows it."""
    assert getattr(ptfile, name) is getattr(ptfile, name)
    assert dir(ptfile).count(name) == 1


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As of any module; `from ptfile import numpy` finds the module of that name behind it."""
    with pytest.raises(AttributeError, match="module 'ptfile' has no attribute 'lod'"):
        ptfile.lod  # type: ignore[attr-defined]


def test_importing_it_imports_nothing_else() -> None:
    """No dependency, and not even the larger part of Python's own library: that waits until something is asked for."""
    assert imported_by("import ptfile") - imported_by("pass") == {"ptfile"}


def test_looking_into_a_checkpoint_imports_no_numpy(tmp_path: Path) -> None:
    """Names, dtypes and shapes take no arrays; nor does listing them for a pipe take a package for terminals."""
    path = str(tmp_path / "model.pt")
    ptfile.save({"weight": ptfile.zeros(2, 3), "epoch": 7, "loss": [0.5, 0.25]}, path)

    assert "numpy" not in imported_by(f"import ptfile; ptfile.inspect({path!r})")
    for command in ("ls", "info"):
        ran = imported_by(f"from ptfile.cli import main; main([{command!r}, {path!r}])")
        assert "click" in ran
        assert ran.isdisjoint({"numpy", "rich"})


def test_saving_and_loading_imports_no_framework() -> None:
    """The main job needs neither PyTorch nor any extra, though they be installed."""
    job = "import io, ptfile\nb = io.BytesIO()\nptfile.save(ptfile.zeros(3), b)\nb.seek(0)\nptfile.load(b)"

    unwanted = {"torch", "jax", "click", "rich", "safetensors", "obstore", "fsspec", "dill", "cloudpickle", "ml_dtypes"}

    assert imported_by(job).isdisjoint(unwanted)


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

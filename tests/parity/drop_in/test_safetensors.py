"""Paths that end in .safetensors are handed to the safetensors library."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.parity.drop_in.support import torch


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A stand-in for safetensors, whether it is installed or not; what load_file was called with."""
    seen: list[Any] = []

    def load_file(path: str, device: Any = "cpu") -> dict[str, Any]:
        seen.append((path, device))
        return {"w": torch.ones(2)}

    package, module = ModuleType("safetensors"), ModuleType("safetensors.torch")
    module.__dict__["load_file"] = load_file
    package.__dict__["torch"] = module
    monkeypatch.setitem(sys.modules, "safetensors", package)
    monkeypatch.setitem(sys.modules, "safetensors.torch", module)
    return seen


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize(
    ("location", "device"),
    [(None, "cpu"), ("cpu", "cpu"), ("cuda:1", "cuda:1"), (torch.device("cuda", 2), "cuda:2")],
)
def test_the_library_loads_them(lib: Any, calls: list[Any], kind: Any, location: Any, device: str) -> None:
    """With the device as text."""
    assert lib.load(kind("dir/model.safetensors"), location)["w"].tolist() == [1, 1]
    assert calls == [("dir/model.safetensors", device)]


@pytest.mark.parametrize(
    ("location", "word"), [({"cpu": "cpu"}, "dict"), (lambda storage, tag: None, "callable")], ids=["dict", "callable"]
)
def test_other_locations_are_refused(lib: Any, calls: list[Any], location: Any, word: str) -> None:
    """A RuntimeError."""
    with pytest.raises(RuntimeError, match=f"Loading safetensors file with {word} map_location is not supported"):
        lib.load("model.safetensors", location)
    assert calls == []


def test_without_the_library_the_error_says_what_to_install(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RuntimeError, before the file is looked for."""
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(RuntimeError, match="Please install safetensors with: pip install safetensors"):
        lib.load("missing.safetensors")


def test_a_stream_is_never_safetensors(lib: Any, calls: list[Any], tmp_path: Path) -> None:
    """Only the name of a path decides; a checkpoint saved under such a name is for streams."""
    path = tmp_path / "odd.safetensors"
    lib.save([1], path)
    with path.open("rb") as file:
        assert lib.load(file) == [1]
    assert calls == []

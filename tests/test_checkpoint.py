"""`ptfile.open`: names to tensors, read when they are used."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.machine.inert import InertRecord


class Net:
    """A class that ptfile does not know."""

    def __init__(self) -> None:
        self.weight = ptfile.ones(2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    weight = ptfile.arange(6).reshape(2, 3)
    ptfile.save({"layer": {"weight": weight, "tied": weight[0]}, "steps": [3, ptfile.zeros(1000)]}, path)
    return path


def test_tensors_and_values_are_found_by_the_names_that_ls_shows(path: Path) -> None:
    """A mapping over the leaves of the tree, in its order."""
    with ptfile.open(path) as checkpoint:
        assert list(checkpoint) == [
            *("layer.weight", "layer.tied", "steps[0]", "steps[1]"),
        ]
        assert checkpoint["steps[0]"] == 3
        assert [name for name, _ in checkpoint.tensors()] == ["layer.weight", "layer.tied", "steps[1]"]
        assert [info.name for info in ptfile.inspect(path).tensors] == [name for name, _ in checkpoint.tensors()]
        assert "missing" not in checkpoint
        assert checkpoint.format == "zip"
        assert str(path) in repr(checkpoint)


def test_a_tensor_is_read_when_its_elements_are_looked_at(path: Path) -> None:
    """Not when the file is opened, nor when it is sliced; and then no other one is."""
    with ptfile.open(path) as checkpoint:
        row = checkpoint["layer.weight"][1]
        assert not row.untyped_storage().is_loaded
        assert row.tolist() == [3, 4, 5]
        assert row.untyped_storage().is_loaded
        assert checkpoint["layer.tied"].untyped_storage() is row.untyped_storage()
        assert not checkpoint["steps[1]"].untyped_storage().is_loaded


def test_what_has_been_read_stays_after_the_end(path: Path) -> None:
    """What has not been read is an error, not garbage."""
    with ptfile.open(path) as checkpoint:
        read, unread = checkpoint["layer.weight"], checkpoint["steps[1]"]
        read.tolist()
    assert read.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises((OSError, ValueError)):
        unread.tolist()


def test_a_damaged_tensor_is_an_error_when_it_is_read(path: Path) -> None:
    """The others can be read."""
    data = bytearray(path.read_bytes())
    place = data.index(b"model/data/0")
    data[data.index(bytes([3, 0, 0, 0]), place)] ^= 1
    with ptfile.open(io.BytesIO(bytes(data))) as checkpoint:
        assert checkpoint["steps[1]"].numel() == 1000
        assert not checkpoint["steps[1]"].numpy().any()
        with pytest.raises(ptfile.FormatError, match="checksum"):
            checkpoint["layer.weight"].tolist()


def test_objects_of_unknown_classes_are_looked_into() -> None:
    """Inert records, unless they are to be an error."""
    buffer = io.BytesIO()
    ptfile.save(Net(), buffer)
    buffer.seek(0)
    with ptfile.open(buffer) as checkpoint:
        assert type(checkpoint.root) is InertRecord
        assert checkpoint["weight"].tolist() == [1.0, 1.0]
    buffer.seek(0)
    with pytest.raises(ptfile.UnsafeError):
        ptfile.open(buffer, unknown="error")


def test_locations_are_mapped_as_in_load(path: Path) -> None:
    """Over device tags."""
    with ptfile.open(path, map_location="cuda:1") as checkpoint:
        assert checkpoint["layer.weight"].device == "cuda:1"


@pytest.mark.parametrize("f", [io.BytesIO(b"no checkpoint"), 3])
def test_what_is_no_checkpoint_is_an_error_at_once(f: Any) -> None:
    """As in load."""
    with pytest.raises((ptfile.FormatError, TypeError)):
        ptfile.open(f)

"""TorchScript archives, which PyTorch hands to its compiler."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.support import loaded, torch

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
WARNING = "'torch.load' received a zip file that looks like a TorchScript archive dispatching to 'torch.jit.load'"


class AddOne(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, batch):  # type: ignore[no-untyped-def]
        return batch + self.weight


@pytest.fixture
def archive() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(AddOne()), buffer)
    return buffer.getvalue()


def test_an_archive_is_loaded_as_a_module(lib: Any, archive: bytes, tmp_path: Path) -> None:
    """By torch.jit.load, with a warning; from a path, a buffer, and a buffer at an offset."""
    (tmp_path / "s.pt").write_bytes(archive)
    behind = io.BytesIO(b"before" + archive)
    behind.seek(6)
    for source in (io.BytesIO(archive), tmp_path / "s.pt", behind):
        with pytest.warns(UserWarning, match=WARNING):
            result = lib.load(source, weights_only=False)
        assert isinstance(result, torch.jit.ScriptModule)
        assert result(torch.ones(2)).tolist() == [2, 2]


@pytest.mark.parametrize("arguments", [{}, {"weights_only": True}])
def test_weights_only_refuses_an_archive(lib: Any, archive: bytes, arguments: Any) -> None:
    """A RuntimeError, after the warning."""
    with (
        pytest.warns(UserWarning, match=WARNING),
        pytest.raises(RuntimeError, match="Cannot use ``weights_only=True`` with TorchScript archives passed to"),
    ):
        loaded(lib, archive, **arguments)


def test_map_location_reaches_the_compiler(lib: Any, archive: bytes) -> None:
    """It must be something that torch.jit.load takes."""
    with pytest.warns(UserWarning, match=WARNING):
        result = loaded(lib, archive, weights_only=False, map_location="cpu")
    assert result.weight.device.type == "cpu"


def test_an_archive_has_no_list_of_globals(lib: Any, archive: bytes) -> None:
    """A ValueError that says what it is."""
    with pytest.raises(ValueError, match="but got a torchscript checkpoint"):
        lib.get_unsafe_globals_in_checkpoint(io.BytesIO(archive))


def test_a_scripted_module_cannot_be_saved(lib: Any) -> None:
    """Its own `save` is for that."""
    with pytest.raises(RuntimeError, match="__getstate__"):
        lib.save(torch.jit.script(AddOne()), io.BytesIO())


def test_the_state_dict_of_a_scripted_module_can(lib: Any) -> None:
    """It is an ordinary one."""
    state = torch.jit.script(AddOne()).state_dict()
    buffer = io.BytesIO()
    lib.save(state, buffer)
    assert loaded(lib, buffer.getvalue())["weight"].tolist() == [1, 1]

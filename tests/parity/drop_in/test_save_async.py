"""`save_async` with real torch objects: what `torch.save` writes, while the program goes on."""

from __future__ import annotations

import inspect
import io
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.support import FORMATS, PYTORCH, described, loaded, saved, torch


class Gate(io.BytesIO):
    """A file that takes nothing before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def write(self, data: Any) -> int:
        assert self.opened.wait(60)
        return super().write(data)


def module() -> Any:
    """With large and small parameters, two of them tied, and a buffer."""
    torch.manual_seed(0)
    made = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.BatchNorm1d(300), torch.nn.Linear(300, 300))
    made[2].weight = made[0].weight
    return made


@pytest.mark.parametrize("memory", [None, 0, 5_000, 500_000])
def test_the_file_is_pytorchs(ours: Any, tmp_path: Path, memory: int | None) -> None:
    """Byte for byte, whatever was copied and whatever was not."""
    state = module().state_dict()
    (tmp_path / "other").mkdir()
    PYTORCH.save(state, tmp_path / "other" / "model.pt")
    ours.save_async(state, tmp_path / "model.pt", memory=memory).result()

    assert (tmp_path / "model.pt").read_bytes() == (tmp_path / "other" / "model.pt").read_bytes()


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_step_of_training_after_the_call_is_not_in_it(ours: Any, options: Any) -> None:
    """Parameters, and what the optimizer knows of them."""
    model, gate = module(), Gate()
    optimizer = torch.optim.Adam(model.parameters())
    step(model, optimizer)
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    before = described(loaded(PYTORCH, saved(PYTORCH, checkpoint, **options)))
    saving = ours.save_async(checkpoint, gate, **options)
    step(model, optimizer)
    gate.opened.set()
    saving.result()

    assert described(loaded(PYTORCH, gate.getvalue())) == before
    assert described(checkpoint) != before


def step(model: Any, optimizer: Any) -> None:
    optimizer.zero_grad()
    model(torch.ones(4, 300)).square().sum().backward()
    optimizer.step()


def test_settings_are_those_of_the_call(ours: Any) -> None:
    """Though the file is written when they are other ones."""
    gate, state = Gate(), {"weight": torch.ones(5)}
    with ours.skip_data():
        saving = ours.save_async(state, gate)
        expected = saved(PYTORCH, state)
    gate.opened.set()
    saving.result()

    assert gate.getvalue() == expected
    assert gate.getvalue() != saved(PYTORCH, state)


def test_the_tensors_are_let_go_when_they_are_copied(ours: Any) -> None:
    """A copy that was made on a device for the save alone is not held there until the disk has it."""
    gate, tensors = Gate(), [torch.ones(100_000), torch.ones(5)]
    storages = [torch.multiprocessing.reductions.StorageWeakRef(tensor.untyped_storage()) for tensor in tensors]
    saving = ours.save_async(tensors, gate)
    del tensors
    try:
        assert all(storage.expired() for storage in storages)
    finally:
        gate.opened.set()
    saving.result()


def test_the_arguments_are_those_of_save(ours: Any) -> None:
    """And two more."""
    theirs, more = (list(inspect.signature(each).parameters.values()) for each in (ours.save, ours.save_async))

    assert more[:-2] == theirs
    assert [parameter.name for parameter in more[-2:]] == ["memory", "progress"]


def test_an_error_comes_with_the_result_or_at_once(ours: Any, tmp_path: Path) -> None:
    """At once where `torch.save` finds it before it opens anything."""
    with pytest.raises(RuntimeError, match="Parent directory"):
        ours.save_async(1, tmp_path / "missing" / "model.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(IsADirectoryError):
        ours.save_async(1, tmp_path / "folder.pt", **FORMATS["legacy"]).result()

"""ptfile in place of torch.save and torch.load in a running program."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.classes import Net, Plain
from tests.parity.drop_in.support import PYTORCH, described, saved, torch
from tests.parity.drop_in.test_differences import REFUSED


def in_place(lib: Any) -> bool:
    """Whether all four names are ptfile's; False where all are PyTorch's."""
    found = {getattr(module, name) for module in (torch, torch.serialization) for name in ("save", "load")}
    assert found in ({lib.save, lib.load}, {PYTORCH.save, PYTORCH.load})
    return found == {lib.save, lib.load}


def test_a_block_puts_ptfile_in_place(ours: Any) -> None:
    """And takes it out at its end."""
    assert not in_place(ours)
    with ours.patch():
        assert in_place(ours)
    assert not in_place(ours)


def test_a_call_puts_ptfile_in_place_until_undo(ours: Any) -> None:
    """For programs that have no place for a block."""
    patching = ours.patch()
    assert in_place(ours)
    patching.undo()
    assert not in_place(ours)


def test_undo_twice_changes_nothing_more(ours: Any) -> None:
    """Also at the end of a block that was undone inside."""
    with ours.patch() as patching:
        patching.undo()
        assert not in_place(ours)
    patching.undo()
    assert not in_place(ours)


def test_blocks_may_be_nested(ours: Any) -> None:
    """The outermost one takes ptfile out."""
    with ours.patch():
        with ours.patch():
            assert in_place(ours)
        assert in_place(ours)
    assert not in_place(ours)


def test_an_error_ends_the_block(ours: Any) -> None:
    """And passes through."""
    with pytest.raises(ZeroDivisionError), ours.patch():
        raise ZeroDivisionError
    assert not in_place(ours)


def test_what_stood_there_before_comes_back(ours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's own replacement is not lost."""

    def other_load(*arguments: Any, **keywords: Any) -> Any:
        return "other"

    with monkeypatch.context() as change:
        change.setattr(torch, "load", other_load)
        with ours.patch():
            assert torch.load is ours.load
        assert torch.load is other_load


def test_the_patched_names_save_and_load(ours: Any, tmp_path: Path) -> None:
    """As attributes of torch and of torch.serialization, with the bytes that PyTorch writes."""
    tree = {"a": torch.arange(3.0), "b": [1, "two"]}
    (tmp_path / "by_patch").mkdir()
    with ours.patch():
        torch.save(tree, tmp_path / "by_patch" / "t.pt")
        assert described(torch.load(tmp_path / "by_patch" / "t.pt")) == described(tree)
        assert described(torch.serialization.load(tmp_path / "by_patch" / "t.pt")) == described(tree)
    PYTORCH.save(tree, tmp_path / "t.pt")
    assert (tmp_path / "by_patch" / "t.pt").read_bytes() == (tmp_path / "t.pt").read_bytes()


def test_names_imported_inside_the_block_are_ptfile_s(ours: Any) -> None:
    """`from torch.serialization import load` looks the attribute up."""
    with ours.patch():
        space: dict[str, Any] = {}
        exec("from torch.serialization import load as a\nfrom torch import load as b", space)
    assert space["a"] is space["b"] is ours.load


def test_what_ptfile_leaves_to_pytorch_still_works(ours: Any) -> None:
    """Nothing calls itself, whatever is saved and loaded: legacy files, skip_data, pickle modules."""
    tree = [torch.ones(2), Plain(1)]
    with ours.patch():
        for options in ({}, {"_use_new_zipfile_serialization": False}):
            buffer = io.BytesIO()
            torch.save(tree, buffer, **options)
            buffer.seek(0)
            assert torch.load(buffer, weights_only=False)[1].value == 1
        with torch.serialization.skip_data():
            skeleton = saved(torch, torch.ones(2))
        assert not torch.load(io.BytesIO(skeleton)).any()


def test_a_patched_load_checks_what_it_reads(ours: Any) -> None:
    """That it is ptfile at work is seen on a damaged file, which PyTorch loads in silence."""
    data = bytearray(saved(PYTORCH, torch.arange(4.0)))
    data[data.index(torch.arange(4.0).numpy().tobytes()) + 5] ^= 1
    assert torch.load(io.BytesIO(data)).shape == (4,)
    with ours.patch(), pytest.raises(REFUSED):
        torch.load(io.BytesIO(data))


def test_the_patch_holds_for_all_threads(ours: Any) -> None:
    """It is the program's."""
    seen: list[bool] = []
    with ours.patch():
        thread = threading.Thread(target=lambda: seen.append(in_place(ours)))
        thread.start()
        thread.join()
    assert seen == [True]


def train(model: Any, optimizer: Any, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        batch = torch.randn(8, 4, generator=generator)
        loss = (model(batch) - batch.sum(1, keepdim=True)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.steps += 1


def fresh() -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)


def checkpoint(model: Any, optimizer: Any, scheduler: Any) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}


def test_a_model_trains_through_it(ours: Any, tmp_path: Path) -> None:
    """Stopped, saved, loaded into fresh objects and trained on, it is what it is without the stop; so are its files."""
    straight = fresh()
    train(*straight[:2], 5)
    middle = described(checkpoint(*straight))
    train(*straight[:2], 5)
    path = tmp_path / "epoch.ckpt"
    with ours.patch():
        first = fresh()
        train(*first[:2], 5)
        torch.save(checkpoint(*first), path)
        assert described(torch.load(path)) == middle
        second = fresh()
        for part, state in zip(second, torch.load(path, map_location="cpu", weights_only=True).values(), strict=True):
            part.load_state_dict(state)
        train(*second[:2], 5)
        torch.save(checkpoint(*second), path)
    assert described(checkpoint(*second)) == described(checkpoint(*straight))
    assert described(torch.load(path)) == described(checkpoint(*straight))


def test_pytorch_s_own_callers_use_it(ours: Any, tmp_path: Path) -> None:
    """torch.hub loads state dicts by the name `torch.load`; a damaged one is found out through the patch."""
    path = tmp_path / "net.pth"
    model = torch.nn.Linear(2, 2)
    PYTORCH.save(model.state_dict(), path)
    arguments = {"url": path.as_uri(), "model_dir": str(tmp_path), "file_name": "net.pth"}
    with ours.patch():
        assert described(torch.hub.load_state_dict_from_url(**arguments)) == described(model.state_dict())
    data = bytearray(path.read_bytes())
    data[data.index(bytes(model.weight.untyped_storage())) + 3] ^= 1
    path.write_bytes(data)
    assert list(torch.hub.load_state_dict_from_url(**arguments)) == ["weight", "bias"]
    with ours.patch(), pytest.raises(REFUSED):
        torch.hub.load_state_dict_from_url(**arguments)

"""The keywords of `save` that PyTorch does not have."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.support import FORMATS, PYTORCH, described, loaded, saved, torch


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_durable_save_syncs_the_file_and_its_folder(
    ours: Any, options: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file under its temporary name, the folder once it has the target's."""
    synced: list[tuple[bool, bool]] = []
    path = tmp_path / "model.pt"
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((stat.S_ISDIR(os.fstat(file).st_mode), path.exists())))
    ours.save(torch.arange(5), path, fsync=True, **options)

    assert synced == [(False, False), (True, True)]
    assert described(ours.load(path)) == described(torch.arange(5))


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_what_has_no_descriptor_cannot_be_durable(ours: Any, options: Any) -> None:
    """As in `ptfile.save`."""
    with pytest.raises(ValueError, match="a BytesIO has no file descriptor"):
        ours.save(1, io.BytesIO(), fsync=True, **options)


def save_reachable(ours: Any, value: Any, **options: Any) -> Any:
    """What PyTorch loads of it."""
    return loaded(PYTORCH, saved(ours, value, storages="reachable", **options), weights_only=False)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_what_no_tensor_reaches_is_left_out(ours: Any, options: Any) -> None:
    """Two runs of rows of a large storage; what overlaps shares memory still."""
    large = torch.arange(100_000.0).reshape(1000, 100)
    rows = [large[10:20], large[15:30], large[900:901, 5:], torch.nn.Parameter(large[500])]
    again = save_reachable(ours, rows, **options)

    assert [torch.equal(one, other) for one, other in zip(again, rows, strict=True)] == [True] * 4
    assert [tensor.untyped_storage().nbytes() for tensor in again] == [8000, 8000, 380, 400]
    assert [tensor.stride() for tensor in again] == [tensor.stride() for tensor in rows]
    assert type(again[3]) is torch.nn.Parameter
    again[0][5, 0] = -1
    assert again[1][0, 0] == -1
    assert len(saved(ours, rows, storages="reachable", **options)) < 20_000


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_what_is_reached_by_all_is_saved_as_before(ours: Any, options: Any) -> None:
    """The same bytes as without the keyword."""
    shared = torch.arange(24.0)
    value = {"a": shared, "b": shared[3:9], "c": [torch.ones(2, 3).T, torch.empty(0)]}
    assert saved(ours, value, storages="reachable", **options) == saved(ours, value, **options)


def test_other_tensors_keep_their_storages(ours: Any) -> None:
    """Those that PyTorch reduces in its own ways, and whatever shares a storage with them."""
    large = torch.arange(1000).to(torch.complex64)
    quantized = torch.quantize_per_tensor(torch.arange(100.0), 0.5, 1, torch.qint8)[20:30]
    sparse = torch.sparse_coo_tensor(torch.arange(40).reshape(2, 20)[:, 3:5], torch.arange(100.0)[50:52], (40, 40))
    marked = torch.arange(100.0)[5:10]
    marked.mark = "marked"
    meta = torch.empty(1000, device="meta")[5:10]
    value = [large[3:6].conj(), large[7:9], quantized, sparse, marked, meta, torch.arange(10)[3:3]]
    again = save_reachable(ours, value)

    assert described(again[:2]) == described(value[:2])
    assert torch.equal(again[2].dequantize(), quantized.dequantize())
    assert again[2].untyped_storage().nbytes() == 100
    assert torch.equal(again[3].to_dense(), sparse.to_dense())
    assert again[3]._values().untyped_storage().nbytes() == 8
    assert (again[4].tolist(), again[4].mark) == ([5.0, 6.0, 7.0, 8.0, 9.0], "marked")
    assert (again[5].shape, again[5].is_meta) == (meta.shape, True)
    assert (again[6].tolist(), again[6].untyped_storage().nbytes()) == ([], 0)


def test_a_module_loads_from_its_lean_file(ours: Any) -> None:
    """A state dict of views of one flat buffer, as optimizers and sharded training keep them."""
    flat = torch.randn(1_000_000)
    state = {"weight": flat[100:112].view(3, 4), "bias": flat[500_000:500_003]}
    layer = torch.nn.Linear(4, 3)
    layer.load_state_dict(save_reachable(ours, state))

    assert torch.equal(layer.weight, state["weight"])
    assert len(saved(ours, state, storages="reachable")) < 3000


def test_there_are_two_ways_to_save_storages(ours: Any) -> None:
    """Another is a mistake."""
    with pytest.raises(ValueError, match="must be"):
        ours.save(1, io.BytesIO(), storages="some")

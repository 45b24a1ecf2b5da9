"""Real modules filled tensor by tensor from an open checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

import ptfile


def test_a_module_takes_its_weights_one_by_one(tmp_path: Path) -> None:
    """Built on the meta device and assigned from the file, it computes what the saved module computes."""
    path = tmp_path / "model.pt"
    saved = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    torch.save({"model": saved.state_dict(), "unused": torch.zeros(1000)}, path)
    with torch.device("meta"):
        module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    with ptfile.open(path) as checkpoint:
        weights = {
            name.removeprefix("model."): tensor.torch()
            for name, tensor in checkpoint.tensors()
            if name.startswith("model.")
        }
        assert not checkpoint["unused"].untyped_storage().is_loaded
    module.load_state_dict(weights, assign=True)
    x = torch.ones(1, 4)
    assert torch.equal(module(x), saved(x))

"""What `convert` and `edit` write, held against PyTorch and the safetensors library."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ptfile
from ptfile.formats.safetensors_format import CODES

safetensors_torch = pytest.importorskip("safetensors.torch")


def tensor_of(dtype: torch.dtype, count: int) -> torch.Tensor:
    return torch.arange(count * dtype.itemsize, dtype=torch.uint8).remainder(2).view(dtype)


def test_every_dtype_of_safetensors_goes_both_ways(tmp_path: Path) -> None:
    """The library reads the same bits, and what it writes comes back as it would load it."""
    tensors = {name: tensor_of(getattr(torch, dtype.name), 6) for name, dtype in CODES.items()}
    torch.save(tensors, tmp_path / "x.pt")
    ptfile.convert(tmp_path / "x.pt", tmp_path / "x.safetensors")
    loaded = safetensors_torch.load_file(tmp_path / "x.safetensors")
    assert {name: tensor.dtype for name, tensor in loaded.items()} == {
        name: each.dtype for name, each in tensors.items()
    }
    assert all(torch.equal(loaded[name].view(torch.uint8), tensors[name].view(torch.uint8)) for name in tensors)

    safetensors_torch.save_file(tensors, tmp_path / "y.safetensors")
    ptfile.convert(tmp_path / "y.safetensors", tmp_path / "y.pt")
    back = torch.load(tmp_path / "y.pt")
    assert {name: tensor.dtype for name, tensor in back.items()} == {name: each.dtype for name, each in tensors.items()}
    assert all(torch.equal(back[name].view(torch.uint8), tensors[name].view(torch.uint8)) for name in tensors)


def test_a_state_dict_is_written_as_the_library_writes_it(tmp_path: Path) -> None:
    """The same bytes, but for the metadata."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    state = {**module.state_dict(), "é": torch.zeros(3, dtype=torch.bfloat16), "x": torch.zeros(0, 2)}
    torch.save(state, tmp_path / "x.pt")
    ptfile.convert(tmp_path / "x.pt", tmp_path / "x.safetensors")
    data = (tmp_path / "x.safetensors").read_bytes()
    with safetensors_torch.safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        metadata = file.metadata()
    safetensors_torch.save_file(state, tmp_path / "y.safetensors", metadata)
    theirs = (tmp_path / "y.safetensors").read_bytes()
    if theirs.index(b'"format"') > theirs.index(b'"ptfile"'):  # the library puts them in any order
        theirs = theirs.replace(b',"format":"pt"}', b"}").replace(b'{"ptfile"', b'{"format":"pt","ptfile"')
    assert data == theirs


def test_a_module_loads_what_was_converted_there_and_back(tmp_path: Path) -> None:
    """Tied weights are tied again."""
    embedding, head = torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False)
    head.weight = embedding.weight
    module = torch.nn.ModuleDict({"embedding": embedding, "head": head})
    torch.save(module.state_dict(), tmp_path / "x.pt")
    for to in ("safetensors", "npz"):
        ptfile.convert(tmp_path / "x.pt", tmp_path / f"y.{to}")
        ptfile.convert(tmp_path / f"y.{to}", tmp_path / "z.pt")
        state = torch.load(tmp_path / "z.pt")
        assert state["embedding.weight"].data_ptr() == state["head.weight"].data_ptr()
        assert state._metadata == module.state_dict()._metadata
        module.load_state_dict(state)


FLOATS = [
    *("float16", "bfloat16", "float32", "float64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]


def all_kinds_of_numbers(dtype: torch.dtype) -> torch.Tensor:
    """Every bit pattern of 8 and 16 bits; of longer ones numbers of all sizes. Infinities and zeros are among them."""
    halves = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16)
    if dtype.itemsize <= 2:
        return halves.view(torch.uint8).view(dtype) if dtype.itemsize == 2 else halves[:256].to(torch.uint8).view(dtype)
    generator = torch.Generator().manual_seed(0)
    sizes = 2.0 ** torch.randint(-20, 20, (100_000,), generator=generator)
    numbers = torch.randn(100_000, generator=generator, dtype=torch.float64) * sizes
    return torch.cat([numbers, halves.view(torch.float16), halves.view(torch.bfloat16)]).to(dtype)


@pytest.mark.parametrize("old", FLOATS)
def test_casting_rounds_as_pytorch_does(old: str, tmp_path: Path) -> None:
    """Twice on the way from 64 bits to 16, through 32; and what is too large becomes what it becomes there."""
    tensor = all_kinds_of_numbers(getattr(torch, old))
    torch.save(tensor, tmp_path / "x.pt")
    for new in FLOATS:
        ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt", cast=new)
        made, expected = torch.load(tmp_path / "y.pt"), tensor.to(getattr(torch, new))
        numbers = ~expected.float().isnan()
        assert torch.equal(made.float().isnan(), ~numbers), new
        assert torch.equal(made[numbers].view(torch.uint8), expected[numbers].view(torch.uint8)), new

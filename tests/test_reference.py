"""Every example of PyTorch's page about `torch.save` and of the notes it links to, with `ptfile` for `torch`."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ptfile


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def storage_elements(tensor: ptfile.Tensor) -> int:
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def test_save_to_a_file() -> None:
    """`torch.save(x, 'tensor.pt')`, and the tensor that comes back."""
    x = ptfile.tensor([0, 1, 2, 3, 4])
    ptfile.save(x, "tensor.pt")

    y = ptfile.load("tensor.pt")
    assert y.tolist() == [0, 1, 2, 3, 4]
    assert y.dtype is ptfile.int64


def test_save_to_a_buffer() -> None:
    """`torch.save(x, buffer)` with an `io.BytesIO`."""
    x = ptfile.tensor([0, 1, 2, 3, 4])
    buffer = io.BytesIO()
    ptfile.save(x, buffer)

    buffer.seek(0)
    assert ptfile.load(buffer).tolist() == [0, 1, 2, 3, 4]


def test_a_path_object_is_a_file_name() -> None:
    """f may be an `os.PathLike`."""
    ptfile.save(ptfile.tensor([1]), Path("tensor.pt"))

    assert ptfile.load(Path("tensor.pt")).tolist() == [1]


def test_a_file_that_can_only_write_and_flush_is_enough() -> None:
    """f has to implement write and flush; what is written is the same as to a buffer."""

    class Pipe:
        def __init__(self) -> None:
            self.pieces: list[bytes] = []

        def write(self, data: Any) -> int:
            self.pieces.append(bytes(data))
            return len(data)

        def flush(self) -> None: ...

    pipe, buffer = Pipe(), io.BytesIO()
    ptfile.save(ptfile.tensor([1, 2]), pipe)
    ptfile.save(ptfile.tensor([1, 2]), buffer)

    assert b"".join(pipe.pieces) == buffer.getvalue()


def test_saving_and_loading_tensors_preserves_views() -> None:
    """After `loaded_evens *= 2` every second one of `loaded_numbers` is doubled."""
    numbers = ptfile.arange(1, 10)
    evens = numbers[1::2]
    ptfile.save([numbers, evens], "tensors.pt")
    loaded_numbers, loaded_evens = ptfile.load("tensors.pt")
    loaded_evens *= 2

    assert loaded_numbers.tolist() == [1, 4, 3, 8, 5, 12, 7, 16, 9]
    assert numbers.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_small_view_brings_its_large_storage() -> None:
    """`small = large[0:5]` is saved with the 999 elements of its storage."""
    large = ptfile.arange(1, 1000)
    small = large[0:5]
    ptfile.save(small, "small.pt")
    loaded_small = ptfile.load("small.pt")

    assert loaded_small.tolist() == [1, 2, 3, 4, 5]
    assert storage_elements(loaded_small) == 999


def test_a_clone_saves_only_its_own_elements() -> None:
    """`small.clone()` has a storage of 5 elements, and so has what is loaded."""
    large = ptfile.arange(1, 1000)
    small = large[0:5]
    ptfile.save(small.clone(), "small.pt")
    loaded_small = ptfile.load("small.pt")

    assert loaded_small.tolist() == [1, 2, 3, 4, 5]
    assert storage_elements(loaded_small) == 5


def test_a_module_is_saved_by_its_state_dict() -> None:
    """`bn.state_dict()` of `BatchNorm1d(3)`: its tensors, their order, and the versions in `_metadata` come back."""
    state_dict: Any = OrderedDict(
        weight=ptfile.ones(3),
        bias=ptfile.zeros(3),
        running_mean=ptfile.zeros(3),
        running_var=ptfile.ones(3),
        num_batches_tracked=ptfile.tensor(0),
    )
    state_dict._metadata = OrderedDict({"": {"version": 2}})
    ptfile.save(state_dict, "bn.pt")
    loaded: Any = ptfile.load("bn.pt")

    assert loaded.__class__ is OrderedDict
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {
        "weight": [1, 1, 1],
        "bias": [0, 0, 0],
        "running_mean": [0, 0, 0],
        "running_var": [1, 1, 1],
        "num_batches_tracked": 0,
    }
    assert list(loaded) == list(state_dict)
    assert loaded._metadata == state_dict._metadata


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_pickle_protocol_can_be_given(protocol: int) -> None:
    """`pickle_protocol` overrides the default, which is 2."""
    default, buffer = io.BytesIO(), io.BytesIO()
    ptfile.save({"x": ptfile.tensor([1])}, default)
    ptfile.save({"x": ptfile.tensor([1])}, buffer, pickle_protocol=protocol)

    assert b"\x80" + bytes([protocol]) in buffer.getvalue()
    assert (buffer.getvalue() == default.getvalue()) == (protocol == 2)
    buffer.seek(0)
    assert ptfile.load(buffer)["x"].tolist() == [1]


def test_the_pickle_module_can_be_given() -> None:
    """`pickle_module` pickles the object: its `Pickler` is the one that is used."""
    used = []

    class Pickler(pickle.Pickler):
        def dump(self, value: object) -> None:
            used.append(value)
            super().dump(value)

    module = SimpleNamespace(__name__="module", Pickler=Pickler)
    buffer = io.BytesIO()
    ptfile.save([1], buffer, pickle_module=module)

    assert used == [[1]]

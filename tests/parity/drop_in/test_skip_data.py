"""Checkpoints without bytes: skip_data, fake tensors, and loading under a fake mode."""

from __future__ import annotations

import contextlib
import importlib
import io
import mmap
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import LEGACY, PYTORCH, described, loaded, saved, torch

FakeTensorMode: Any = importlib.import_module("torch._subclasses.fake_tensor").FakeTensorMode
NUMBERS = torch.arange(1.0, 7.0)
TREE = {"a": NUMBERS, "view": NUMBERS[2:], "b": torch.ones(300), "text": "kept"}


def skeleton(lib: Any, tree: Any, **options: Any) -> bytes:
    with lib.skip_data(**options):
        return saved(lib, tree)


def test_a_save_leaves_the_bytes_out(pair: Pair) -> None:
    """The file is as large as the full one; its tensors are zeros; the rest is there."""
    data = skeleton(pair.writer, TREE)
    assert len(data) == len(saved(PYTORCH, TREE))
    result = loaded(pair.reader, data)
    assert result["text"] == "kept"
    assert [(t.shape, t.stride(), t.any().item()) for t in (result["a"], result["view"], result["b"])] == [
        ((6,), (1,), False),
        ((4,), (1,), False),
        ((300,), (1,), False),
    ]
    assert result["a"].untyped_storage()._cdata == result["view"].untyped_storage()._cdata


def test_a_save_without_bytes_is_the_same(lib: Any) -> None:
    """Byte for byte what PyTorch writes."""
    assert skeleton(lib, TREE) == skeleton(PYTORCH, TREE)


@pytest.mark.parametrize("numel", [0, 1, 20_000, 1_000_000])
@pytest.mark.parametrize("checksum", [True, False])
def test_room_of_every_size_is_left(lib: Any, numel: int, checksum: bool, tmp_path: Path) -> None:
    """In a buffer and in a file, which takes no space for it; with checksums of what there is, and without."""
    lib.set_crc32_options(checksum)
    tree = {**TREE, "more": torch.empty(numel), "last": torch.empty(3)}
    data = skeleton(lib, tree)
    assert data == skeleton(PYTORCH, tree)
    path = tmp_path / "archive.pt"
    path.write_bytes(b"old" * 10_000_000)
    with lib.skip_data():
        lib.save(tree, path)
    assert path.read_bytes() == data
    assert loaded(lib, data)["more"].sum() == 0


def test_room_is_left_over_what_a_stream_has(lib: Any) -> None:
    """The bytes that are there stay, for whoever puts others in later."""
    buffer = io.BytesIO(b"x" * 30_000)
    buffer.seek(5)
    with lib.skip_data():
        lib.save(TREE, buffer)
    theirs = io.BytesIO(b"x" * 30_000)
    theirs.seek(5)
    with torch.serialization.skip_data():
        PYTORCH.save(TREE, theirs)
    assert (buffer.getvalue(), buffer.tell()) == (theirs.getvalue(), theirs.tell())


def test_a_path_takes_a_save_without_bytes(lib: Any, tmp_path: Path) -> None:
    """The bytes may be put in later, where the records lie."""
    path = tmp_path / "later.pt"
    with lib.skip_data():
        lib.save(TREE, path)
    offset = lib.load(path, map_location="meta")["a"].untyped_storage()._checkpoint_offset
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(NUMBERS.numpy().tobytes())
    assert PYTORCH.load(path)["a"].tolist() == NUMBERS.tolist()


def test_a_load_leaves_the_bytes_unread(pair: Pair) -> None:
    """Shapes and strides are there, whatever the memory holds; in both formats."""
    for options in ({}, LEGACY):
        data = saved(pair.writer, TREE, **options)
        with pair.reader.skip_data():
            result = loaded(pair.reader, data)
        assert [tuple(result[key].shape) for key in ("a", "view", "b")] == [(6,), (4,), (300,)]
        assert result["a"].untyped_storage()._cdata == result["view"].untyped_storage()._cdata
        assert result["a"].fill_(3).sum() == 18


def test_a_load_without_bytes_still_maps_locations(lib: Any) -> None:
    """The callable is called, with a storage of the right size."""
    sizes: list[int] = []
    with lib.skip_data():
        loaded(lib, skeleton(lib, NUMBERS), map_location=lambda storage, tag: sizes.append(storage.nbytes()))
    assert sizes == [24]


def test_the_legacy_format_cannot_leave_bytes_out(lib: Any) -> None:
    """A RuntimeError."""
    with lib.skip_data(), pytest.raises(RuntimeError, match="Cannot use skip_data=True with _use_new_zipfile"):
        saved(lib, TREE, **LEGACY)


def test_fake_tensors_are_saved_as_what_they_stand_for(pair: Pair) -> None:
    """With materialize_fake_tensors: ordinary tensors of zeros come back, on the device they were thought to be on."""
    with FakeTensorMode():
        fake = torch.empty(3, 4)
        value = {"whole": fake, "row": fake[1], "cuda": torch.empty(2, device="cuda")}
    data = skeleton(pair.writer, value, materialize_fake_tensors=True)
    assert data == skeleton(PYTORCH, value, materialize_fake_tensors=True)
    assert b"cuda:0" in data
    result = loaded(pair.reader, data, map_location="cpu")
    assert type(result["whole"]) is torch.Tensor
    assert (result["whole"].shape, result["row"].shape) == ((3, 4), (4,))
    assert result["whole"].untyped_storage()._cdata == result["row"].untyped_storage()._cdata
    assert result["cuda"].tolist() == [0, 0]


def test_a_fake_module_s_state_dict_is_materialized(lib: Any) -> None:
    """Parameters stay parameters."""
    with FakeTensorMode():
        model = torch.nn.Linear(4, 3)
    result = loaded(lib, skeleton(lib, model.state_dict(), materialize_fake_tensors=True))
    assert {key: tuple(value.shape) for key, value in result.items()} == {"weight": (3, 4), "bias": (3,)}
    torch.nn.Linear(4, 3).load_state_dict(result)


def test_fake_tensors_are_not_saved_otherwise(lib: Any) -> None:
    """They hold what cannot be pickled."""
    with FakeTensorMode():
        fake = torch.empty(3)
    with pytest.raises(AttributeError, match="Can't pickle local object"):
        saved(lib, fake)
    with lib.skip_data(), pytest.raises(AttributeError, match="Can't pickle local object"):
        saved(lib, fake)


@pytest.mark.parametrize("weights_only", [True, False])
def test_a_fake_mode_loads_fake_tensors(pair: Pair, weights_only: bool) -> None:
    """Nothing is read; each storage knows where its bytes are."""
    data = saved(pair.writer, TREE)
    with FakeTensorMode():
        result = loaded(pair.reader, data, weights_only=weights_only)
    assert type(result["a"]).__name__ == "FakeTensor"
    assert (result["a"].shape, result["a"].device.type, result["view"].storage_offset()) == ((6,), "cpu", 2)
    offset = result["b"].untyped_storage()._checkpoint_offset
    assert data[offset : offset + 1200] == bytes(TREE["b"].untyped_storage())


@pytest.mark.parametrize("weights_only", [True, False])
def test_a_fake_mode_loads_legacy_files_without_bytes(pair: Pair, weights_only: bool) -> None:
    """Nothing knows where the bytes are then; the stream stands before them."""
    buffer = io.BytesIO(saved(pair.writer, TREE, **LEGACY))
    with FakeTensorMode():
        result = pair.reader.load(buffer, weights_only=weights_only)
    assert type(result["a"]).__name__ == "FakeTensor"
    assert [tuple(result[key].shape) for key in ("a", "view", "b")] == [(6,), (4,), (300,)]
    assert (result["a"].device.type, result["text"]) == ("meta", "kept")
    assert len(buffer.getvalue()) - buffer.tell() == 8 + 24 + 8 + 1200


@pytest.mark.parametrize("target", ["cpu", "cuda", "cuda:3"])
def test_a_fake_mode_moves_nothing(lib: Any, target: Any) -> None:
    """Whatever map_location says; a device need not be there."""
    data = saved(lib, TREE)
    with FakeTensorMode():
        theirs = loaded(PYTORCH, data, map_location=target)
        result = loaded(lib, data, map_location=target)
    assert (result["a"].device, result["a"].shape) == (theirs["a"].device, theirs["a"].shape)


def test_a_fake_mode_loads_to_meta(lib: Any) -> None:
    """Which map_location says, and not the fake mode."""
    data = saved(lib, TREE)
    with FakeTensorMode():
        result = loaded(lib, data, map_location="meta")
    assert (type(result["a"]).__name__, result["a"].device.type) == ("FakeTensor", "meta")


@pytest.mark.parametrize("way", ["skip", "fake", "meta", "read"])
@pytest.mark.parametrize("tree", [TREE, [NUMBERS, NUMBERS], {"no": "tensors"}])
def test_each_way_leaves_the_stream_where_pytorch_does(lib: Any, way: str, tree: Any) -> None:
    """Behind what it has looked at in the zip file."""
    data = b"before" + saved(lib, tree)
    positions = []
    for reader in (lib, PYTORCH):
        buffer = io.BytesIO(data)
        buffer.seek(6)
        block: Any = {"skip": torch.serialization.skip_data, "fake": FakeTensorMode}.get(way, contextlib.nullcontext)
        with block():
            reader.load(buffer, map_location="meta" if way == "meta" else None)
        positions.append(buffer.tell())
    assert positions[0] == positions[1]


def test_a_mapped_file_is_not_looked_at_under_skip_data(lib: Any, tmp_path: Path) -> None:
    """The memory is of its own, not of the file."""
    lib.save(TREE, tmp_path / "t.pt")
    before = (tmp_path / "t.pt").read_bytes()
    with lib.skip_data(), lib.set_default_mmap_options(mmap.MAP_SHARED):
        result = lib.load(tmp_path / "t.pt", mmap=True)
    result["a"].fill_(3)
    assert (tmp_path / "t.pt").read_bytes() == before
    assert result["view"].tolist() == [3, 3, 3, 3]


def test_a_fake_mode_keeps_the_device_of_the_file(lib: Any) -> None:
    """Without the device being there."""
    with FakeTensorMode():
        value = torch.empty(2, device="cuda")
    data = skeleton(lib, value, materialize_fake_tensors=True)
    with FakeTensorMode():
        assert str(loaded(lib, data).device) == "cuda:0"


def test_meta_knows_where_bytes_are(lib: Any) -> None:
    """map_location="meta" gives each storage its place in the file too."""
    data = saved(lib, TREE)
    result = loaded(lib, data, map_location="meta")
    for key in ("a", "b"):
        offset = result[key].untyped_storage()._checkpoint_offset
        size = TREE[key].untyped_storage().nbytes()
        assert data[offset : offset + size] == bytes(TREE[key].untyped_storage())


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.quantize_per_tensor(NUMBERS, 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([NUMBERS, NUMBERS[1:]]),
    ],
    ids=["quantized", "nested"],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_some_tensors_cannot_be_saved_without_bytes(lib: Any, make: Any) -> None:
    """A RuntimeError that asks for an issue."""
    value = make()
    with pytest.raises(RuntimeError, match=r"Cannot serialize .* under skip_data context manager"):
        skeleton(lib, value)


def test_meta_tensors_have_no_bytes_anyway(lib: Any) -> None:
    """There is a warning that says so."""
    with pytest.warns(UserWarning, match="meta device under skip_data context manager is a no-op"):
        skeleton(lib, torch.empty(2, device="meta"))


def test_the_block_ends(lib: Any) -> None:
    """Also when nested, and after an error; bytes are written again."""
    with lib.skip_data():
        with pytest.raises(ZeroDivisionError), lib.skip_data(materialize_fake_tensors=True):
            raise ZeroDivisionError
        inside = saved(lib, NUMBERS)
    assert not loaded(PYTORCH, inside).any()
    assert described(loaded(lib, saved(lib, TREE))) == described(TREE)


def test_the_block_is_of_its_thread(lib: Any) -> None:
    """Another thread saves whole checkpoints meanwhile."""
    results: list[bytes] = []
    with lib.skip_data():
        thread = threading.Thread(target=lambda: results.append(saved(lib, TREE)))
        thread.start()
        thread.join()
    assert described(PYTORCH.load(io.BytesIO(results[0]))) == described(TREE)


def test_either_block_is_the_same(lib: Any) -> None:
    """PyTorch's holds for both, and the other way round."""
    with torch.serialization.skip_data():
        data = saved(lib, NUMBERS)
    with lib.skip_data():
        assert data == saved(PYTORCH, NUMBERS)

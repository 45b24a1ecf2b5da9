"""Storages as objects of the tree: their types, their sharing with tensors, and their place in the file."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, LEGACY, PYTORCH, again, described, loaded, saved, torch

TYPED = [
    "FloatStorage",
    "DoubleStorage",
    "HalfStorage",
    "BFloat16Storage",
    "LongStorage",
    "IntStorage",
    "ShortStorage",
    "CharStorage",
    "ByteStorage",
    "BoolStorage",
    "ComplexFloatStorage",
    "ComplexDoubleStorage",
]


@pytest.mark.parametrize("name", TYPED)
def test_a_typed_storage_survives(pair: Pair, name: str) -> None:
    """It comes back as a TypedStorage of its dtype, in both formats."""
    value = getattr(torch, name)([1, 0, 1])
    for options in FORMATS.values():
        result = loaded(pair.reader, saved(pair.writer, value, **options))
        assert type(result) is torch.storage.TypedStorage
        assert described(result) == described(value)


def test_an_untyped_storage_comes_back_typed(pair: Pair) -> None:
    """PyTorch hands out a TypedStorage of uint8 for it."""
    value = torch.arange(3.0).untyped_storage()
    result = loaded(pair.reader, saved(pair.writer, value))
    assert type(result) is torch.storage.TypedStorage
    assert (result.dtype, bytes(result._untyped_storage)) == (torch.uint8, bytes(value))


def test_storages_are_saved_to_the_same_bytes(lib: Any) -> None:
    """Typed, untyped, empty, shared, before and after the tensors that use them."""
    tensor = torch.arange(5.0)
    untyped = torch.ones(3).untyped_storage()
    trees = [
        [tensor.storage(), tensor, tensor[1:], tensor.storage()],
        [tensor, tensor.storage()],
        [untyped, untyped],
        [torch.UntypedStorage(0), torch.FloatStorage(), torch.UntypedStorage(0)],
        {"u8": torch.arange(4, dtype=torch.uint8), "other": torch.UntypedStorage([1, 2])},
    ]
    for tree in trees:
        assert saved(lib, tree) == saved(PYTORCH, tree)


def test_typed_storages_and_trees_of_them_are_saved_alike_in_the_legacy_format(lib: Any) -> None:
    """The keys are addresses, so the very same objects are saved by both."""
    tensor = torch.arange(5.0)
    tree = [tensor.storage(), tensor, tensor[1:], torch.FloatStorage()]
    assert saved(lib, tree, **LEGACY) == saved(PYTORCH, tree, **LEGACY)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_storage_and_its_tensors_share_memory_again(lib: Any, options: Any) -> None:
    """data_ptr and _cdata are those of the tensor's storage."""
    tensor = torch.arange(5.0)
    storage, whole, tail = loaded(lib, saved(lib, [tensor.storage(), tensor, tensor[1:]], **options))
    assert storage.data_ptr() == whole.data_ptr() == tail.data_ptr() - 4
    assert storage._untyped_storage._cdata == whole.untyped_storage()._cdata == tail.untyped_storage()._cdata
    storage[1] = 7
    assert tail[0] == 7


@pytest.mark.parametrize("numel", [1, 3, 16, 1000, 3 << 20])
def test_loaded_storages_are_aligned(lib: Any, numel: int) -> None:
    """To 64 bytes, as vector instructions like it, beside tensors of odd sizes."""
    values = [torch.zeros(1, dtype=torch.uint8), torch.zeros(numel), torch.zeros(5, dtype=torch.int8)]
    assert [value.data_ptr() % 64 for value in loaded(lib, saved(lib, values))] == [0, 0, 0]


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_one_storage_met_twice_is_one(lib: Any, options: Any) -> None:
    """The very same object in the tree, and the same memory."""
    storage = torch.FloatStorage([1, 2])
    first, second = loaded(lib, saved(lib, [storage, storage], **options))
    assert first is second


def test_a_storage_of_uint8_and_its_tensor_go_together(lib: Any) -> None:
    """An untyped storage counts as uint8, so a tensor of that dtype may share it."""
    tensor = torch.arange(4, dtype=torch.uint8)
    result, storage = again(lib, [tensor, tensor.untyped_storage()])
    assert result.data_ptr() == storage.data_ptr()


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_an_untyped_storage_of_floats_and_their_tensor_do_not(lib: Any, options: Any) -> None:
    """uint8 and float32 are two dtypes of one memory."""
    tensor = torch.arange(4.0)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        saved(lib, [tensor, tensor.untyped_storage()], **options)


def test_empty_storages_survive(lib: Any) -> None:
    """They have no bytes, but they are there."""
    typed, untyped = again(lib, [torch.FloatStorage(), torch.UntypedStorage(0)])
    assert (len(typed), typed.dtype, untyped.nbytes()) == (0, torch.float32, 0)


def test_a_meta_storage_is_refused(lib: Any) -> None:
    """There is nothing to save; a meta tensor is saved without its storage, but this is the storage itself."""
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor; no data!"):
        saved(lib, torch.UntypedStorage(12, device="meta"))


def test_the_storage_of_a_slice_of_a_storage_is_saved(lib: Any) -> None:
    """A storage that is a view of another's memory is a storage of its own."""
    whole = torch.UntypedStorage(list(range(10)))
    assert list(again(lib, whole[2:5])) == [2, 3, 4]


def test_a_shared_storage_is_saved(lib: Any) -> None:
    """Memory shared between processes is memory."""
    tensor = torch.arange(3).share_memory_()
    result = again(lib, tensor)
    assert (result.tolist(), result.is_shared()) == ([0, 1, 2], False)


def test_a_storage_from_a_file_is_saved(lib: Any, tmp_path: Any) -> None:
    """A mapped storage is read through."""
    path = tmp_path / "numbers"
    path.write_bytes(bytes(range(16)))
    storage = torch.UntypedStorage.from_file(str(path), False, 16)
    assert saved(lib, storage) == saved(PYTORCH, torch.UntypedStorage(list(range(16))))


def test_the_files_of_either_name_storages_by_the_order_of_meeting(lib: Any) -> None:
    """Keys are 0, 1, 2 in the order in which the pickler came to them."""
    data = saved(lib, [torch.full((1,), 7.0), torch.full((1,), 8.0), torch.full((1,), 9.0)])
    reader = torch._C.PyTorchFileReader(io.BytesIO(data))
    floats = [torch.frombuffer(bytearray(reader.get_record(f"data/{key}")), dtype=torch.float32) for key in range(3)]
    assert torch.cat(floats).tolist() == [7, 8, 9]

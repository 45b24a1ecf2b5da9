"""What ptfile saves is what PyTorch saves, byte for byte, and each loads the other's files."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cloudpickle
import dill
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ptfile
from ptfile.tensors import dtypes
from tests.parity.worlds import DTYPES, WORDS, DTypePlan, PtfileWorld, StoragePlan, TensorPlan, TorchWorld, trees


def saved(save: Any, value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    save(value, buffer, **options)
    return buffer.getvalue()


def assert_equal_bytes(plan: Any, **options: Any) -> bytes:
    ours = saved(ptfile.save, PtfileWorld().make(plan), **options)
    theirs = saved(torch.save, TorchWorld().make(plan), **options)
    assert ours == theirs
    return ours


@given(plan=trees(WORDS), protocol=st.integers(2, 5))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_tree_is_saved_to_the_same_bytes(plan: Any, protocol: int) -> None:
    """Trees of every dtype and view, with storages shared, in every binary protocol."""
    assert_equal_bytes(plan, pickle_protocol=protocol)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_text_that_pytorch_writes_too_is_saved_to_the_same_bytes(word: str, protocol: int) -> None:
    """Before and behind the tensors; as the one object of that text in the program, and as another one."""
    tensor = TensorPlan(StoragePlan(dtypes.float32, bytes(4)), 0, (1,), (1,))
    untyped = TensorPlan(StoragePlan(dtypes.uint16, bytes(4)), 0, (1,), (1,))
    other = f"{word[:1]}{word[1:]}"
    assert other is not word
    values = [tensor, untyped, DTypePlan("float32"), DTypePlan("int8")]
    for order in ([word, *values, other], [*values, word, word], [other, *values, other, word]):
        assert_equal_bytes(order, pickle_protocol=protocol)
        assert_equal_bytes({word: order}, pickle_protocol=protocol)


def values_with_the_word_torch() -> list[Any]:
    """A value for each way in which a pickler begins and ends one, new objects each time."""
    own: list[Any] = []
    holds_itself = (own, "torch")
    own.append(holds_itself)
    empty: list[Any] = [(), [], {}, set(), b"", "", None]
    tuples: list[Any] = [("torch",), ("torch", 1), ("torch", 2, 3), ("torch", 2, 3, 4), holds_itself]
    batches: list[Any] = [["torch"], [1, "torch"], {"torch": 1}, {"torch": 2, "cpu": "torch"}, {"torch"}]
    return [*empty, *tuples, *batches, frozenset({"torch"}), OrderedDict(torch=1), complex(1, 2), 1 << 70, 1.5, "torch"]


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("pickle_module", [pickle, dill, cloudpickle])
def test_frames_end_where_pytorchs_do_when_the_object_holds_the_word_torch(protocol: int, pickle_module: Any) -> None:
    """Frames of 64 KiB that end in each kind of value, and large bytes and texts that stand outside all frames."""
    paddings = range(0, 400, 7 if pickle_module is pickle else 50)
    many = [value for _ in range(250) for value in values_with_the_word_torch()]
    large = [value for value in values_with_the_word_torch() for value in (bytes(65_536), value, "a" * 65_535, value)]
    for obj in ([b"-" * 65_200, b"-" * padding, *(large if padding % 100 == 0 else many)] for padding in paddings):
        ours, theirs = (
            saved(s, obj, pickle_protocol=protocol, pickle_module=pickle_module) for s in (ptfile.save, torch.save)
        )
        assert ours == theirs


@given(plan=trees())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_library_loads_what_the_other_saved(plan: Any) -> None:
    """Values, strides, flags and sharing are the same on both sides."""
    data = assert_equal_bytes(plan)
    ours = ptfile.load(io.BytesIO(data))
    theirs = torch.load(io.BytesIO(data), weights_only=False)  # its safe way knows no empty bytes, for one
    assert_same(ours, theirs, {}, {})
    assert saved(ptfile.save, ours) == data


def assert_same(ours: Any, theirs: Any, seen: dict[int, int], seen_storages: dict[int, int]) -> None:
    """Equal in every respect; objects and storages that are one on one side are one on the other."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, ptfile.Tensor)
        assert seen.setdefault(id(ours), id(theirs)) == id(theirs)
        storage = theirs.untyped_storage()
        if len(storage):  # PyTorch does not keep the sharing of storages without bytes; ptfile does
            assert seen_storages.setdefault(id(ours.untyped_storage()), storage._cdata) == storage._cdata
        assert ours.untyped_storage().tobytes() == bytes(storage)
        assert (ours.dtype.name, ours.shape, ours.stride(), ours.storage_offset(), ours.requires_grad) == (
            str(theirs.dtype).removeprefix("torch."),
            tuple(theirs.shape),
            theirs.stride(),
            theirs.storage_offset(),
            theirs.requires_grad,
        )
    elif isinstance(theirs, torch.storage.TypedStorage):  # PyTorch gives these for untyped ones too
        assert isinstance(ours, ptfile.UntypedStorage)
        assert ours.tobytes() == bytes(theirs._untyped_storage)
    elif isinstance(theirs, torch.dtype):
        assert str(ours) == str(theirs).replace("torch.", "ptfile.")
    else:
        assert type(ours) is type(theirs)
        if isinstance(theirs, dict):
            assert list(ours) == list(theirs)
            ours, theirs = list(ours.values()), list(theirs.values())
        if isinstance(theirs, (list, tuple)):
            assert len(ours) == len(theirs)
            for our_item, their_item in zip(ours, theirs, strict=True):
                assert_same(our_item, their_item, seen, seen_storages)
        else:
            assert ours == theirs


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_every_dtype_is_saved_to_the_same_bytes(dtype: ptfile.DType) -> None:
    """One tensor of each dtype that PyTorch can save."""
    storage = StoragePlan(dtype, bytes(range(6 * dtype.itemsize)))
    assert_equal_bytes({"t": TensorPlan(storage, 1, (2, 2), (1, 2)), "scalar": TensorPlan(storage, 5, (), ())})


def test_the_table_of_dtypes_is_pytorch_s() -> None:
    """Every dtype of this PyTorch is in the table, with its size and storage class."""
    theirs = {str(value).removeprefix("torch."): value for value in vars(torch).values() if type(value) is torch.dtype}
    classes = torch.storage._dtype_to_storage_type_map()
    assert theirs.keys() <= dtypes.BY_NAME.keys()
    for name, value in theirs.items():
        row = dtypes.BY_NAME[name]
        assert (row.itemsize, row.storage_class) == (value.itemsize, classes.get(value))
        assert (row.is_floating_point, row.is_complex) == (value.is_floating_point, value.is_complex)


def test_dtypes_that_pytorch_cannot_save_are_refused() -> None:
    """The shells of sub-byte integers: an error on both sides, and nothing is written."""
    buffer = io.BytesIO()
    with pytest.raises(ptfile.UnsupportedError):
        ptfile.save(ptfile.Tensor(ptfile.UntypedStorage(b"1"), ptfile.int4, 0, (1,), (1,)), buffer)
    assert buffer.getvalue() == b""
    with pytest.raises((KeyError, RuntimeError, AttributeError)):
        torch.save(torch.empty(1, dtype=vars(torch)["int4"]), buffer)


@pytest.mark.parametrize("count", [1, 9, 10, 11, 12, 13, 100, 1000])
def test_any_number_of_storages_gives_the_same_bytes(count: int) -> None:
    """The serialization id depends on the names of all records in a hash table's order."""
    plans = [TensorPlan(StoragePlan(ptfile.uint8, bytes([i % 251] * (i % 7))), 0, (i % 7,), (1,)) for i in range(count)]
    assert_equal_bytes(plans)


@pytest.mark.parametrize(
    "name",
    ["tensor.pt", "model.v1.2-epoch=3.zip.ckpt", "no_ending", "with space.pt", "schön.pt", "a\\b.pt", "x..pt", "日本"],
)
def test_the_folder_inside_is_named_as_pytorch_names_it(name: str, tmp_path: Path) -> None:
    """The stem of the path, or `archive` where PyTorch writes through a file object."""
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for folder in folders:
        folder.mkdir()
    ptfile.save([1, ptfile.arange(3)], folders[0] / name)
    torch.save([1, torch.arange(3)], folders[1] / name)
    assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_a_path_without_a_stem_is_refused_by_both(tmp_path: Path) -> None:
    """`.hidden` leaves no name for the folder."""
    with pytest.raises(ValueError, match=r"\.hidden"):
        ptfile.save(1, tmp_path / ".hidden")
    with pytest.raises(RuntimeError):
        torch.save(1, tmp_path / ".hidden")


@pytest.mark.parametrize("module", [pickle, dill, cloudpickle], ids=lambda module: module.__name__)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_any_pickle_module_gives_the_same_bytes(module: Any, protocol: int) -> None:
    """The pickler is theirs; what it writes for tensors is the same."""
    storage = StoragePlan(ptfile.float32, bytes(40))
    plan = OrderedDict(
        w=TensorPlan(storage, 0, (2, 5), (5, 1)), t=TensorPlan(storage, 1, (3,), (2,)), n=[1, "two", 3.0]
    )
    assert_equal_bytes(plan, pickle_module=module, pickle_protocol=protocol)


def test_the_byte_order_record_moves_when_it_is_disabled() -> None:
    """PyTorch writes it all the same, behind `version`."""
    assert_equal_bytes({"a": 1}, _disable_byteorder_record=True)


def test_numpy_arrays_stay_numpy_arrays() -> None:
    """An array in the tree is pickled by numpy, in both libraries alike."""
    value = {"array": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.float64(1.5)}
    assert saved(ptfile.save, value) == saved(torch.save, value)


def test_conj_and_neg_views_are_saved_as_such() -> None:
    """The bits travel as metadata over the unresolved bytes."""
    theirs = torch.view_as_complex(torch.arange(6.0).reshape(3, 2))
    storage = ptfile.UntypedStorage(bytearray(theirs.untyped_storage()))
    ours = ptfile.Tensor(storage, ptfile.complex64, 0, (3,), (1,), conj=True)
    assert saved(ptfile.save, ours) == saved(torch.save, theirs.conj())
    ours = ptfile.Tensor(storage, ptfile.float32, 1, (3,), (2,), neg=True)
    assert saved(ptfile.save, ours) == saved(torch.save, theirs.conj().imag)


def test_one_memory_as_two_dtypes_is_refused_by_both() -> None:
    """PyTorch could not load it."""
    ours = ptfile.arange(4)
    with pytest.raises(ptfile.TensorError, match="int64"):
        saved(ptfile.save, [ours, ours.view(ptfile.int32)])
    theirs = torch.arange(4)
    with pytest.raises(RuntimeError):
        saved(torch.save, [theirs, theirs.view(torch.int32)])


def test_tensors_of_pytorch_are_refused_with_what_to_do() -> None:
    """They are not silently saved in some other form."""
    with pytest.raises(ptfile.UnsupportedError, match=r"torch\.save"):
        saved(ptfile.save, {"t": torch.arange(3)})


def test_texts_that_look_like_placeholders_survive() -> None:
    """Strings that hold the very bytes the encoder puts in for a name come back as they were."""
    from ptfile.machine.encoder import _alias

    text = f"c{_alias('torch._utils', 'Global')}\n_rebuild_tensor_v2\n"
    plan = [text, TensorPlan(StoragePlan(ptfile.float32, bytes(4)), 0, (1,), (1,)), text.encode(), text]
    data = assert_equal_bytes(plan)
    assert ptfile.load(io.BytesIO(data))[0] == text


def test_torch_conversion_is_exact_and_shares_memory() -> None:
    """`torch()` gives tensors on one torch storage for one of ours."""
    numbers = ptfile.arange(10)
    evens = numbers[::2]
    ours, theirs = evens.torch(), numbers.torch()
    assert ours.untyped_storage()._cdata == theirs.untyped_storage()._cdata
    theirs += 1
    assert numbers.tolist() == list(range(1, 11))

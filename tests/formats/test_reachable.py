"""Saving what the tensors reach of their storages, and no more."""

from __future__ import annotations

import io
import pickle
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dill
import numpy as np
import pytest

import ptfile
from ptfile.errors import UnsupportedError
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import InertName
from ptfile.sources.local import LocalSource
from ptfile.tensors.python_side import PythonSide
from tests.formats.zip_file import zip_of

MIB = 1 << 20


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, storages="reachable", **options)
    return buffer.getvalue()


def reloaded(value: Any, **options: Any) -> Any:
    return ptfile.load(io.BytesIO(saved(value, **options)), unknown="inert")


def place(tensor: Any) -> tuple[int, tuple[int, ...], tuple[int, ...], int]:
    """Offset, shape, stride, and bytes of the storage."""
    return tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.untyped_storage().nbytes()


BOTH_FORMATS = pytest.mark.parametrize("zipped", [True, False])


@BOTH_FORMATS
def test_a_slice_of_a_large_tensor_saves_its_own_bytes(zipped: bool) -> None:
    """And not the large tensor's."""
    large = ptfile.arange(MIB)
    data = saved(large[1000:1010], _use_new_zipfile_serialization=zipped)
    assert len(data) < 2000
    loaded = ptfile.load(io.BytesIO(data))
    assert loaded.tolist() == list(range(1000, 1010))
    assert place(loaded) == (0, (10,), (1,), 80)


def test_no_more_memory_is_taken_than_what_is_written() -> None:
    """Nor less is written: parts go out as views of the storage."""
    large = ptfile.from_numpy(np.zeros(64 * MIB, np.uint8))
    buffer = io.BytesIO()
    tracemalloc.start()
    try:
        ptfile.save(large[MIB : 33 * MIB], buffer, storages="reachable")
        written = buffer.tell()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 32 * MIB < written < 32 * MIB + 2000
    assert peak < 80 * MIB  # a BytesIO keeps room for growing


@BOTH_FORMATS
def test_tensors_that_overlap_still_share_and_overlap_as_much(zipped: bool) -> None:
    """What is written through one is seen in the other."""
    x = ptfile.arange(100)
    first, second = reloaded([x[10:20], x[15:30]], _use_new_zipfile_serialization=zipped)
    assert first.untyped_storage() is second.untyped_storage()
    assert (place(first), place(second)) == ((0, (10,), (1,), 160), (5, (15,), (1,), 160))
    first[9] = -1
    assert second.tolist()[:6] == [15, 16, 17, 18, -1, 20]


def test_tensors_that_touch_share_as_well() -> None:
    """Pieces of one buffer that leave nothing out are one buffer."""
    x = ptfile.arange(100)
    first, second = reloaded([x[10:20], x[20:30]])
    assert first.untyped_storage() is second.untyped_storage()
    assert place(second) == (10, (10,), (1,), 160)


def test_tensors_that_are_apart_get_storages_of_their_own() -> None:
    """Of one storage each has its part."""
    x = ptfile.arange(100)
    first, second = reloaded([x[90:], x[:10]])
    assert (place(first), place(second)) == ((0, (10,), (1,), 80), (0, (10,), (1,), 80))
    assert (first.tolist(), second.tolist()) == (list(range(90, 100)), list(range(10)))


def test_strides_stay_with_the_bytes_that_they_skip() -> None:
    """Every second element of a slice, and a transposed one."""
    x = ptfile.arange(100)
    sparse, transposed = reloaded([x[10:20:2], x[50:].reshape(5, 10).T[2:4]])
    assert place(sparse) == (0, (5,), (2,), 72)
    assert place(transposed) == (0, (2, 5), (1, 10), 8 * 42)
    assert sparse.tolist() == [10, 12, 14, 16, 18]
    assert transposed.tolist() == [[52, 62, 72, 82, 92], [53, 63, 73, 83, 93]]


def test_an_expanded_tensor_saves_its_one_element() -> None:
    """Its stride of 0 stays."""
    loaded = reloaded(ptfile.arange(100)[7].expand(1000, 1000))
    assert place(loaded) == (0, (1000, 1000), (0, 0), 8)


def test_an_empty_tensor_saves_nothing() -> None:
    """Alone it has an empty storage; beside others of its storage it shares the nearest part in front of it."""
    x = ptfile.arange(100)
    assert place(reloaded(x[40:40])) == (40, (0,), (1,), 0)
    early, first, between, second, late = reloaded([x[2:2], x[10:20], x[40:40], x[50:60], x[100:]])
    assert [place(tensor) for tensor in (early, between, late)] == [
        (0, (0,), (1,), 80),
        (30, (0,), (1,), 80),
        (50, (0,), (1,), 80),
    ]
    assert early.untyped_storage() is between.untyped_storage() is first.untyped_storage()
    assert late.untyped_storage() is second.untyped_storage()


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5, -1])
@BOTH_FORMATS
def test_what_is_reached_as_a_whole_is_saved_as_ever(zipped: bool, protocol: int) -> None:
    """The same bytes as with `storages="whole"`, words that PyTorch writes too among them."""
    x = ptfile.arange(100)
    value = {"torch": [x[:50], x[50:], x[3:3]], "y": ptfile.ones(2, 3).T, "z": ptfile.zeros(3, dtype=ptfile.uint16)}
    options: dict[str, Any] = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": zipped}
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    assert saved(value, **options) == buffer.getvalue()


@pytest.mark.parametrize("typed", [True, False])
def test_a_storage_in_the_tree_itself_is_saved_as_a_whole(typed: bool) -> None:
    """It reaches all of itself, and tensors over it stay on it."""
    x = ptfile.arange(100)
    untyped = x.untyped_storage()
    if typed:
        slice_, storage = reloaded([x[10:20], ptfile.TypedStorage(untyped, ptfile.int64)])
    else:  # for PyTorch an untyped storage is one of uint8
        x = x.view(ptfile.uint8)
        slice_, storage = reloaded([x[10:20], untyped])
    assert storage.nbytes() == 800
    assert place(slice_) == (10, (10,), (1,), 800)
    assert slice_.untyped_storage() is (storage.untyped() if typed else storage)


def test_tensors_inside_other_objects_are_found() -> None:
    """In inert records, in attributes of tensors, in the parts of sparse ones."""
    x = ptfile.arange(1000)
    record = InertRecord(InertName("my.module", "Model"), (x[:3],), "new")
    record.inert_state = {"weight": x[3:6]}
    tensor = x[500:510].detach()
    tensor.python_side = PythonSide(state={"note": x[600:603]})
    sparse = ptfile.SparseTensor(x[100:104].reshape(2, 2), x[700:702], (200, 200))
    made, noted, again = reloaded([record, tensor, sparse])
    assert place(made.inert_arguments[0]) == (0, (3,), (1,), 48)
    assert place(made.weight) == (3, (3,), (1,), 48)
    assert (place(noted), place(noted.note)) == ((0, (10,), (1,), 80), (0, (3,), (1,), 24))
    assert (place(again.indices()), place(again.values())) == ((0, (2, 2), (2, 1), 32), (0, (2,), (1,), 16))


def test_flags_gradients_and_classes_stay() -> None:
    """All that a tensor is beside its place."""
    z = ptfile.Tensor(ptfile.UntypedStorage(bytes(800)), ptfile.complex64, 10, (2,), (1,), True, conj=True, neg=True)
    made, parameter, meta = reloaded([z, ptfile.Parameter(ptfile.zeros(9)[3:5]), ptfile.empty(100, device="meta")[2:4]])
    assert (made.is_conj(), made.is_neg(), made.requires_grad, *place(made)) == (True, True, True, 0, (2,), (1,), 16)
    assert type(parameter) is ptfile.Parameter
    assert place(parameter) == (0, (2,), (1,), 8)
    assert (meta.device, meta.shape) == ("meta", (2,))


def test_quantized_tensors_save_their_part_and_their_scales_theirs() -> None:
    """Elements that share a byte keep the whole storage."""
    x = ptfile.arange(100).view(ptfile.float64)
    channels = ptfile.PerChannel(x[10:12], ptfile.arange(100)[20:22], 0)
    storage = ptfile.UntypedStorage(bytes(100))
    plain = ptfile.QuantizedTensor(storage, ptfile.qint8, 50, (2, 3), (3, 1), channels)
    packed = ptfile.QuantizedTensor(
        ptfile.UntypedStorage(bytes(9)), ptfile.quint4x2, 2, (4,), (1,), ptfile.PerTensor(1.0, 0)
    )
    first, second = reloaded([plain, packed])
    assert place(first) == (0, (2, 3), (3, 1), 6)
    assert (place(first.quantizer.scales), place(first.quantizer.zero_points)) == ((0, (2,), (1,), 16),) * 2
    assert place(second) == (2, (4,), (1,), 9)


def test_parts_of_one_storage_begin_at_whole_elements_of_the_largest_kind() -> None:
    """Dtypes without a storage class may share bytes: their views of one storage keep offsets that are counts."""
    storage = ptfile.UntypedStorage(bytearray(range(200)))
    bytes_ = ptfile.Tensor(storage, ptfile.float8_e5m2, 41, (3,), (1,))
    words = ptfile.Tensor(storage, ptfile.uint64, 6, (2,), (1,))
    first, second = reloaded([bytes_, words])
    assert (place(first), place(second)) == ((1, (3,), (1,), 24), (1, (2,), (1,), 24))
    assert second.tolist() == words.tolist()


def test_dtypes_that_share_a_storage_but_no_bytes_can_be_saved() -> None:
    """PyTorch's whole storages cannot be of two dtypes; these parts are of one each. Where they overlap they cannot."""
    x = ptfile.arange(100)
    first, second = reloaded([x[:10], x[50:60].view(ptfile.float64)])
    assert (first.dtype, second.dtype) == (ptfile.int64, ptfile.float64)
    with pytest.raises(ptfile.TensorError, match=r"as ptfile\.int64 and as ptfile\.float64"):
        saved([x[:10], x[5:60].view(ptfile.float64)])


@contextmanager
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many bytes are read from files meanwhile, as a list of one number."""
    total = [0]
    read, read_into = LocalSource.read, LocalSource.read_into

    def counted_read(self: LocalSource, offset: int, length: int) -> Any:
        total[0] += length
        return read(self, offset, length)

    def counted_read_into(self: LocalSource, offset: int, target: memoryview) -> None:
        total[0] += target.nbytes
        read_into(self, offset, target)

    with monkeypatch.context() as patch:
        patch.setattr(LocalSource, "read", counted_read)
        patch.setattr(LocalSource, "read_into", counted_read_into)
        yield total


@BOTH_FORMATS
def test_of_a_storage_that_was_not_read_only_the_part_is_read(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a checkpoint that is open; and it stays unread."""
    path = tmp_path / "large.pt"
    ptfile.save({"x": ptfile.arange(MIB)}, path, _use_new_zipfile_serialization=zipped)
    with ptfile.open(path) as checkpoint:
        x = checkpoint["x"]
        with bytes_read(monkeypatch) as total:
            data = saved([x[1000:2000], x[500_000:500_100]])
        assert total[0] < 300_000  # 8,800, and what is read ahead near the storage's head
        assert not x.untyped_storage().is_loaded
    first, second = ptfile.load(io.BytesIO(data))
    assert first.tolist() == list(range(1000, 2000))
    assert second.tolist() == list(range(500_000, 500_100))


def test_a_part_of_a_file_of_the_other_byte_order_is_turned_round(tmp_path: Path) -> None:
    """Number by number, wherever the part begins."""
    path = tmp_path / "other.pt"
    buffer = io.BytesIO()
    ptfile.save(ptfile.arange(100, dtype=ptfile.int32), buffer)
    with zipfile.ZipFile(buffer) as file:
        records = {name.partition("/")[2]: file.read(name) for name in file.namelist()}
    records["byteorder"] = b"big" if sys.byteorder == "little" else b"little"
    records["data/0"] = np.arange(100, dtype=np.int32).byteswap().tobytes()
    path.write_bytes(zip_of(records).getvalue())
    with ptfile.open(path) as checkpoint:
        x = checkpoint[""]
        part = reloaded([x[10:13], x[20:30].view(ptfile.uint8)[6:8]])
        assert not x.untyped_storage().is_loaded
    assert part[0].tolist() == [10, 11, 12]
    assert part[1].tolist() == list(np.array([21], np.int32).tobytes()[2:])


@pytest.mark.parametrize("deflated", [False, True])
def test_parts_of_a_mapped_or_deflated_file_are_saved_too(deflated: bool, tmp_path: Path) -> None:
    """A deflated record has no parts to be read: it is read whole, and checked."""
    path = tmp_path / "x.pt"
    buffer = io.BytesIO()
    ptfile.save(ptfile.arange(100), buffer)
    with zipfile.ZipFile(buffer) as file:
        records = {name.partition("/")[2]: file.read(name) for name in file.namelist()}
    path.write_bytes(zip_of(records, deflated=deflated).getvalue())
    with ptfile.open(path) as checkpoint:
        assert reloaded(checkpoint[""][10:13]).tolist() == [10, 11, 12]
    assert reloaded(ptfile.load(path, mmap=True)[10:13]).tolist() == [10, 11, 12]


class Counting:
    """Gives another part of a tensor each time that it is pickled."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.count = 0

    def __reduce__(self) -> Any:
        self.count += 1
        return list, ([self.tensor[: 10 * self.count]],)


class Making:
    """Gives a new tensor each time that it is pickled."""

    def __reduce__(self) -> Any:
        return list, ([ptfile.arange(100)[:10]],)


def test_a_tensor_that_reaches_further_than_a_moment_ago_is_an_error() -> None:
    """Never is a file written in which it lies outside its storage."""
    with pytest.raises(UnsupportedError, match=r"bytes 0 to 160 of its storage.*Do not change the object"):
        saved(Counting(ptfile.arange(100)))


def test_a_tensor_that_is_made_for_the_save_keeps_its_storage() -> None:
    """It was not there when the parts were planned."""
    buffer = io.BytesIO(saved(Making()))
    loaded = ptfile.load(buffer, unknown="inert")
    assert place(loaded.inert_arguments[0][0]) == (0, (10,), (1,), 800)


def test_other_pickle_modules_will_do() -> None:
    """dill, say."""
    assert place(reloaded({1: ptfile.arange(100)[:10]}, pickle_module=dill)[1]) == (0, (10,), (1,), 80)


def test_what_cannot_be_pickled_is_an_error_before_the_file_is_touched(tmp_path: Path) -> None:
    """As with whole storages."""
    path = tmp_path / "x.pt"
    with pytest.raises((pickle.PicklingError, AttributeError)):
        ptfile.save(lambda: 0, path, storages="reachable")
    assert not path.exists()


def test_another_word_is_an_error() -> None:
    """There are two."""
    with pytest.raises(ValueError, match='storages is \'lean\': it must be "whole" or "reachable"'):
        ptfile.save(1, io.BytesIO(), storages="lean")  # type: ignore[arg-type]

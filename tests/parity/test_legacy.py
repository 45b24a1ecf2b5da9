"""The legacy format, written by both libraries and read by both."""

from __future__ import annotations

import gzip
import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dill
import pytest
import torch
from hypothesis import HealthCheck, given, settings

import ptfile
from ptfile.formats.legacy_writer import LegacySave, numbered_key
from ptfile.sinks import StreamSink
from ptfile.tensors import dtypes
from tests.parity.test_bytes import assert_same
from tests.parity.worlds import DTYPES, WORDS, PtfileWorld, StoragePlan, TensorPlan, TorchWorld, trees

SLOW = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def saved_by_torch(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False, **options)
    return buffer.getvalue()


def saved_by_ptfile(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, _use_new_zipfile_serialization=False, **options)
    return buffer.getvalue()


def saved_with_keys(value: Any, keys: list[str], **options: Any) -> bytes:
    """As `ptfile.save` writes it, but with these keys for the storages, in the order of first meeting."""
    buffer = io.BytesIO()

    def a_new_text(number: int) -> str:
        return "".join(list(keys[number]))

    with StreamSink(buffer) as sink:
        LegacySave(value, key=a_new_text, **options).write(sink)
    return buffer.getvalue()


def keys_of(data: bytes) -> list[str]:
    """The keys in a legacy file, in the order in which its pickle first names them; by Python's own unpickler."""
    keys: list[str] = []

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return Anything if module.startswith("torch") else super().find_class(module, name)

        def persistent_load(self, persistent_id: Any) -> Any:
            if persistent_id[0] == "module":
                return persistent_id[1]
            if persistent_id[2] not in keys:
                keys.append(persistent_id[2])
            return None

    stream = io.BytesIO(data)
    for _ in range(4):
        Unpickler(stream).load()
    assert sorted(keys) == Unpickler(stream).load()
    return keys


class Anything:
    """Stands for any class or function of PyTorch."""

    def __init__(self, *_: Any) -> None:
        pass


def assert_equal_bytes(plan: Any, **options: Any) -> bytes:
    """Byte for byte, once ptfile uses the addresses that PyTorch had for keys; with its own, equal but for those."""
    theirs = saved_by_torch(TorchWorld().make(plan), **options)
    value = PtfileWorld().make(plan)
    keys = keys_of(theirs)
    assert saved_with_keys(value, keys, **options) == theirs
    ours = saved_by_ptfile(value, **options)
    assert keys_of(ours) == [numbered_key(number) for number in range(len(keys))]
    assert opcodes(ours, {}) == opcodes(theirs, {key: numbered_key(number) for number, key in enumerate(keys)})
    return ours


def opcodes(data: bytes, renamed: dict[str, str]) -> list[tuple[str, Any]]:
    """The first four pickles of a file, without the lengths of frames."""
    stream = io.BytesIO(data)
    found = []
    for _ in range(4):
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name != "FRAME":
                found.append((opcode.name, renamed.get(argument, argument) if type(argument) is str else argument))
    return found


@given(plan=trees(WORDS))
@SLOW
def test_any_tree_is_saved_to_the_same_bytes(plan: Any) -> None:
    """Trees of every dtype and view, with storages shared, in PyTorch's usual protocol."""
    assert_equal_bytes(plan)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("module", [pickle, dill, cloudpickle], ids=lambda module: module.__name__)
def test_any_protocol_and_pickle_module_gives_the_same_bytes(module: Any, protocol: int) -> None:
    """All five pickles are written by the module, in the protocol."""
    storage = StoragePlan(ptfile.float32, bytes(40))
    plan = [TensorPlan(storage, 0, (2, 5), (5, 1)), StoragePlan(ptfile.uint8, b"abc"), {"torch": 1, "s": "x" * 300}]
    assert_equal_bytes(plan, pickle_module=module, pickle_protocol=protocol)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_every_dtype_is_saved_to_the_same_bytes_and_read(dtype: ptfile.DType) -> None:
    """Also those that go through untyped storages, which PyTorch writes in this format and cannot read."""
    storage = StoragePlan(dtype, bytes(range(6 * dtype.itemsize)))
    data = assert_equal_bytes([TensorPlan(storage, 1, (2, 2), (1, 2)), TensorPlan(storage, 5, (), ())])
    view, scalar = ptfile.load(io.BytesIO(data))
    assert (view.dtype, view.shape, view.stride(), view.storage_offset()) == (dtype, (2, 2), (1, 2), 1)
    assert view.untyped_storage() is scalar.untyped_storage()
    assert view.untyped_storage().tobytes() == storage.data


@pytest.mark.parametrize("count", [1, 9, 10, 11, 101])
def test_elements_follow_in_the_order_of_the_sorted_keys(count: int) -> None:
    """PyTorch sorts its keys as text; numbers of fixed width keep their order."""
    plans = [TensorPlan(StoragePlan(ptfile.uint8, bytes([i] * (i % 7))), 0, (i % 7,), (1,)) for i in range(count)]
    data = assert_equal_bytes(plans)
    assert data.endswith(b"".join((i % 7).to_bytes(8, "little") + bytes([i] * (i % 7)) for i in range(count)))


def pytorch_can_read(plan: Any) -> bool:
    """It cannot read untyped storages in this format, whether as values or under the newer dtypes."""
    if isinstance(plan, StoragePlan):
        return False
    if isinstance(plan, TensorPlan):
        return plan.storage.dtype.storage_class is not None
    parts = plan.values() if isinstance(plan, dict) else plan
    return all(map(pytorch_can_read, parts)) if isinstance(plan, (list, tuple, dict)) else True


@given(plan=trees().filter(pytorch_can_read))
@SLOW
def test_each_library_loads_what_the_other_saved(plan: Any) -> None:
    """Values, strides, flags and sharing are the same on both sides."""
    ours, theirs = saved_by_ptfile(PtfileWorld().make(plan)), saved_by_torch(TorchWorld().make(plan))
    assert_same(ptfile.load(io.BytesIO(theirs)), torch.load(io.BytesIO(theirs), weights_only=False), {}, {})
    loaded = ptfile.load(io.BytesIO(ours))
    assert_same(loaded, torch.load(io.BytesIO(ours), weights_only=False), {}, {})
    assert saved_by_ptfile(loaded) == ours


def some_tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(5), "b": torch.ones(3, dtype=torch.float64), "half": torch.zeros(1).half()}


@pytest.mark.parametrize("wrap", [io.BytesIO, lambda data: io.BufferedReader(io.BytesIO(data))])
def test_the_position_after_a_load_is_pytorch_s(wrap: Callable[[bytes], Any]) -> None:
    """Checkpoints saved into one stream behind other bytes are read one after the other."""
    first, second = saved_by_torch(some_tensors()), saved_by_torch([torch.arange(4), "end"])
    data = b"something else" + first + second + b"and more"
    ours, theirs = wrap(data), wrap(data)
    ours.seek(14)
    theirs.seek(14)
    for position in (14 + len(first), 14 + len(first) + len(second)):
        assert_same(ptfile.load(ours), torch.load(theirs), {}, {})
        assert ours.tell() == theirs.tell() == position
    assert ours.read() == b"and more"


def test_gzip_files_are_read_through_their_file_object(tmp_path: Path) -> None:
    """As many old checkpoints are kept."""
    file: Any
    with gzip.open(tmp_path / "x.pt.gz", "wb") as file:
        torch.save(some_tensors(), file, _use_new_zipfile_serialization=False)
        torch.save("second", file, _use_new_zipfile_serialization=False)
    with gzip.open(tmp_path / "x.pt.gz") as ours:
        assert_same(ptfile.load(ours), some_tensors(), {}, {})
        assert ptfile.load(ours) == "second"


def test_paths_are_saved_to_the_same_bytes_as_streams(tmp_path: Path) -> None:
    """There is no folder in the format whose name could depend on the path's, which may be any."""
    value = PtfileWorld().make(TensorPlan(StoragePlan(ptfile.int16, bytes(8)), 0, (4,), (1,)))
    ptfile.save(value, tmp_path / ".hidden", _use_new_zipfile_serialization=False)
    assert (tmp_path / ".hidden").read_bytes() == saved_by_ptfile(value)
    assert_same(value, torch.load(tmp_path / ".hidden"), {}, {})


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_tensors_that_are_computed_while_they_are_loaded_have_their_values() -> None:
    """Elements stand behind the pickle that wants them: PyTorch loads nested tensors from uninitialised memory here."""
    nested = torch.nested.nested_tensor([torch.arange(2.0), torch.arange(3.0)])
    loaded = ptfile.load(io.BytesIO(saved_by_torch({"first": torch.arange(9), "nested": nested})))
    assert [part.tolist() for part in loaded["nested"].unbind()] == [[0, 1], [0, 1, 2]]
    assert loaded["first"].tolist() == list(range(9))


def test_a_module_is_saved_again_with_its_source_code() -> None:
    """Classes of modules are persistent ids with their source, the first time that they are met."""
    data = saved_by_torch([torch.nn.Linear(2, 3), torch.nn.Linear(1, 1), torch.nn.ReLU()])
    loaded = ptfile.load(io.BytesIO(data), unknown="inert")
    assert loaded[0].weight.shape == (3, 2)
    assert saved_with_keys(loaded, keys_of(data)) == data
    with pytest.raises(ptfile.UnsafeError, match=r"torch\.nn\.modules\.linear\.Linear"):
        ptfile.load(io.BytesIO(data))


def test_the_quantized_dtypes_are_read() -> None:
    """Their storages have classes of their own."""
    theirs = torch.quantize_per_tensor(torch.tensor([-1.0, 0.0, 1.0, 2.0]), 0.1, 10, torch.quint8)
    ours = ptfile.load(io.BytesIO(saved_by_torch(theirs)))
    assert ours.dtype is dtypes.quint8
    assert ours.dequantize().tolist() == theirs.dequantize().tolist()

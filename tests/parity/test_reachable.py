"""What `storages="reachable"` saves is the same to PyTorch, but for the bytes that no tensor reaches."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ptfile
from tests.parity.test_bytes import saved
from tests.parity.test_legacy import pytorch_can_read
from tests.parity.worlds import PtfileWorld, trees


def tensors_in(value: Any) -> Iterator[Any]:
    """In the order of the tree; one that is there twice comes twice."""
    if isinstance(value, (ptfile.Tensor, torch.Tensor)):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def memory(tensor: Any) -> Any:
    """The bytes of its storage, to be written to."""
    if isinstance(tensor, ptfile.Tensor):
        return tensor.untyped_storage().data
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy()


def places(tensor: Any) -> Any:
    """Where the bytes of its elements are in its storage, in logical order."""
    found = np.full((), tensor.storage_offset(), np.int64)
    for size, step in zip(tensor.shape, tensor.stride(), strict=True):
        found = found[..., None] + np.arange(size) * step
    return (found[..., None] * tensor.element_size() + np.arange(tensor.element_size())).reshape(-1)


def contents(tensors: list[Any]) -> list[Any]:
    return [
        (
            str(tensor.dtype).partition(".")[2],
            tuple(tensor.shape),
            tensor.stride(),
            tensor.requires_grad,
            memory(tensor)[places(tensor)].tobytes() if tensor.numel() else b"",
        )
        for tensor in tensors
    ]


def flip(tensor: Any) -> None:
    """Write through a tensor: other bytes in place of each element's."""
    if tensor.numel():
        where = np.unique(places(tensor))
        memory(tensor)[where] ^= 0xFF


def three_sides(plan: Any, **options: Any) -> list[list[Any]]:
    """The tensors that were saved, and what PyTorch and ptfile load of them."""
    value = PtfileWorld().make(plan)
    data = saved(ptfile.save, value, storages="reachable", **options)
    ours = ptfile.load(io.BytesIO(data))
    can_read = options.get("_use_new_zipfile_serialization", True) or pytorch_can_read(plan)
    theirs = torch.load(io.BytesIO(data), weights_only=False) if can_read else ours
    found = list(tensors_in(ours))
    return [list(tensors_in(value)), found if theirs is ours else list(tensors_in(theirs)), found]


@given(plan=trees(), zipped=st.booleans(), protocol=st.integers(2, 5), choice=st.integers(0, 1000))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_tree_loads_with_equal_tensors_that_alias_as_before(
    plan: Any, zipped: bool, protocol: int, choice: int
) -> None:
    """What is written through one tensor is seen through the same others as before."""
    options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": zipped}
    sides = three_sides(plan, **options)
    before, theirs, ours = map(contents, sides)
    assert before == theirs == ours
    for tensors in {id(side): side for side in sides}.values():
        if tensors:
            flip(tensors[choice % len(tensors)])
    before, theirs, ours = map(contents, sides)
    assert before == theirs == ours


@given(plan=trees())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_byte_is_saved_in_front_of_or_behind_what_is_reached(plan: Any) -> None:
    """Every storage that comes back begins and ends with a byte of a tensor, unless it is in the tree itself."""
    sides = three_sides(plan)
    reached: dict[int, tuple[Any, list[int]]] = {}
    for tensor in sides[2]:
        entry = reached.setdefault(id(tensor.untyped_storage()), (tensor.untyped_storage(), []))
        if tensor.numel():
            entry[1].extend(places(tensor).tolist())
    for storage, found in reached.values():
        assert storage.nbytes() == (max(found) + 1 if found else 0)
        assert not found or min(found) == 0


@given(plan=trees(), protocol=st.integers(2, 5))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_of_what_was_saved_reachable_nothing_is_left_to_leave_out(plan: Any, protocol: int) -> None:
    """Saved again, reachable or whole, it is the same bytes."""
    value = PtfileWorld().make(plan)
    data = saved(ptfile.save, value, storages="reachable", pickle_protocol=protocol)
    again = ptfile.load(io.BytesIO(data))
    assert saved(ptfile.save, again, storages="reachable", pickle_protocol=protocol) == data
    assert saved(ptfile.save, again, pickle_protocol=protocol) == data


def test_flags_and_other_layouts_load_in_pytorch() -> None:
    """Conjugated and negated views, parameters, sparse, quantized and nested tensors over parts of storages."""
    z = torch.arange(20).to(torch.complex64)
    negated = torch.arange(20).to(torch.complex128)[3:6].conj().imag
    big = torch.arange(100.0)
    sparse = torch.sparse_coo_tensor(torch.arange(40).reshape(2, 20)[:, 3:5], big[50:52], (40, 40))
    nested = torch.nested.nested_tensor([big[:3], big[:5]], layout=torch.jagged)
    quantized = torch.quantize_per_tensor(big, 0.5, 1, torch.qint8)[20:30]
    channels = torch.quantize_per_channel(big.reshape(10, 10), big[1:11], torch.arange(30)[5:15], 0, torch.quint8)
    value = [z[3:6].conj(), negated, torch.nn.Parameter(big[7:9]), sparse, nested, quantized, channels]
    buffer = io.BytesIO()
    torch.save(value, buffer)
    loaded = ptfile.load(io.BytesIO(buffer.getvalue()))
    again = torch.load(io.BytesIO(saved(ptfile.save, loaded, storages="reachable")))
    assert torch.equal(again[0], value[0])
    assert again[0].is_conj()
    assert again[0].untyped_storage().nbytes() == 24
    assert torch.equal(again[1], value[1])
    assert again[1].is_neg()
    assert torch.equal(again[2], value[2])
    assert isinstance(again[2], torch.nn.Parameter)
    assert again[2].untyped_storage().nbytes() == 8
    assert torch.equal(again[3].to_dense(), sparse.to_dense())
    assert [part.tolist() for part in again[4].unbind()] == [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0, 4.0]]
    assert torch.equal(again[5].dequantize(), quantized.dequantize())
    assert again[5].untyped_storage().nbytes() == 10
    assert torch.equal(again[6].dequantize(), channels.dequantize())
    assert again[6].q_per_channel_zero_points().untyped_storage().nbytes() == 80

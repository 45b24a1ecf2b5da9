"""Ordinary tensors: every dtype and view, the same bytes, and loaded tensors that behave like any other."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import pickle
import weakref
from collections import OrderedDict
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, LEGACY, PYTORCH, again, described, loaded, np, saved, torch

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex32",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn_x2",
    "bits8",
    "bits16",
    "bits1x8",
    "bits2x4",
    "bits4x2",
]
VIEWS: dict[str, Any] = {
    "whole": torch.arange(12.0).reshape(3, 4),
    "transposed": torch.arange(12.0).reshape(3, 4).t(),
    "sliced": torch.arange(100)[10:90:7],
    "expanded": torch.arange(3.0).expand(4, 3),
    "overlapping": torch.arange(9.0).as_strided((3, 3), (1, 2), 1),
    "channels last": torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
    "zero dims": torch.tensor(3.5),
    "zero dims in the middle": torch.arange(5)[3],
    "empty": torch.empty(0),
    "empty of three dims": torch.empty(3, 0, 2),
    "empty view of a full storage": torch.arange(4.0)[2:2],
    "requires grad": torch.ones(2, requires_grad=True),
    "not a leaf": torch.ones(2, requires_grad=True) * 2,
    "conj": torch.tensor([1 + 2j, 3 - 4j]).conj(),
    "neg": torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
    "conj and neg": torch.tensor([1 + 2j, 3 - 4j]).conj().imag[1:],
    "real part": torch.tensor([1 + 2j, 3 - 4j]).real,
    "inference": torch.arange(3.0),
}


def filled(dtype: str) -> Any:
    kind = getattr(torch, dtype)
    size = torch.empty(0, dtype=kind).element_size()
    pattern = torch.arange(6 * size, dtype=torch.uint8) % (2 if dtype == "bool" else 251)
    tensor = torch.empty(0, dtype=kind)
    return tensor.set_(pattern.untyped_storage(), 0, (2, 3), (3, 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_dtype_survives(pair: Pair, dtype: str) -> None:
    """In both formats, saved by either and loaded by either."""
    value = filled(dtype)
    for options in FORMATS.values():
        if not options or value.dtype in torch.storage._dtype_to_storage_type_map():
            result = loaded(pair.reader, saved(pair.writer, value, **options))
            assert described(result) == described(value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_dtype_is_saved_to_the_same_bytes(lib: Any, dtype: str) -> None:
    """In the zip format."""
    value = {"tensor": filled(dtype), "dtype": getattr(torch, dtype)}
    assert saved(lib, value) == saved(PYTORCH, value)


@pytest.mark.parametrize("dtype", ["int1", "int4", "uint1", "uint7"])
def test_a_dtype_without_storage_is_refused(lib: Any, dtype: str) -> None:
    """A KeyError that names the dtype."""
    with pytest.raises(KeyError, match=f"torch.{dtype} is not recognized"):
        saved(lib, torch.empty(3, dtype=getattr(torch, dtype)))


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_survives(pair: Pair, name: str) -> None:
    """Shape, strides, offset, flags, and the whole storage behind it."""
    value = VIEWS[name]
    expected = described(value.detach().requires_grad_(value.requires_grad))
    for options in FORMATS.values():
        assert described(loaded(pair.reader, saved(pair.writer, value, **options))) == expected


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_is_saved_to_the_same_bytes(lib: Any, name: str) -> None:
    """In both formats and every binary protocol."""
    for options in FORMATS.values():
        for protocol in range(2, 6):
            arguments = {**options, "pickle_protocol": protocol}
            assert saved(lib, VIEWS[name], **arguments) == saved(PYTORCH, VIEWS[name], **arguments)


def test_a_view_keeps_its_whole_storage(lib: Any) -> None:
    """A slice of a thousand numbers is saved with all of them."""
    result = again(lib, torch.arange(1000)[:2])
    assert result.untyped_storage().nbytes() == 8000


def test_views_of_one_storage_share_it_again(pair: Pair) -> None:
    """What is written into one shows in the other."""
    numbers = torch.arange(10)
    for options in FORMATS.values():
        first, evens = loaded(pair.reader, saved(pair.writer, [numbers, numbers[::2]], **options))
        assert first.untyped_storage()._cdata == evens.untyped_storage()._cdata
        evens.zero_()
        assert first.tolist() == [0, 1, 0, 3, 0, 5, 0, 7, 0, 9]


def test_one_tensor_met_twice_is_one_object(lib: Any) -> None:
    """Identity in the tree is kept."""
    tensor = torch.ones(2)
    first, second = again(lib, [tensor, tensor])
    assert first is second


def test_one_storage_is_written_once(lib: Any) -> None:
    """A hundred views of a storage cost one record."""
    tensor = torch.zeros(10_000)
    assert len(saved(lib, [tensor[i:] for i in range(100)])) < 60_000


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_one_memory_as_two_dtypes_is_refused(lib: Any, options: Any) -> None:
    """PyTorch could not load it."""
    tensor = torch.arange(4.0)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        saved(lib, [tensor, tensor.view(torch.int32)], **options)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_storages_without_memory_may_have_two_dtypes(lib: Any, options: Any) -> None:
    """There is nothing that they could disagree about."""
    empty = torch.empty(0)
    first, second = loaded(lib, saved(lib, [empty, empty.view(torch.int32)], **options))
    assert (first.dtype, second.dtype) == (torch.float32, torch.int32)


def test_a_loaded_tensor_is_changed_in_place(pair: Pair) -> None:
    """It is ordinary memory of its own, without a link to the bytes it came from."""
    data = saved(pair.writer, torch.arange(4.0))
    buffer = io.BytesIO(data)
    result = pair.reader.load(buffer)
    result.add_(1).mul_(2)
    result[0] = 9
    assert result.tolist() == [9, 4, 6, 8]
    assert buffer.getvalue() == data


def test_two_loads_share_nothing(lib: Any) -> None:
    """Each load has its own memory."""
    data = saved(lib, torch.zeros(4))
    first, second = loaded(lib, data), loaded(lib, data)
    first.fill_(1)
    assert second.tolist() == [0, 0, 0, 0]


def test_the_file_may_go_when_it_is_loaded(lib: Any, tmp_path: Any) -> None:
    """Changing or removing it does not reach the tensors."""
    path = tmp_path / "t.pt"
    lib.save(torch.arange(4), path)
    result = lib.load(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    path.unlink()
    assert result.tolist() == [0, 1, 2, 3]


def test_resize_works_after_a_legacy_load(lib: Any) -> None:
    """The storage grows."""
    result = loaded(lib, saved(lib, torch.arange(4.0), **LEGACY)).resize_(100)
    assert (result.shape, result[:4].tolist()) == ((100,), [0, 1, 2, 3])


def test_resize_within_the_storage_works_after_a_zip_load(lib: Any) -> None:
    """A smaller shape, and back."""
    result = again(lib, torch.arange(6.0))
    assert result.resize_(2).tolist() == [0, 1]
    assert result.resize_(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_set_gives_a_loaded_tensor_another_storage(lib: Any) -> None:
    """And `.data` may be assigned."""
    result = again(lib, torch.arange(6.0))
    result.data = torch.ones(2)
    assert result.set_(torch.arange(3.0)).tolist() == [0, 1, 2]


def test_a_loaded_tensor_is_copied_pickled_and_shared(lib: Any) -> None:
    """deepcopy, pickle and share_memory_ work on it."""
    result = again(lib, torch.arange(3))
    assert copy.deepcopy(result).tolist() == [0, 1, 2]
    assert pickle.loads(pickle.dumps(result)).tolist() == [0, 1, 2]
    assert result.share_memory_().is_shared()


def test_a_loaded_tensor_is_a_writable_array(lib: Any) -> None:
    """numpy sees the same memory."""
    result = again(lib, torch.arange(3))
    result.numpy()[0] = 5
    assert result.tolist() == [5, 1, 2]


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_loaded_memory_is_aligned_like_any_other(lib: Any, options: Any) -> None:
    """To 64 bytes, as PyTorch's allocator does; fast kernels count on it."""
    for tensor in loaded(lib, saved(lib, [torch.ones(n, dtype=torch.uint8) for n in range(1, 200, 13)], **options)):
        assert tensor.data_ptr() % 64 == 0


def test_a_loaded_tensor_trains(lib: Any) -> None:
    """requires_grad is kept, gradients flow, and an optimizer steps it."""
    weight = again(lib, torch.ones(3, requires_grad=True))
    assert weight.is_leaf
    (weight * 2).sum().backward()
    torch.optim.SGD([weight], lr=0.5).step()
    assert weight.tolist() == [0, 0, 0]


def test_a_gradient_is_not_saved(lib: Any) -> None:
    """Only that one is wanted."""
    weight = torch.ones(2, requires_grad=True)
    weight.sum().backward()
    result = again(lib, weight)
    assert (result.requires_grad, result.grad) == (True, None)


@pytest.mark.parametrize("is_watched", [False, True])
def test_a_loaded_tensor_has_what_pytorch_leaves_on_it(lib: Any, is_watched: bool) -> None:
    """An empty dict of hooks, and whether it requires gradients; also where something watches all operators."""

    class Watching(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return function(*args, **(kwargs or {}))

    data = saved(lib, [torch.ones(2, requires_grad=True), torch.ones(2), torch.tensor(1)])
    with Watching() if is_watched else contextlib.nullcontext():
        values = loaded(lib, data)

    assert [(value._backward_hooks, value.requires_grad, value.is_leaf) for value in values] == [
        (OrderedDict(), grad, True) for grad in (True, False, False)
    ]


def test_hooks_are_not_saved(lib: Any) -> None:
    """There is a warning that says so."""
    weight = torch.ones(2, requires_grad=True)
    weight.register_hook(lambda grad: grad)
    with pytest.warns(UserWarning, match="backward hook .* on tensor will not be serialized"):
        data = saved(lib, weight)
    assert not loaded(lib, data)._backward_hooks


def test_attributes_of_a_tensor_are_saved(pair: Pair) -> None:
    """Also with weights_only; a tensor in an attribute shares its storage with the tree."""
    tensor = torch.arange(3.0)
    tensor.note, tensor.twin = "kept", tensor[1:]
    result, twin = loaded(pair.reader, saved(pair.writer, [tensor, tensor.twin]))
    assert type(result) is torch.Tensor
    assert result.note == "kept"
    assert result.twin is twin
    assert twin.untyped_storage()._cdata == result.untyped_storage()._cdata


def test_a_numpy_array_behind_a_tensor_is_saved_whole(lib: Any) -> None:
    """The storage of a tensor made from an array is the array's memory."""
    array = np.arange(6, dtype=np.int16)
    assert saved(lib, torch.from_numpy(array)[2:]) == saved(PYTORCH, torch.from_numpy(array)[2:])


def test_saving_leaves_the_tensor_alone(lib: Any) -> None:
    """Value, version and flags are as before, and nothing holds on to it."""
    tensor = torch.arange(3.0, requires_grad=True)
    version = tensor._version
    saved(lib, {"t": tensor})
    assert (tensor._version, tensor.requires_grad, tensor.tolist()) == (version, True, [0, 1, 2])
    gone = weakref.ref(tensor)
    del tensor
    gc.collect()
    assert gone() is None


def test_loading_holds_on_to_nothing(lib: Any) -> None:
    """A tensor that is dropped is freed."""
    result = again(lib, {"t": torch.ones(3)})
    gone = weakref.ref(result["t"])
    del result
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_many_tensors_keep_their_order_and_values(lib: Any, options: Any) -> None:
    """Keys past nine, where text order and number order differ."""
    value = {f"layer.{i}": torch.full((i % 5,), float(i)) for i in range(120)}
    assert described(loaded(lib, saved(lib, value, **options))) == described(value)


def test_a_large_tensor_survives(pair: Pair, tmp_path: Any) -> None:
    """Larger than any buffer on the way, through a path and through a stream."""
    value = torch.arange(3_000_000, dtype=torch.int32)
    pair.writer.save(value, tmp_path / "large.pt")
    assert torch.equal(pair.reader.load(tmp_path / "large.pt"), value)
    assert torch.equal(loaded(pair.reader, saved(pair.writer, value)), value)


def test_many_tensors_are_saved_to_the_same_bytes(lib: Any) -> None:
    """Of many shapes, some with a storage that another has, so that the numbers in the pickle grow long."""
    base = torch.arange(24.0)
    tree = torch.nn.Sequential(*[torch.nn.Linear(3, width) for width in range(1, 60)]).state_dict()
    for index in range(60):
        tree[f"view.{index}"] = base[index % 5 :]
        tree[f"count.{index}"] = torch.tensor(index)
        tree[f"gradient.{index}"] = torch.ones(2, 3, requires_grad=True)
        tree[f"again.{index}"] = tree[f"gradient.{index // 2}"]

    assert saved(lib, tree) == saved(PYTORCH, tree)
    assert saved(lib, dict(tree)) == saved(PYTORCH, dict(tree))


class Odd:
    """What no table of tensors has."""


def test_tensors_in_front_of_what_is_odd_are_saved_to_the_same_bytes(lib: Any) -> None:
    """An object, a class, a parameter, a subclass of dict: what is met behind them was met in front of them too."""
    base = torch.arange(4.0)
    for odd in (Odd(), Odd, torch.nn.Parameter(base), {1, 2}, torch.float16):
        tree = [base, torch.ones(3), odd, base[1:], torch.zeros(2, 0)]
        assert saved(lib, tree) == saved(PYTORCH, tree)

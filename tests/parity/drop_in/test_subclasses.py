"""Parameters, subclasses of Tensor and wrapper subclasses."""

from __future__ import annotations

import importlib
import pickle
from collections import OrderedDict
from typing import Any

import pytest

from tests.parity.drop_in.classes import Marked, MarkedParameter, Plain, WithOwnReduce, revive_own
from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, PYTORCH, again, described, loaded, saved, torch

TwoTensor: Any = importlib.import_module("torch.testing._internal.two_tensor").TwoTensor


def parameter(**attributes: Any) -> Any:
    made = torch.nn.Parameter(torch.arange(3.0))
    made.__dict__.update(attributes)
    return made


@pytest.mark.parametrize(
    "value",
    [
        parameter(),
        torch.nn.Parameter(torch.arange(3), requires_grad=False),
        parameter(tag=[1, 2], twin=torch.ones(1)),
        torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).t()),
        torch.nn.Parameter(torch.empty(2, 3, device="meta")),
        torch.nn.Parameter(torch.ones(2, dtype=torch.complex64).conj()),
        torch.nn.parameter.Buffer(torch.ones(2)),
    ],
    ids=["plain", "frozen", "with state", "view", "meta", "conj", "buffer"],
)
def test_parameters_survive(pair: Pair, value: Any) -> None:
    """With their attributes, also with weights_only, in both formats."""
    for options in FORMATS.values():
        data = saved(pair.writer, value, **options)
        assert described(loaded(pair.reader, data, weights_only=False)) == described(value)
        if not isinstance(value, torch.nn.parameter.Buffer) or type(value) is torch.Tensor:
            assert described(loaded(pair.reader, data)) == described(value)


def test_parameters_are_saved_to_the_same_bytes(lib: Any) -> None:
    """With state and without, tied and met twice."""
    weight = parameter()
    value = OrderedDict(first=weight, tied=weight, view=weight.data[1:], tagged=parameter(tag="t"))
    assert saved(lib, value) == saved(PYTORCH, value)


def test_tied_parameters_are_one_again(lib: Any) -> None:
    """The same object, not only the same memory."""
    weight = parameter()
    result = again(lib, {"encoder": weight, "decoder": weight})
    assert result["encoder"] is result["decoder"]


def test_a_parameter_and_its_data_share_memory_again(lib: Any) -> None:
    """Two tensors on one storage."""
    weight = parameter()
    first, second = again(lib, [weight, weight.data])
    assert first.untyped_storage()._cdata == second.untyped_storage()._cdata


def test_state_of_a_parameter_needs_permission_with_weights_only(lib: Any) -> None:
    """What its attributes hold is checked like everything else."""
    data = saved(lib, parameter(config=Plain(1)))
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL tests\.parity\.drop_in\.classes\.Plain was not an"):
        loaded(lib, data)
    with lib.safe_globals([Plain]):
        assert loaded(lib, data).config.value == 1


def test_an_uninitialized_parameter_survives(lib: Any) -> None:
    """That of a lazy module, with weights_only=False."""
    result = again(lib, torch.nn.LazyLinear(3).weight, weights_only=False)
    assert type(result) is torch.nn.UninitializedParameter


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_subclass_needs_permission_with_weights_only(lib: Any, options: Any) -> None:
    """Refused by name, then allowed."""
    value = torch.arange(3.0).as_subclass(Marked)
    value.note = "kept"
    data = saved(lib, value, **options)
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL tests\.parity\.drop_in\.classes\.Marked was not an"):
        loaded(lib, data)
    with lib.safe_globals([Marked]):
        result = loaded(lib, data)
    assert (type(result), result.note, result.tolist()) == (Marked, "kept", [0, 1, 2])


def test_subclasses_survive(pair: Pair) -> None:
    """With attributes, views and parameters of them, with weights_only=False."""
    base = torch.arange(6.0)
    first = base[1:].as_subclass(Marked)
    first.note = {"a": 1}
    value = [first, base, first.view(5, 1)]
    for options in FORMATS.values():
        result = loaded(pair.reader, saved(pair.writer, value, **options), weights_only=False)
        assert described(result) == described(value)


def test_a_subclass_of_parameter_comes_back_as_a_parameter(lib: Any) -> None:
    """PyTorch saves every parameter as a plain one."""
    assert type(again(lib, MarkedParameter(torch.ones(2)))) is torch.nn.Parameter


def test_subclasses_are_saved_to_the_same_bytes(lib: Any) -> None:
    """With attributes and without."""
    value = [torch.arange(3.0).as_subclass(Marked), MarkedParameter(torch.ones(2))]
    value[0].note = "n"
    assert saved(lib, value) == saved(PYTORCH, value)


def test_a_subclass_may_pickle_itself_in_its_own_way(pair: Pair) -> None:
    """Its `__reduce_ex__` is used, and the function it names needs permission."""
    data = saved(pair.writer, torch.arange(3.0).as_subclass(WithOwnReduce))
    assert loaded(pair.reader, data, weights_only=False).note == "own way"
    with pytest.raises(pickle.UnpicklingError, match="revive_own"):
        loaded(pair.reader, data)
    with pair.reader.safe_globals([revive_own]):
        assert type(loaded(pair.reader, data)) is WithOwnReduce


def test_a_wrapper_subclass_survives(pair: Pair) -> None:
    """A tensor without memory of its own, made of two others."""
    value = TwoTensor(torch.ones(2), torch.zeros(2))
    for options in FORMATS.values():
        data = saved(pair.writer, value, **options)
        result = loaded(pair.reader, data, weights_only=False)
        assert (type(result), result.a.tolist(), result.b.tolist()) == (TwoTensor, [1, 1], [0, 0])
        with pair.reader.safe_globals([TwoTensor]):
            assert type(loaded(pair.reader, data)) is TwoTensor


def test_wrapper_subclasses_are_saved_to_the_same_bytes(lib: Any) -> None:
    """The wrapper and its parts."""
    value = TwoTensor(torch.ones(2), torch.zeros(2))
    assert saved(lib, value) == saved(PYTORCH, value)


@pytest.mark.parametrize("location", ["meta", torch.device("meta"), {"cpu": "meta"}], ids=["text", "device", "dict"])
def test_a_wrapper_subclass_follows_map_location(lib: Any, location: Any) -> None:
    """The wrapper's own device moves with that of its parts."""
    data = saved(lib, TwoTensor(torch.ones(2), torch.zeros(2)))
    with lib.safe_globals([TwoTensor]):
        result = loaded(lib, data, map_location=location)
    assert result.a.device.type == "meta"
    if not isinstance(location, dict):
        assert result.device.type == "meta"

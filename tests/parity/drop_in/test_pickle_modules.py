"""Other picklers, and the protocols."""

from __future__ import annotations

import contextlib
import copyreg
import functools
import io
import pickle
from types import ModuleType
from typing import Any, ClassVar

import cloudpickle
import dill
import pytest

from tests.parity.drop_in.classes import Plain
from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, PYTORCH, described, loaded, raw_checkpoint, saved, torch

FACTOR = 7
TREE = {"w": torch.arange(4.0), "n": [1, "two", 3.0], "view": torch.arange(4.0)[1:]}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, -1])
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_every_binary_protocol_survives(pair: Pair, protocol: int, options: Any) -> None:
    """With weights_only=False, in both formats."""
    data = saved(pair.writer, TREE, pickle_protocol=protocol, **options)
    assert data == saved(PYTORCH, TREE, pickle_protocol=protocol, **options)
    assert described(loaded(pair.reader, data, weights_only=False)) == described(TREE)


@pytest.mark.parametrize("protocol", [0, 1])
def test_text_protocols_are_for_trees_without_storages(lib: Any, protocol: int) -> None:
    """Plain values can be written; with weights_only they are refused."""
    data = saved(lib, {"a": [1, "text"]}, pickle_protocol=protocol)
    assert data == saved(PYTORCH, {"a": [1, "text"]}, pickle_protocol=protocol)
    assert loaded(lib, data, weights_only=False) == {"a": [1, "text"]}


def test_protocol_0_saves_storages_that_cannot_be_loaded(lib: Any) -> None:
    """Its persistent ids are text; the error comes with the load."""
    data = saved(lib, torch.ones(1), pickle_protocol=0)
    assert data == saved(PYTORCH, torch.ones(1), pickle_protocol=0)
    with pytest.raises((AssertionError, RuntimeError, pickle.UnpicklingError)):
        loaded(lib, data, weights_only=False)


def test_protocol_3_is_warned_about_with_weights_only(pair: Pair) -> None:
    """It loads; the warning says that not every instruction is known."""
    data = saved(pair.writer, TREE, pickle_protocol=3)
    with pytest.warns(UserWarning, match="Detected pickle protocol 3 in the checkpoint"):
        result = loaded(pair.reader, data)
    assert described(result) == described(TREE)


@pytest.mark.parametrize("protocol", [4, 5])
def test_later_protocols_are_warned_about_with_weights_only(lib: Any, protocol: int) -> None:
    """And then refused, or loaded right; never loaded wrong."""
    data = saved(lib, TREE, pickle_protocol=protocol)
    results: list[Any] = []
    with (
        pytest.warns(UserWarning, match=f"Detected pickle protocol {protocol} in the checkpoint"),
        contextlib.suppress(pickle.UnpicklingError),
    ):
        results.append(loaded(lib, data))
    assert all(described(result) == described(TREE) for result in results)


def test_a_protocol_that_does_not_exist_is_refused(lib: Any) -> None:
    """By the pickle module."""
    with pytest.raises(ValueError, match="pickle protocol must be <= 5"):
        saved(lib, 1, pickle_protocol=6)


@pytest.mark.parametrize("module", [dill, cloudpickle], ids=lambda module: module.__name__)
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_other_picklers_write_the_same_bytes(lib: Any, module: Any, options: Any) -> None:
    """The pickler is theirs; what it writes for tensors is the same."""
    for protocol in range(2, 6):
        arguments = {"pickle_module": module, "pickle_protocol": protocol, **options}
        assert saved(lib, TREE, **arguments) == saved(PYTORCH, TREE, **arguments)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_dill_saves_and_loads_lambdas(pair: Pair, options: Any) -> None:
    """With what they close over, beside tensors."""
    offset = torch.ones(2)
    data = saved(pair.writer, {"f": lambda x: x * FACTOR + offset}, pickle_module=dill, **options)
    assert loaded(pair.reader, data, pickle_module=dill)["f"](1).tolist() == [8, 8]


def test_cloudpickle_saves_lambdas_that_pickle_loads(pair: Pair) -> None:
    """It has no unpickler of its own, and needs none."""
    data = saved(pair.writer, {"f": lambda x: x + 1, "t": torch.ones(2)}, pickle_module=cloudpickle)
    result = loaded(pair.reader, data, weights_only=False)
    assert (result["f"](1), result["t"].tolist()) == (2, [1, 1])


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_module_without_unpickler_cannot_load(lib: Any, options: Any) -> None:
    """cloudpickle as a pickle module of load is an AttributeError."""
    with pytest.raises(AttributeError, match="Unpickler"):
        loaded(lib, saved(lib, TREE, **options), pickle_module=cloudpickle)


@pytest.mark.parametrize("module", [pickle, dill])
def test_a_pickle_module_is_not_safe(lib: Any, module: Any) -> None:
    """With weights_only=True it is refused, whatever it is."""
    with pytest.raises(RuntimeError, match="Can not safely load weights when explicit pickle_module is specified"):
        loaded(lib, saved(lib, 1), pickle_module=module, weights_only=True)


def test_a_pickle_module_turns_weights_only_off(lib: Any) -> None:
    """Given one and nothing else, any object loads."""
    assert loaded(lib, saved(lib, Plain(3)), pickle_module=pickle).value == 3


def test_an_old_dill_is_refused(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On both ways, with the version that is needed."""
    data = saved(lib, 1)
    monkeypatch.setattr(dill, "__version__", "0.3.0")
    message = r"'torch' supports dill >= 0\.3\.1, but you have dill 0\.3\.0\. Please upgrade dill or switch to 'pickle'"
    with pytest.raises(ValueError, match=message):
        saved(lib, 1, pickle_module=dill)
    with pytest.raises(ValueError, match=message):
        loaded(lib, data, pickle_module=dill, weights_only=False)


def test_a_dill_of_unknown_version_is_warned_about(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And used."""
    monkeypatch.setattr(dill, "__version__", "head")
    with pytest.warns(UserWarning, match="'dill' module version string is malformed 'head'"):
        saved(lib, 1, pickle_module=dill)


class SwapPickler(pickle.Pickler):
    """Writes every Plain as a tuple."""

    def reducer_override(self, obj: Any) -> Any:
        return (tuple, (["swapped", obj.value],)) if isinstance(obj, Plain) else NotImplemented


class CountingUnpickler(pickle.Unpickler):
    """Counts the names it is asked for."""

    found: ClassVar[list[str]] = []

    def find_class(self, module: str, name: str) -> Any:
        self.found.append(name)
        return super().find_class(module, name)


def own_module() -> ModuleType:
    module = ModuleType("own_pickle")
    module.__dict__.update(vars(pickle))
    module.__dict__.update(__name__="own_pickle", Pickler=SwapPickler, Unpickler=CountingUnpickler)
    return module


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_the_pickler_and_unpickler_of_a_module_are_used(lib: Any, options: Any) -> None:
    """Its classes are derived from, so their hooks run."""
    CountingUnpickler.found.clear()
    data = saved(lib, [Plain(torch.ones(1)), 2], pickle_module=own_module(), **options)
    assert data == saved(PYTORCH, [Plain(torch.ones(1)), 2], pickle_module=own_module(), **options) or options
    result = loaded(lib, data, pickle_module=own_module())
    assert result[0][0] == "swapped"
    assert "_rebuild_tensor_v2" in CountingUnpickler.found


def test_an_unpickler_may_keep_names_in_its_own_hands(lib: Any) -> None:
    """find_class of the module's class decides; storage classes are PyTorch's."""
    module = own_module()

    class Renaming(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return functools.partial(Plain, "renamed") if name == "Gone" else super().find_class(module, name)

    module.__dict__["Unpickler"] = Renaming
    data = raw_checkpoint(b"\x80\x02cgone_module\nGone\n)R.")
    assert loaded(lib, data, pickle_module=module).value == "renamed"


def test_copyreg_is_used(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered for a class there holds in checkpoints."""
    monkeypatch.setitem(copyreg.dispatch_table, Plain, lambda obj: (Plain, ("by copyreg",)))
    assert loaded(lib, saved(lib, Plain(1)), weights_only=False).value == "by copyreg"


def test_a_pickler_that_fails_fails_the_save(lib: Any) -> None:
    """The error of an object's `__reduce__` is the caller's."""

    class Failing:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("on purpose")

    for options in FORMATS.values():
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            lib.save([torch.ones(1), Failing()], io.BytesIO(), **options)

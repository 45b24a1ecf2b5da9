"""Whole modules, state dicts, optimizers, and the other Python objects that people put into checkpoints."""

from __future__ import annotations

import functools
import importlib.util
import pickle
import sys
import warnings
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.parity.drop_in.classes import Net, Pairs, Plain, Point, Slotted, WithState
from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, LEGACY, PYTORCH, again, described, loaded, np, saved, torch

MODULES: dict[str, Any] = {
    "own class": Net(),
    "sequential": torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Linear(4, 2, bias=False)),
    "lstm": torch.nn.LSTM(3, 4, bidirectional=True),
    "lists": torch.nn.ModuleDict({"a": torch.nn.ModuleList([torch.nn.Linear(1, 1)]), "b": torch.nn.Embedding(3, 2)}),
    "parametrized": torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(2, 2)),
}


@pytest.mark.parametrize("name", [name for name in MODULES if name != "parametrized"])
def test_a_module_survives(pair: Pair, name: str) -> None:
    """With weights_only=False, in both formats: class, attributes and every tensor."""
    module = MODULES[name]
    for options in FORMATS.values():
        result = loaded(pair.reader, saved(pair.writer, module, **options), weights_only=False)
        assert type(result) is type(module)
        assert list(dict(result.named_modules())) == list(dict(module.named_modules()))
        assert described(result.state_dict()) == described(module.state_dict())


@pytest.mark.parametrize("name", [name for name in MODULES if name != "parametrized"])
def test_a_module_is_saved_to_the_same_bytes(lib: Any, name: str) -> None:
    """In both formats; the legacy one has the source of each class inside."""
    for options in FORMATS.values():
        assert saved(lib, MODULES[name], **options) == saved(PYTORCH, MODULES[name], **options)


def test_a_parametrized_module_is_refused(lib: Any) -> None:
    """PyTorch says to save its state dict."""
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        saved(lib, MODULES["parametrized"])


@pytest.mark.parametrize("name", MODULES)
def test_a_state_dict_survives(pair: Pair, name: str) -> None:
    """With weights_only, with its `_metadata`, and it loads into the module again."""
    state = MODULES[name].state_dict()
    for options in FORMATS.values():
        result = loaded(pair.reader, saved(pair.writer, state, **options))
        assert described(result) == described(state)
        assert result._metadata == state._metadata
        assert not any(MODULES[name].load_state_dict(result))


def test_a_module_computes_what_it_computed(pair: Pair) -> None:
    """Buffers that are not persistent come along in a whole module."""
    module = Net().eval()
    result = loaded(pair.reader, saved(pair.writer, module), weights_only=False)
    assert (result.note, result.scratch.tolist(), result.training) == ("a note", [1, 1], False)
    batch = torch.randn(5, 4)
    assert torch.equal(result(batch), module(batch))


def test_a_module_needs_permission_with_weights_only(lib: Any) -> None:
    """Its class is the first name that is refused."""
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL torch\.nn\.modules\.linear\.Linear was not an allowed"):
        again(lib, torch.nn.Linear(2, 2))


def test_an_allowed_module_loads_with_weights_only(lib: Any) -> None:
    """Each class inside must be allowed."""
    data = saved(lib, torch.nn.Sequential(torch.nn.ReLU()))
    with lib.safe_globals([torch.nn.Sequential, torch.nn.ReLU, set]):
        assert str(loaded(lib, data)[0]) == "ReLU()"


def test_a_legacy_module_with_source_never_loads_with_weights_only(lib: Any) -> None:
    """Its class is a persistent id there, and only storages may be that."""
    data = saved(lib, Net(), **LEGACY)
    with (
        lib.safe_globals([Net]),
        pytest.raises(pickle.UnpicklingError, match="Only persistent_load of storage is allowed"),
    ):
        loaded(lib, data)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "LBFGS"])
def test_state_dicts_of_optimizers_survive(lib: Any, name: str) -> None:
    """After a step, with weights_only; and the optimizer takes it back."""
    model = torch.nn.Linear(3, 2)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(torch.ones(4, 3)).pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    state = optimizer.state_dict()
    assert saved(lib, state) == saved(PYTORCH, state)
    for options in FORMATS.values():
        result = loaded(lib, saved(lib, state, **options))
        assert described(result) == described(state)
        optimizer.load_state_dict(result)


def test_a_whole_checkpoint_survives(pair: Pair) -> None:
    """Model, optimizer, scheduler, counters and random state in one dict, with weights_only."""
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    value = {
        "epoch": 3,
        "global_step": 2**40,
        "loss": 0.1,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2).state_dict(),
        "rng": torch.get_rng_state(),
        "names": {"a", "b"},
        "best": None,
        "flags": (True, False),
        "counts": Counter("hello"),
        "shape": torch.Size([1, 2]),
        "device": torch.device("cuda", 1),
        "dtype": torch.bfloat16,
        "layout": torch.strided,
        "raw": b"\0\xff",
        "array": bytearray(b"xyz"),
        "complex": 1 - 2j,
        "big": -(3**200),
    }
    for options in FORMATS.values():
        assert described(loaded(pair.reader, saved(pair.writer, value, **options))) == described(value)
    assert saved(pair.writer, value) == saved(PYTORCH, value)


OBJECTS: dict[str, Any] = {
    "object": Plain([1, torch.ones(2)]),
    "slots": Slotted(1, torch.ones(2)),
    "state": WithState(torch.ones(2)),
    "named tuple": Point(1, 2),
    "dict of a class": Pairs(a=1),
    "defaultdict": defaultdict(list, a=[1]),
    "partial": functools.partial(int, base=2),
    "array": np.arange(6, dtype=np.float32).reshape(2, 3),
    "numpy scalar": np.float64(1.5),
    "frozenset": frozenset([1, 2]),
    "path": Path("some/where"),
    "exception": ValueError("text"),
    "slice": slice(1, 2),
    "class": Plain,
    "function": functools.reduce,
    "packed": torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)]),
    "dataset": torch.utils.data.TensorDataset(torch.arange(3)),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_any_object_is_saved_to_the_same_bytes(lib: Any, name: str) -> None:
    """In both formats and all protocols."""
    for options in FORMATS.values():
        for protocol in range(2, 6):
            arguments = {**options, "pickle_protocol": protocol}
            assert saved(lib, OBJECTS[name], **arguments) == saved(PYTORCH, OBJECTS[name], **arguments)


@pytest.mark.parametrize("name", OBJECTS)
def test_any_object_loads_with_weights_only_false(lib: Any, name: str) -> None:
    """And is refused without."""
    for options in FORMATS.values():
        data = saved(lib, OBJECTS[name], **options)
        result = loaded(lib, data, weights_only=False)
        assert type(result) is type(OBJECTS[name])
        assert saved(PYTORCH, result) == saved(PYTORCH, OBJECTS[name])
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            loaded(lib, data)


def test_a_random_generator_survives(pair: Pair) -> None:
    """It goes on with the same numbers (zip format; PyTorch cannot read one in the legacy format)."""
    value = torch.Generator().manual_seed(3)
    result = loaded(pair.reader, saved(pair.writer, value), weights_only=False)
    assert torch.equal(torch.randn(4, generator=result), torch.randn(4, generator=value))


def test_setstate_of_an_object_is_called(lib: Any) -> None:
    """With weights_only=False it is Python's own unpickler."""
    assert again(lib, WithState(3), weights_only=False).was_set


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_lambdas_are_refused_by_pickle(lib: Any, options: Any) -> None:
    """The error is pickle's own."""
    with pytest.raises((AttributeError, pickle.PicklingError), match="Can't pickle"):
        saved(lib, {"f": lambda: 1}, **options)


def test_objects_that_cannot_be_pickled_raise_their_own_error(lib: Any) -> None:
    """A TypeError for a generator."""
    with pytest.raises(TypeError, match="cannot pickle 'generator' object"):
        saved(lib, (i for i in range(3)))


def test_recursive_trees_survive(lib: Any) -> None:
    """A list that holds itself, a dict that holds it."""
    value: list[Any] = [torch.ones(1)]
    value.append({"self": value})
    for options in FORMATS.values():
        result = loaded(lib, saved(lib, value, **options))
        assert result[1]["self"] is result


def test_an_ordered_dict_keeps_its_attributes(lib: Any) -> None:
    """Not only `_metadata`."""
    value = OrderedDict(a=torch.ones(1))
    value.note = "n"  # type: ignore[attr-defined]
    assert again(lib, value).note == "n"


SOURCE = "import torch\n\n\nclass Changing(torch.nn.Module):\n    def forward(self, x):\n        return x {}\n"


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module whose one class has its source in a file that the test may change."""
    path = tmp_path / "changing_net.py"
    path.write_text(SOURCE.format("+ 1"))
    spec = importlib.util.spec_from_file_location("changing_net", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "changing_net", module)
    monkeypatch.chdir(tmp_path)
    spec.loader.exec_module(module)
    return module


def change(module: ModuleType) -> None:
    Path(str(module.__file__)).write_text(SOURCE.format("+ 1000"))


def test_the_legacy_format_holds_the_source_of_modules(lib: Any, changing: ModuleType) -> None:
    """The class's source and its file."""
    data = saved(lib, changing.Changing(), **LEGACY)
    assert b"return x + 1\n" in data
    assert b"changing_net.py" in data


def test_the_zip_format_holds_no_source(lib: Any, changing: ModuleType) -> None:
    """Only the name of the class."""
    assert b"return x" not in saved(lib, changing.Changing())


def test_changed_source_is_warned_about(pair: Pair, changing: ModuleType) -> None:
    """A SourceChangeWarning that names the class; the object loads all the same."""
    data = saved(pair.writer, changing.Changing(), **LEGACY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded(pair.reader, data, weights_only=False)
    change(changing)
    message = r"source code of class 'changing_net\.Changing' has changed\. you can retrieve the original source"
    with pytest.warns(pair.reader.SourceChangeWarning, match=message):
        result = loaded(pair.reader, data, weights_only=False)
    assert type(result) is changing.Changing


def test_a_module_may_ask_for_a_patch_of_its_changes(lib: Any, changing: ModuleType, tmp_path: Path) -> None:
    """With `dump_patches` the difference is written into the working directory."""
    data = saved(lib, changing.Changing(), **LEGACY)
    change(changing)
    changing.Changing.dump_patches = True
    with pytest.warns(lib.SourceChangeWarning, match=r"Saved a reverse patch to Changing\.patch"):
        loaded(lib, data, weights_only=False)
    patch = (tmp_path / "Changing.patch").read_text()
    assert "-        return x + 1000" in patch
    assert "+        return x + 1" in patch


def test_a_class_without_source_is_warned_about(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is saved in the legacy format; it loads without a check."""
    space: dict[str, Any] = {"Module": torch.nn.Module, "__name__": "sourceless"}
    exec("class Sourceless(Module):\n    pass", space)
    module = ModuleType("sourceless")
    module.__dict__.update(space)
    monkeypatch.setitem(sys.modules, "sourceless", module)
    with pytest.warns(UserWarning, match="Couldn't retrieve source code for container of type Sourceless"):
        data = saved(lib, space["Sourceless"](), **LEGACY)
    assert type(loaded(lib, data, weights_only=False)) is space["Sourceless"]


def test_a_module_class_alone_is_captured_too(lib: Any) -> None:
    """A class of Module in the tree is a persistent id with its source in the legacy format."""
    data = saved(lib, [Net, Net], **LEGACY)
    assert b"A small model with every kind of state" in data
    assert loaded(lib, data, weights_only=False) == [Net, Net]

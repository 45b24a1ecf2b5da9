"""weights_only: what it lets pass, what it refuses and how it says so, and the environment's say in it."""

from __future__ import annotations

import io
import os
import pickle
from collections import Counter, OrderedDict
from typing import Any

import pytest

from tests.parity.drop_in.classes import CallsEval, CallsSystem, Plain
from tests.parity.drop_in.support import FORMATS, described, loaded, np, raw_checkpoint, saved, torch

FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
FORCE_NOT = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"

ALLOWED: dict[str, Any] = {
    "none": None,
    "booleans": [True, False],
    "integers": [0, 255, 256, 65536, -1, 2**31, -(2**31) - 1, 2**70, -(2**70), 3**400],
    "floats": [0.0, -0.0, 1.5, float("inf"), 5e-324],
    "complex": 1 - 2j,
    "text": ["", "text", "ünïcödé 日本", "\ud800", "x" * 300],
    "bytes": [b"abc", b"\xff\0", b"x" * 300],
    "bytearray": [bytearray(b""), bytearray(b"\xff")],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "lists": [[], [1], [[2], [3, [4]]]],
    "sets": [set(), {1, 2}],
    "dicts": [{}, {1: 2, (3, 4): "five"}, {None: True}],
    "ordered dict": OrderedDict([("b", 1), ("a", 2)]),
    "counter": Counter("hello"),
    "size": torch.Size([2, 3]),
    "devices": [torch.device("cpu"), torch.device("cuda", 1)],
    "dtypes": [torch.float32, torch.bool, torch.uint16, torch.float8_e4m3fn, torch.int3],
    "layouts": [torch.strided, torch.sparse_coo, torch.sparse_csr],
    "qschemes": [torch.per_tensor_affine, torch.per_channel_symmetric],
    "tensors": [torch.ones(2), torch.tensor(1), torch.nn.Parameter(torch.ones(1))],
}
REFUSED: dict[str, tuple[Any, str]] = {
    "an object": (Plain(1), "tests.parity.drop_in.classes.Plain"),
    "a class": (Plain, "tests.parity.drop_in.classes.Plain"),
    "a function": (torch.nn.functional.relu, "torch.nn.functional.relu"),
    "a builtin": (len, "len"),
    "eval": (CallsEval(), "eval"),
    "a frozenset": (frozenset([1]), "frozenset"),
    "empty bytes": (b"", "bytes"),
    "a slice": (slice(1), "slice"),
    "numpy": (np.arange(2), "numpy._core.multiarray._reconstruct"),
    "a module": (torch.nn.ReLU(), "torch.nn.modules.activation.ReLU"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_plain_data_loads(lib: Any, name: str) -> None:
    """In both formats, the same as without weights_only."""
    for options in FORMATS.values():
        data = saved(lib, ALLOWED[name], **options)
        assert described(loaded(lib, data, weights_only=True)) == described(ALLOWED[name])
        assert described(loaded(lib, data, weights_only=False)) == described(ALLOWED[name])


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_global_is_refused_by_name(lib: Any, name: str, options: Any) -> None:
    """An UnpicklingError with the name, how to allow it, and where to read more."""
    value, named = REFUSED[name]
    if name == "a module" and options:
        named = ""  # a persistent id there
    with pytest.raises(pickle.UnpicklingError) as caught:
        loaded(lib, saved(lib, value, **options))
    text = str(caught.value)
    assert text.startswith("Weights only load failed")
    assert "In PyTorch 2.6, we changed the default value of the `weights_only` argument" in text
    assert "Check the documentation of torch.load to learn more about types accepted by default" in text
    if named:
        assert (
            f"WeightsUnpickler error: Unsupported global: GLOBAL {named} was not an allowed global by default" in text
        )
        assert f"`torch.serialization.add_safe_globals([{named}])`" in text
        assert f"`torch.serialization.safe_globals([{named}])` context manager" in text
        assert "you have two options" in text


def test_nothing_is_run_when_something_is_refused(lib: Any, tmp_path: Any) -> None:
    """Not a word of the pickle's code."""
    path = tmp_path / "witness"

    class Touches:
        def __reduce__(self) -> Any:
            return (open, (str(path), "w"))

    with pytest.raises(pickle.UnpicklingError):
        loaded(lib, saved(lib, Touches()))
    assert not path.exists()


@pytest.mark.parametrize("module", ["os", "posix", "nt", "sys"])
def test_some_modules_are_blocked_for_good(lib: Any, module: str) -> None:
    """Even if their functions are allowed."""
    data = raw_checkpoint(f"\x80\x02c{module}\nsystem\nX\x04\x00\x00\x00true\x85R.".encode("latin1"))
    with (
        lib.safe_globals([os.system, (os.system, f"{module}.system")]),
        pytest.raises(pickle.UnpicklingError) as caught,
    ):
        loaded(lib, data)
    assert f"Trying to load unsupported GLOBAL {module}.system whose module {module} is blocked." in str(caught.value)
    assert "Please file an issue" not in str(caught.value)


def test_a_saved_call_of_the_shell_is_blocked(lib: Any) -> None:
    """os.system as pickle writes it."""
    with pytest.raises(pickle.UnpicklingError, match=r"whose module (posix|nt) is blocked"):
        loaded(lib, saved(lib, CallsSystem()))


RAW: dict[str, tuple[bytes, str]] = {
    "append to a tuple": (b"\x80\x02)K\x01a.", "Can only append to lists"),
    "extend a tuple": (b"\x80\x02)(K\x01K\x02e.", "Can only extend lists"),
    "items of a list": (b"\x80\x02]K\x01K\x01s.", "Can only SETITEM for dict"),
    "many items of a list": (b"\x80\x02](K\x01K\x01K\x02K\x02u.", "Can only SETITEMS for dict"),
    "state of a dtype": (b"\x80\x02ctorch\nfloat32\n}b.", "Can only build Tensor, Parameter, OrderedDict"),
    "new object of a function": (b"\x80\x02ccopy\ncopy\n)\x81.", "Unsupported global: GLOBAL copy.copy"),
    "new object of an instance": (b"\x80\x02ccollections\nOrderedDict\n)R)\x81.", "Can only create new object for"),
    "call of a result": (
        b"\x80\x02ccollections\nOrderedDict\n)R)R.",
        "Trying to call reduce for unrecognized function",
    ),
    "text as persistent id": (b"\x80\x02X\x01\0\0\0aQ.", "persistent_load id must be tuple or int"),
    "unknown persistent id": (b"\x80\x02X\x06\0\0\0module\x85Q.", "Only persistent_load of storage is allowed"),
    "an instance opcode": (b"\x80\x02(i__main__\nThing\n.", ""),
    "an extension opcode": (b"\x80\x02\x82\x01.", ""),
    "a text persistent id opcode": (b"\x80\x02P1\n.", ""),
}


@pytest.mark.parametrize("name", RAW)
def test_what_only_a_strange_pickle_does_is_refused(lib: Any, name: str) -> None:
    """An UnpicklingError that begins like all the others, with PyTorch's words for what is about allowed types."""
    pickled, part = RAW[name]
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed") as caught:
        loaded(lib, raw_checkpoint(pickled))
    assert part in str(caught.value)


def test_the_default_is_to_be_safe(lib: Any) -> None:
    """Unset, weights_only is True; None is unset too."""
    data = saved(lib, Plain(1))
    for arguments in ({}, {"weights_only": None}, {"weights_only": True}):
        with pytest.raises(pickle.UnpicklingError):
            loaded(lib, data, **arguments)
    assert loaded(lib, data, weights_only=False).value == 1


def test_weights_only_false_runs_what_the_file_says(lib: Any) -> None:
    """That is what it is for."""
    assert loaded(lib, saved(lib, CallsEval()), weights_only=False) == 2


@pytest.mark.parametrize("value", ["1", "y", "yes", "true", "TRUE", "Yes"])
def test_the_environment_forces_safety(lib: Any, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the argument says."""
    data = saved(lib, Plain(1))
    monkeypatch.setenv(FORCE, value)
    for arguments in ({}, {"weights_only": False}, {"weights_only": True}):
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            loaded(lib, data, **arguments)
    with pytest.raises(RuntimeError, match="Can not safely load weights when explicit pickle_module is specified"):
        loaded(lib, data, pickle_module=pickle, weights_only=False)


@pytest.mark.parametrize("value", ["1", "y", "yes", "true", "TRUE"])
def test_the_environment_forces_the_opposite(lib: Any, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a warning, and only where the argument is not given."""
    data = saved(lib, Plain(1))
    monkeypatch.setenv(FORCE_NOT, value)
    with pytest.warns(UserWarning, match=f"Environment variable {FORCE_NOT} detected, since the"):
        assert loaded(lib, data).value == 1
    with pytest.raises(pickle.UnpicklingError):
        loaded(lib, data, weights_only=True)
    assert loaded(lib, data, weights_only=False).value == 1


@pytest.mark.parametrize("value", ["0", "no", "false", "", "on", "2"])
def test_other_values_of_the_environment_say_nothing(lib: Any, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For both variables."""
    data = saved(lib, Plain(1))
    monkeypatch.setenv(FORCE, value)
    monkeypatch.setenv(FORCE_NOT, value)
    assert loaded(lib, data, weights_only=False).value == 1
    with pytest.raises(pickle.UnpicklingError):
        loaded(lib, data)


def test_the_environment_cannot_force_both(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """RuntimeError, before anything is read."""
    monkeypatch.setenv(FORCE, "1")
    monkeypatch.setenv(FORCE_NOT, "1")
    with pytest.raises(RuntimeError, match=f"Only one of `{FORCE}` or `{FORCE_NOT}` should be set, but both were set"):
        lib.load("there is no such file", weights_only=False)


def test_a_dict_that_holds_a_refused_object_is_refused_whole(lib: Any) -> None:
    """There is no half of a checkpoint."""
    with pytest.raises(pickle.UnpicklingError):
        loaded(lib, saved(lib, {"model": torch.ones(2), "config": Plain(1)}))


def test_a_failed_load_does_not_disturb_the_next(lib: Any) -> None:
    """From the same stream too."""
    buffer = io.BytesIO(saved(lib, Plain(torch.ones(1))))
    with pytest.raises(pickle.UnpicklingError):
        lib.load(buffer)
    buffer.seek(0)
    assert lib.load(buffer, weights_only=False).value.tolist() == [1]

"""Allowing classes and functions for weights_only."""

from __future__ import annotations

import io
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.classes import (
    CallsEval,
    CallsSystem,
    Pairs,
    Plain,
    Point,
    Reduced,
    Slotted,
    WithState,
    make_plain,
)
from tests.parity.drop_in.support import FORMATS, LEGACY, again, loaded, np, raw_checkpoint, saved, torch


@pytest.fixture(autouse=True)
def _nothing_allowed() -> None:
    torch.serialization.clear_safe_globals()  # what parts of PyTorch have added when they were imported


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_an_allowed_class_loads(lib: Any, options: Any) -> None:
    """Its dict is set."""
    lib.add_safe_globals([Plain])
    assert loaded(lib, saved(lib, Plain([1, 2]), **options)).value == [1, 2]


def test_slots_of_an_allowed_class_are_set(lib: Any) -> None:
    """One by one."""
    lib.add_safe_globals([Slotted])
    result = again(lib, Slotted("l", torch.ones(1)))
    assert (result.left, result.right.tolist()) == ("l", [1])


def test_setstate_of_an_allowed_class_is_called(lib: Any) -> None:
    """With what `__getstate__` gave."""
    lib.add_safe_globals([WithState])
    result = again(lib, WithState(3))
    assert (result.value, result.was_set) == (3, True)


def test_an_allowed_function_is_called(lib: Any) -> None:
    """And its result is not questioned further."""
    with pytest.raises(pickle.UnpicklingError, match="make_plain"):
        again(lib, Reduced())
    lib.add_safe_globals([make_plain])
    assert again(lib, Reduced()).value == 5


def test_an_allowed_builtin_loads_by_its_short_name(lib: Any) -> None:
    """`builtins` is not said in messages, but it is the module."""
    lib.add_safe_globals([slice])
    assert again(lib, slice(1, 2)) == slice(1, 2)
    with pytest.raises(pickle.UnpicklingError, match="GLOBAL eval was not"):
        again(lib, CallsEval())


def test_a_named_tuple_loads(lib: Any) -> None:
    """NEWOBJ with arguments."""
    lib.add_safe_globals([Point])
    assert again(lib, Point(1, torch.ones(1))).x == 1


def test_a_dict_of_an_allowed_class_gets_no_items(lib: Any) -> None:
    """Only dict, OrderedDict and Counter do; subclasses are refused."""
    lib.add_safe_globals([Pairs])
    with pytest.raises(pickle.UnpicklingError, match=r"Can only SETITEM for dict, collections.OrderedDict"):
        again(lib, Pairs(a=1))


def test_numpy_arrays_load_when_their_parts_are_allowed(lib: Any) -> None:
    """As PyTorch's documentation shows it."""
    parts = [np._core.multiarray._reconstruct, np.ndarray, np.dtype, type(np.dtype(np.float32))]
    data = saved(lib, np.arange(3, dtype=np.float32))
    with lib.safe_globals(parts):
        assert loaded(lib, data).tolist() == [0, 1, 2]
    with pytest.raises(pickle.UnpicklingError):
        loaded(lib, data)


def test_a_class_may_be_allowed_under_another_name(lib: Any) -> None:
    """(class, name): the name in the file stands for the class that is given."""
    data = raw_checkpoint(b"\x80\x02cold_module\nOldName\n)\x81}X\x05\0\0\0valueK\x03sb.")
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL old_module.OldName was not"):
        loaded(lib, data)
    with lib.safe_globals([(Plain, "old_module.OldName")]):
        result = loaded(lib, data)
    assert (type(result), result.value) == (Plain, 3)


def test_another_name_does_not_allow_the_own_one(lib: Any) -> None:
    """Only the name that is given."""
    lib.add_safe_globals([(Plain, "old_module.OldName")])
    with pytest.raises(pickle.UnpicklingError, match=r"classes\.Plain was not"):
        again(lib, Plain(1))


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ((Plain, "a", "b"), ValueError, "Expected tuple of length 2 .* but got tuple of length: 3"),
        (
            (Plain, 5),
            TypeError,
            "Expected second item in tuple to be str of callable full path, but got: <class 'int'>",
        ),
        ("text", AttributeError, "__module__"),
    ],
    ids=["three items", "number for a name", "text"],
)
def test_a_wrong_entry_fails_the_load(lib: Any, entry: Any, error: type[Exception], message: str) -> None:
    """When a name is looked up that PyTorch itself does not allow."""
    lib.add_safe_globals([entry])
    with pytest.raises(error, match=message):
        again(lib, Plain(1))


def test_the_list_is_what_was_added(lib: Any) -> None:
    """get_safe_globals gives it, in no order; adding twice changes nothing; clearing empties it."""
    assert lib.get_safe_globals() == []
    lib.add_safe_globals([Plain, make_plain])
    lib.add_safe_globals([Plain, (Slotted, "a.b")])
    assert set(lib.get_safe_globals()) == {Plain, make_plain, (Slotted, "a.b")}
    assert len(lib.get_safe_globals()) == 3
    lib.clear_safe_globals()
    assert lib.get_safe_globals() == []


def test_the_list_is_a_copy(lib: Any) -> None:
    """Changing it allows nothing."""
    lib.get_safe_globals().append(Plain)
    assert lib.get_safe_globals() == []


def test_a_block_allows_for_its_time(lib: Any) -> None:
    """Also nested, and beside what was allowed before."""
    lib.add_safe_globals([Slotted])
    with lib.safe_globals([Plain]):
        with lib.safe_globals([make_plain]):
            assert set(lib.get_safe_globals()) == {Slotted, Plain, make_plain}
        assert set(lib.get_safe_globals()) == {Slotted, Plain}
    assert lib.get_safe_globals() == [Slotted]


def test_a_block_ends_with_an_error_too(lib: Any) -> None:
    """Nothing stays allowed."""
    with pytest.raises(ZeroDivisionError), lib.safe_globals([Plain]):
        raise ZeroDivisionError
    assert lib.get_safe_globals() == []


def test_a_block_takes_away_what_was_allowed_before(lib: Any) -> None:
    """It removes its own entries, without looking who had added them too."""
    lib.add_safe_globals([Plain])
    with lib.safe_globals([Plain]):
        pass
    assert lib.get_safe_globals() == []


def test_either_list_is_the_same(lib: Any) -> None:
    """What is allowed through PyTorch's function holds for both, and the other way round."""
    torch.serialization.add_safe_globals([Plain])
    assert lib.get_safe_globals() == [Plain]
    assert again(lib, Plain(1)).value == 1
    lib.clear_safe_globals()
    assert torch.serialization.get_safe_globals() == []


def test_the_list_holds_for_all_threads(lib: Any) -> None:
    """It is the program's."""
    lib.add_safe_globals([Plain])
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(again(lib, Plain(1))))
    thread.start()
    thread.join()
    assert results[0].value == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_unsafe_globals_of_a_file_are_listed(lib: Any, protocol: int) -> None:
    """Without running anything; what is allowed is not among them."""
    value = [Plain(1), Slotted(), CallsSystem(), CallsEval(), torch.ones(1), Path()]
    data = saved(lib, value, pickle_protocol=protocol)
    unsafe = lib.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    here = "tests.parity.drop_in.classes"
    expected = {f"{here}.Plain", f"{here}.Slotted", "posix.system", "builtins.eval", "pathlib.PosixPath"}
    expected |= {"copyreg._reconstructor", "builtins.object"} & set(unsafe)
    assert set(unsafe) == expected
    with lib.safe_globals([Plain, Slotted]):
        assert {f"{here}.Plain", f"{here}.Slotted"} & set(
            lib.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
        ) == set()


def test_a_safe_file_has_no_unsafe_globals(lib: Any, tmp_path: Path) -> None:
    """By text, path, open file or buffer."""
    path = tmp_path / "safe.pt"
    lib.save({"a": torch.nn.Parameter(torch.ones(1)), "b": {1, 2}}, path)
    with path.open("rb") as file:
        for source in (str(path), path, file, io.BytesIO(path.read_bytes())):
            assert lib.get_unsafe_globals_in_checkpoint(source) == []


def test_only_zip_checkpoints_can_be_listed(lib: Any) -> None:
    """A legacy file and anything else is a ValueError."""
    for data in (saved(lib, 1, **LEGACY), b"text", b""):
        with pytest.raises(ValueError, match=r"Expected input to be a checkpoint returned by torch\.save"):
            lib.get_unsafe_globals_in_checkpoint(io.BytesIO(data))


def test_later_protocols_cannot_be_listed(lib: Any) -> None:
    """An UnpicklingError names the instruction."""
    with pytest.raises(pickle.UnpicklingError, match="Unsupported operand 149"):
        lib.get_unsafe_globals_in_checkpoint(io.BytesIO(saved(lib, Plain(1), pickle_protocol=4)))


def test_the_message_s_advice_works(lib: Any) -> None:
    """Allow what the error names, until it loads."""
    data = saved(lib, [Plain(Slotted(1, WithState(2)))])
    known = {kind.__name__: kind for kind in (Plain, Slotted, WithState)}
    for _ in range(3):
        with pytest.raises(pickle.UnpicklingError) as caught:
            loaded(lib, data)
        named = str(caught.value).split("add_safe_globals([")[1].split("])")[0]
        lib.add_safe_globals([known[named.rpartition(".")[2]]])
    assert loaded(lib, data)[0].value.right.value == 2

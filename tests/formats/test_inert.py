"""Inert records: everything a file says about an object, without its class, and back to the same bytes."""

from __future__ import annotations

import dataclasses
import enum
import io
import pickle
from typing import Any, NamedTuple

import pytest

import ptfile
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import InertName


class Plain:
    def __init__(self) -> None:
        self.numbers = [1, 2]
        self.weight = ptfile.arange(3)


class Slotted:
    __slots__ = ("a", "b")

    a: int
    b: str


class ListOf(list):  # type: ignore[type-arg]
    pass


class DictOf(dict):  # type: ignore[type-arg]
    pass


class Colour(enum.Enum):
    RED = 3


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass
class Config:
    lr: float
    layers: list[int]


class Outer:
    class Inner:
        pass


class WithSetter:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Plain, (), {"numbers": [3]}, None, None, set_state)


def set_state(target: Any, state: Any) -> None:
    target.__dict__.update(state)


def slotted() -> Slotted:
    value = Slotted()
    value.a, value.b = 1, "two"
    return value


def list_of() -> ListOf:
    value = ListOf([1, 2, 3])
    value.note = "kept"  # type: ignore[attr-defined]
    return value


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    return buffer.getvalue()


def inert(value: Any, **options: Any) -> Any:
    return ptfile.load(io.BytesIO(saved(value, **options)), unknown="inert")


OBJECTS: list[Any] = [
    Plain(),
    slotted(),
    list_of(),
    DictOf(a=1, b=2),
    Colour.RED,
    Point(1, ptfile.zeros(2)),
    Config(0.1, [1, 2]),
    Outer.Inner(),
    [Outer.Inner, Outer.Inner(), Outer],
    Plain,
    len,
    WithSetter(),
    ValueError("wrong", 3),
    [Plain(), Plain()],
    {"a": object()},
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_a_record_is_saved_to_the_bytes_it_came_from(value: Any, protocol: int) -> None:
    """`save(load(f, unknown="inert")) == f`, without the class."""
    data = saved(value, pickle_protocol=protocol)
    record = ptfile.load(io.BytesIO(data), unknown="inert")
    assert saved(record, pickle_protocol=protocol) == data


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_an_unknown_class_is_refused_unless_asked_for(value: Any) -> None:
    """The error names the class and says what to do."""
    with pytest.raises(ptfile.UnsafeError, match="unknown='inert'"):
        ptfile.load(io.BytesIO(saved(value)))


def test_attributes_and_items_are_reached_by_their_names() -> None:
    """`record.name` and `record[key]` give what is inside."""
    record = inert(Plain())
    assert record.inert_class == f"{__name__}.Plain"
    assert record.numbers == [1, 2]
    assert record.weight.tolist() == [0, 1, 2]
    assert inert(slotted()).b == "two"
    assert list(inert(list_of())) == [1, 2, 3]
    assert inert(list_of()).note == "kept"
    assert inert(DictOf(a=1, b=2))["b"] == 2
    assert inert(Colour.RED).inert_arguments == (3,)
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        record.missing


def test_a_record_is_printed_readably_and_briefly() -> None:
    """Class and attributes in a line, however large or round in circles the object is."""
    value = Plain()
    value.numbers = list(range(100_000))
    value.me = value  # type: ignore[attr-defined]
    text = repr(inert(value))
    assert text.startswith(f"<inert {__name__}.Plain(")
    assert "numbers=list of 100000" in text
    assert len(text) < 300


def test_identity_is_kept() -> None:
    """One object that is met twice is one record; a record can contain itself."""
    shared = Plain()
    shared.me = shared  # type: ignore[attr-defined]
    first, second = inert([shared, shared])
    assert first is second
    assert first.me is first


def test_a_class_by_itself_is_a_name() -> None:
    """It compares by name, and its instances say that they are its."""
    kind, record = inert([Plain, Plain()])
    assert isinstance(kind, InertName)
    assert str(kind) == f"{__name__}.Plain"
    assert record.inert_target is kind
    assert type(record) is InertRecord


def test_nothing_of_a_record_can_be_called() -> None:
    """Neither the name nor the record: there is nothing behind them."""
    kind, record = inert([Plain, Plain()])
    for thing in (kind, record):
        with pytest.raises(TypeError):
            thing()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


def test_a_call_is_kept_and_not_made(capsys: pytest.CaptureFixture[str]) -> None:
    """The function's name and its arguments are there to be read; nothing ran."""
    record = inert(Evil())
    assert record.inert_class == "__builtin__.print"
    assert record.inert_arguments == ("executed",)
    assert capsys.readouterr().out == ""


def test_weights_only_false_runs_the_file_and_builds_the_objects() -> None:
    """The one documented way to get real objects: classes are imported, tensors are ptfile's."""
    loaded = ptfile.load(io.BytesIO(saved(Plain())), weights_only=False)
    assert isinstance(loaded, Plain)
    assert loaded.weight.tolist() == [0, 1, 2]


def test_other_pickle_modules_refuse_inert_names() -> None:
    """They would write the stand-in class itself, which is not what the file said."""
    import cloudpickle

    with pytest.raises(ptfile.UnsupportedError):
        saved(inert(Plain()), pickle_module=cloudpickle)


def test_two_states_for_one_object_are_an_error() -> None:
    """No pickler writes that, and one of them would be lost."""
    data = b"\x80\x02c__main__\nX\n)\x81}b}b."
    from ptfile.formats.pickles import SafeRunner
    from ptfile.machine.vm import Python2Text

    with pytest.raises(ptfile.FormatError, match="two states"):
        SafeRunner(ptfile.Limits(), "inert", Python2Text()).run(data, lambda pid: pid)


def test_the_state_dict_of_a_pickled_module_has_pytorch_s_names() -> None:
    """Parameters, then persistent buffers, then the submodules', by dotted names; None and transient ones left out."""

    def module(**members: Any) -> InertRecord:
        record = InertRecord(InertName("torch.nn", "Module"), (), "new")
        empty: dict[str, Any] = {
            "_parameters": {},
            "_buffers": {},
            "_modules": {},
            "_non_persistent_buffers_set": set(),
        }
        record.inert_state = {**empty, **members}
        return record

    weight = ptfile.Parameter(ptfile.ones(2))
    inner = module(
        _parameters={"weight": weight, "bias": None}, _buffers={"mean": ptfile.zeros(1), "tmp": ptfile.zeros(1)}
    )
    inner.inert_state["_non_persistent_buffers_set"] = {"tmp"}
    outer = module(_modules={"0": inner, "act": None}, _buffers={"steps": ptfile.tensor(3)})
    weights = ptfile.state_dict(outer)
    assert list(weights) == ["steps", "0.weight", "0.mean"]
    assert type(weights["0.weight"]) is ptfile.Tensor
    assert weights["0.weight"].untyped_storage() is weight.untyped_storage()
    assert outer.__getattr__("0").weight is weight


def test_the_state_dict_of_a_module_that_contains_itself_is_an_error() -> None:
    """Not an endless walk."""
    record = InertRecord(InertName("torch.nn", "Module"), (), "new")
    record.inert_state = {"_parameters": {}, "_buffers": {}, "_modules": {"me": record}}
    with pytest.raises(ptfile.FormatError, match="contains itself"):
        ptfile.state_dict(record)


def test_the_state_dict_of_what_is_no_module_is_refused() -> None:
    """With the name of what it is."""
    with pytest.raises(ptfile.UnsupportedError, match="Plain"):
        ptfile.state_dict(inert(Plain()))


def test_pickle_itself_is_not_confused_by_what_a_save_leaves() -> None:
    """Dtypes and names still pickle and copy as themselves after ptfile saved them as PyTorch's."""
    saved([ptfile.float32, ptfile.zeros(1, dtype=ptfile.float8_e5m2)])
    assert pickle.loads(pickle.dumps(ptfile.float32)) is ptfile.float32
    tensor = pickle.loads(pickle.dumps(ptfile.ones(2, dtype=ptfile.bfloat16)))
    assert tensor.tolist() == [1.0, 1.0]

"""Values of Python's library: what is saved comes back, and what no pickler writes is refused."""

from __future__ import annotations

import argparse
import array
import datetime
import decimal
import fractions
import io
import pathlib
import pickle
import types
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.formats.pickles import SafeRunner
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text


def round_trip(value: Any, **options: Any) -> Any:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    buffer.seek(0)
    return ptfile.load(buffer)


def run(data: bytes) -> Any:
    return SafeRunner(Limits(), "error", Python2Text()).run(data, lambda pid: pid)[0]


def with_attributes() -> OrderedDict[str, int]:
    value = OrderedDict(a=1, b=2)
    value._metadata = OrderedDict(version=1)  # type: ignore[attr-defined]
    return value


VALUES: list[Any] = [
    b"",
    b"bytes \xff",
    bytearray(b"abc"),
    bytearray(),
    1 - 2j,
    {1, "two", (3, 4)},
    frozenset({1, 2}),
    range(1, 10, 3),
    slice(None, 5, 2),
    Ellipsis,
    NotImplemented,
    [int, float, str, list, dict, tuple, set, OrderedDict],
    OrderedDict([("b", 1), ("a", 2)]),
    Counter("abracadabra"),
    defaultdict(list, a=[1]),
    defaultdict(None, {"x": 1}),
    deque([1, 2, 3]),
    deque([1, 2, 3], maxlen=3),
    array.array("d", [1.5, 2.5]),
    array.array("i", []),
    datetime.datetime(2024, 2, 29, 12, 30, 15, 123456),  # noqa: DTZ001
    datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc),
    datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "X")),
    datetime.date(1999, 12, 31),
    datetime.time(23, 59, 59),
    datetime.timedelta(days=-1, seconds=5, microseconds=7),
    decimal.Decimal("-1.10"),
    fractions.Fraction(-3, 7),
    uuid.UUID("12345678-1234-5678-1234-567812345678"),
    pathlib.PurePosixPath("/a/b"),
    pathlib.PureWindowsPath("C:\\x"),
    pathlib.Path("relative/name"),
    argparse.Namespace(lr=0.1, layers=[1, 2]),
    types.SimpleNamespace(a=1),
    {(1, "a"): 2, None: 3, True: 4, 1.5: 5, frozenset({1}): 6, b"k": 7},
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{str(value)[:20]}")
def test_a_value_comes_back_as_it_was(value: Any, protocol: int) -> None:
    """Type and value, in every protocol."""
    loaded = round_trip(value, pickle_protocol=protocol)
    assert type(loaded) is type(value)
    assert loaded == value
    for attribute in ("maxlen", "default_factory", "typecode", "tzinfo"):
        assert getattr(loaded, attribute, None) == getattr(value, attribute, None)


def test_attributes_of_dicts_are_kept() -> None:
    """`state_dict()._metadata` is an attribute of an OrderedDict."""
    loaded = round_trip(with_attributes())
    assert loaded._metadata == OrderedDict(version=1)


NUMPY: list[Any] = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.array([[1, 2]], np.uint8)[:, ::-1],
    np.array(3.5),
    np.zeros((0, 3), np.complex64),
    np.array(["a", "bcd"]),
    np.array([b"a", b"bcd"]),
    np.array(["2024-01-01"], "M8[D]"),
    np.array([5], "m8[ms]"),
    np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8")]),
    np.array([True, False]),
    np.float64(1.5),
    np.int16(-3),
    np.bool_(True),
    np.str_("text"),
    np.datetime64("2024-01-01"),
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", NUMPY, ids=lambda value: f"{value.dtype}-{value.shape}")
def test_numpy_values_come_back_as_they_were(value: Any, protocol: int) -> None:
    """Arrays and scalars of every kind of plain value, with dtype and order."""
    loaded = round_trip(value, pickle_protocol=protocol)
    assert type(loaded) is type(value)
    assert loaded.dtype == value.dtype
    np.testing.assert_array_equal(loaded, value)
    assert loaded.flags.f_contiguous == np.ascontiguousarray(value).flags.f_contiguous or value.flags.f_contiguous


def test_a_numpy_array_met_twice_is_one_array() -> None:
    """Identity is kept, as in PyTorch."""
    shared = np.arange(3)
    first, second = round_trip([shared, shared])
    assert first is second


@pytest.mark.parametrize(
    "dtype", [np.dtype("f4"), np.dtype(">i2"), np.dtype([("a", "u1")]), np.dtype("M8[s]")], ids=str
)
def test_numpy_dtypes_come_back(dtype: np.dtype[Any]) -> None:
    """A dtype as a value of its own."""
    assert round_trip(dtype) == dtype


def call(name: str, *arguments: Any) -> bytes:
    """A pickle that calls a global with plain arguments."""
    module, _, function = name.rpartition(".")
    body = pickle.dumps(arguments, 2)[2:-1]  # without PROTO and STOP
    return b"\x80\x02c" + f"{module}\n{function}\n".encode() + body + b"R."


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("builtins.bytearray", (10**12,)),  # would allocate
        ("builtins.bytes", (10**12,)),
        ("_codecs.encode", ("abc", "rot13")),
        ("_codecs.encode", ("abc", "zlib_codec")),
        ("builtins.set", (range(3),)),
        ("builtins.complex", ("1+2j",)),
        ("builtins.range", (1, 2)),
        ("collections.Counter", ({"a": "x"},)),
        ("collections.Counter", (["a"],)),
        ("collections.OrderedDict", ([1, 2],)),
        ("collections.defaultdict", (slice,)),
        ("collections.deque", ([], -1)),
        ("array.array", ("x", [])),
        ("array.array", ("i", 5)),
        ("datetime.datetime", (2024, 1, 1)),
        ("datetime.datetime", (b"short",)),
        ("datetime.date", (b"\x00\x00\x00\x00",)),  # no such date
        ("datetime.timedelta", (10**18, 0, 0)),
        ("decimal.Decimal", (1,)),
        ("decimal.Decimal", ("not a number",)),
        ("fractions.Fraction", (1, 0)),
        ("fractions.Fraction", ("1/0",)),
        ("pathlib.PurePosixPath", (1,)),
        ("types.SimpleNamespace", (1,)),
        ("numpy.dtype", ("O8", False, True)),
        ("numpy.dtype", ("f4,f4", False, True)),
        ("numpy.dtype", ("V999999999999", False, True)),
        ("numpy.core.multiarray._reconstruct", (int, (0,), b"b")),
        ("numpy.core.multiarray._reconstruct", (np.ndarray, (10**12,), b"b")),
        ("numpy.core.multiarray.scalar", (np.dtype("f8"), b"abc")),
        ("numpy._core.numeric._frombuffer", (b"abcd", np.dtype("f4"), (10**6, 10**6), "C")),
        ("torch.Size", (["a"],)),
        ("torch.device", (1,)),
        ("torch.serialization._get_layout", ("torch.nothing",)),
        ("builtins.getattr", (int, "__class__")),
    ],
)
def test_calls_that_no_pickler_writes_are_refused(name: str, arguments: tuple[Any, ...]) -> None:
    """Builders take what `__reduce__` gives and nothing else: an error of ptfile's, and nothing allocated."""
    with pytest.raises(ptfile.PtfileError):
        run(call(name, *arguments))


def array_with_state(state: Any) -> bytes:
    start = pickle.dumps(np.zeros(0, "b"), 2)
    head = start[: start.index(b"R", start.index(b"_reconstruct")) + 1]
    return head + pickle.dumps(state, 2)[2:-1] + b"b."


@pytest.mark.parametrize(
    "state",
    [
        (1, (3,), np.dtype("f4"), False, b"too short"),
        (1, (-1,), np.dtype("f4"), False, b""),
        (1, (2**62, 2**62), np.dtype("u1"), False, b""),
        (1, (1,) * 65, np.dtype("u1"), False, b"x"),
        (1, (1,), "f4", False, b"abcd"),
        (1, (1,), np.dtype("f4"), False, ["an object"]),
        (1, (True,), np.dtype("u1"), False, b"x"),
        (1, (1,), np.dtype("u1"), False),
        "no tuple",
    ],
)
def test_a_state_that_does_not_fit_its_array_is_refused(state: Any) -> None:
    """numpy is never handed a state that it would trust wrongly."""
    with pytest.raises(ptfile.PtfileError):
        run(array_with_state(state))


@pytest.mark.parametrize(
    "state",
    [
        (3, "<", None, None, None, 8, -1, 0),  # a size of its own for f4
        (3, "!", None, None, None, -1, -1, 0),
        (9, "<", None, None, None, -1, -1, 0),
        (3, "<", None, ("a",), {"a": (np.dtype("f4"), 0)}, 4, 1, 0),
        (3, "<", None, None, None, -1, -1),
    ],
)
def test_a_state_that_does_not_fit_its_dtype_is_refused(state: Any) -> None:
    """The state of a dtype of plain values says its byte order, and nothing more."""
    head = b"\x80\x02cnumpy\ndtype\n" + pickle.dumps(("f4", False, True), 2)[2:-1] + b"R"
    with pytest.raises(ptfile.TensorError):
        run(head + pickle.dumps(state, 2)[2:-1] + b"b.")


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"a": (np.dtype("f8"), 1)}, ("a",)),  # reaches outside
        ({"a": (np.dtype("f4"), -4)}, ("a",)),
        ({"a": (np.dtype("f4"), 0)}, ("b",)),
        ({"a": ("f4", 0)}, ("a",)),
        ({"a": (np.dtype("f4"),)}, ("a",)),
    ],
)
def test_fields_outside_a_structured_dtype_are_refused(fields: Any, names: Any) -> None:
    """Each field lies inside the size that the dtype has."""
    head = b"\x80\x02cnumpy\ndtype\n" + pickle.dumps(("V8", False, True), 2)[2:-1] + b"R"
    state = (3, "|", None, names, fields, 8, 1, 16)
    with pytest.raises(ptfile.TensorError):
        run(head + pickle.dumps(state, 2)[2:-1] + b"b.")


@pytest.mark.parametrize("name", ["__class__", "__setitem__", "move_to_end"])
def test_attributes_that_would_hide_methods_are_refused(name: str) -> None:
    """An OrderedDict from a file keeps its own methods."""
    value = with_attributes()
    vars(value)[name] = "mine"
    with pytest.raises(ptfile.UnsafeError):
        round_trip(value)


def test_arrays_of_objects_are_refused_and_can_be_looked_into() -> None:
    """They hold whatever the pickle holds: an error, or with unknown="inert" the array."""
    value = np.array([1, "two", None], dtype=object)
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    buffer.seek(0)
    with pytest.raises(ptfile.UnsafeError):
        ptfile.load(buffer)
    buffer.seek(0)
    assert ptfile.load(buffer, unknown="inert").tolist() == [1, "two", None]


def test_a_uuid_without_its_number_can_be_used_all_the_same() -> None:
    """No pickler writes one; it still is a key, and has a text."""
    bare = b"cuuid\nUUID\n)\x81"
    assert run(b"\x80\x02}" + bare + b"Ns.") == {uuid.UUID(int=0): None}
    assert str(run(b"\x80\x02" + bare + b".")) == "00000000-0000-0000-0000-000000000000"


def test_the_encoding_of_a_bytearray_is_not_looked_up() -> None:
    """Python would import the module `encodings.buffers`, or whatever the file says."""
    call = b"\x80\x02c__builtin__\nbytearray\nX\x02\x00\x00\x00\xc3\xa9X%c\x00\x00\x00%s\x86R."
    assert run(call % (7, b"latin-1")) == bytearray(b"\xe9")
    with pytest.raises(ptfile.UnsafeError, match="bytearray"):
        run(call % (7, b"buffers"))


def test_a_fraction_of_enormous_integers_is_refused() -> None:
    """As are such integers themselves: to reduce the fraction takes twelve seconds for a megabyte."""
    length = 1 << 20
    number = b"\x8b" + length.to_bytes(4, "little") + b"\x01" * length
    with pytest.raises(ptfile.LimitError) as caught:
        run(b"\x80\x02cfractions\nFraction\n" + number + number + b"\x86R.")
    assert caught.value.limit == "integer_digits"
    assert run(b"\x80\x02cfractions\nFraction\nK\x04K\x06\x86R.") == fractions.Fraction(2, 3)

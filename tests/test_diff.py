"""`ptfile.diff`: what counts as a difference, of every kind of value."""

from __future__ import annotations

import io
import math
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptfile
from ptfile.tensors import comparison, pieces
from ptfile.tensors.comparison import Tolerance, compare
from ptfile.tensors.quantized import PerChannel, PerTensor, QuantizedTensor
from ptfile.tensors.sparse import SparseTensor
from tests.golden.corpus import Corpus, files


def saved(value: object, **options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    buffer.seek(0)
    return buffer


def differences(a: object, b: object, **options: Any) -> list[tuple[Any, ...]]:
    """(name, kind, elements that differ, largest difference) of each."""
    found = ptfile.diff(saved(a), saved(b), **options)
    assert found.same == (not found.differences)
    return [(one.name, one.kind, one.differing, one.max_abs) for one in found.differences]


def quantized(scale: float, values: list[int]) -> QuantizedTensor:
    storage = ptfile.tensor(values, dtype=ptfile.int8).untyped_storage()
    return QuantizedTensor(storage, ptfile.qint8, 0, (len(values),), (1,), PerTensor(scale, 0))


def sparse(index: int, value: float) -> SparseTensor:
    return SparseTensor(ptfile.tensor([[index]]), ptfile.tensor([value]), (3,))


def in_four_bits(first: int) -> QuantizedTensor:
    storage = ptfile.tensor([first, 0], dtype=ptfile.uint8).untyped_storage()
    channels = PerChannel(ptfile.ones(1, dtype=ptfile.float32), ptfile.zeros(1, dtype=ptfile.float32), 0)
    return QuantizedTensor(storage, ptfile.quint4x2, 0, (1, 4), (4, 1), channels)


def state_dict(version: int, **more: object) -> OrderedDict[str, Any]:
    state = OrderedDict(weight=ptfile.ones(2))
    state._metadata = {"": {"version": version}, **more}  # type: ignore[attr-defined]
    return state


def test_the_versions_of_a_state_dict_are_compared() -> None:
    """They are attributes of the dict, which listings leave out; one that is in one file alone is, too."""
    assert differences({"net": state_dict(1)}, {"net": state_dict(1)}) == []
    assert differences({"net": state_dict(1)}, {"net": state_dict(2)}) == [
        ("net._metadata[''].version", "value", None, None)
    ]
    assert differences(state_dict(1, layer={"version": 3}), state_dict(1)) == [
        ("_metadata.layer.version", "removed", None, None)
    ]
    assert differences({"weight": ptfile.ones(2)}, state_dict(1)) == [("_metadata[''].version", "added", None, None)]


def test_each_of_many_tensors_whose_elements_are_unpacked_is_compared() -> None:
    """What is unpacked of one may be in the memory where another's was."""
    same, other = [in_four_bits(1) for _ in range(100)], [in_four_bits(int(place % 3 == 0)) for place in range(100)]
    found = differences(same, other)

    assert found == [(f"[{place}]", "value", 1, 1) for place in range(100) if place % 3]


VALUES: list[Any] = [
    ptfile.arange(6).reshape(2, 3),
    ptfile.tensor([1.5, math.nan, math.inf]),
    ptfile.tensor([1 + 2j]),
    ptfile.tensor([True, False]),
    ptfile.tensor([1.5], dtype=ptfile.bfloat16),
    ptfile.tensor([1.5], dtype=ptfile.float8_e4m3fn),
    ptfile.zeros(3, dtype=ptfile.bits16),
    ptfile.zeros(0, 3),
    ptfile.zeros(3, device="meta"),
    quantized(0.5, [1, 2]),
    sparse(1, 2.0),
    np.arange(3),
    np.array(["a", "b"]),
    ptfile.zeros(3).untyped_storage(),
    {"epoch": 3, "lr": 0.1, "nan": math.nan, "name": "x", "none": None, "betas": (0.9, 0.99), "empty": {}},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_the_same_is_the_same(value: object) -> None:
    """Whatever it is, in whatever format."""
    assert differences([value], [value]) == []
    assert ptfile.diff(saved([value]), saved([value], pickle_protocol=4)).same


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"x": 1}, {}, ("x", "removed", None, None)),
        ({}, {"x": 1}, ("x", "added", None, None)),
        ({"x": 1}, {"x": 2}, ("x", "value", None, None)),
        ({"x": 1}, {"x": 1.0}, ("x", "type", None, None)),
        ({"x": True}, {"x": 1}, ("x", "type", None, None)),
        ({"x": [1, 2]}, {"x": [1, 3]}, ("x", "value", None, None)),
        ({"x": [1, 2]}, {"x": [1, 2, 3]}, ("x", "value", None, None)),
        ({"x": "a"}, {"x": "b"}, ("x", "value", None, None)),
        ({"x": 1}, {"x": ptfile.tensor(1)}, ("x", "type", None, None)),
        ({"x": ptfile.zeros(2, 3)}, {"x": ptfile.zeros(3, 2)}, ("x", "shape", None, None)),
        ({"x": ptfile.tensor([1, 2])}, {"x": ptfile.tensor([1.0, 2.0])}, ("x", "dtype", 0, 0)),
        ({"x": ptfile.tensor([0, 7])}, {"x": ptfile.tensor([0, 9])}, ("x", "value", 1, 2)),
        ({"x": ptfile.tensor([-(2**63)])}, {"x": ptfile.tensor([2**63 - 1])}, ("x", "value", 1, 2**64 - 1)),
        ({"x": ptfile.tensor([2**60])}, {"x": ptfile.tensor([2**60 + 1])}, ("x", "value", 1, 1)),
        ({"x": ptfile.tensor([1.0, 2.0])}, {"x": ptfile.tensor([1.5, 2.0])}, ("x", "value", 1, 0.5)),
        ({"x": ptfile.tensor([math.inf])}, {"x": ptfile.tensor([1.0])}, ("x", "value", 1, math.inf)),
        ({"x": ptfile.tensor([math.inf])}, {"x": ptfile.tensor([-math.inf])}, ("x", "value", 1, math.inf)),
        ({"x": ptfile.tensor([3 + 4j])}, {"x": ptfile.tensor([0j])}, ("x", "value", 1, 5.0)),
        ({"x": ptfile.tensor([True])}, {"x": ptfile.tensor([False])}, ("x", "value", 1, 1)),
        ({"x": ptfile.zeros(2)}, {"x": ptfile.zeros(2, device="meta")}, None),
        ({"x": ptfile.zeros(2, dtype=ptfile.bits8)}, {"x": ptfile.ones(2).view(ptfile.bits8)[:2]}, None),
        ({"x": quantized(0.5, [1])}, {"x": quantized(0.25, [1])}, ("x", "scale", 0, 0)),
        ({"x": quantized(0.5, [1])}, {"x": quantized(0.5, [3])}, ("x", "value", 1, 2)),
        ({"x": sparse(0, 1.0)}, {"x": sparse(0, 2.0)}, ("x.values", "value", 1, 1.0)),
        ({"x": sparse(0, 1.0)}, {"x": ptfile.zeros(3)}, ("x", "type", None, None)),
        ({"x": np.arange(2)}, {"x": np.arange(2) + 1}, ("x", "value", 2, 1)),
        ({"x": np.arange(2)}, {"x": np.arange(2.0)}, ("x", "dtype", None, None)),
        ({"x": np.array(["a"])}, {"x": np.array(["b"])}, ("x", "value", None, None)),
    ],
)  # fmt: skip
def test_what_is_different_is_named(a: Any, b: Any, expected: tuple[Any, ...] | None) -> None:
    """By its first and gravest kind, with numbers where there are some."""
    if expected is not None:
        assert expected in differences(a, b)


def test_bits_without_a_value_are_compared_as_bytes() -> None:
    """There is no distance between them."""
    a, b = ptfile.tensor([1, 2], dtype=ptfile.int16), ptfile.tensor([1, 3], dtype=ptfile.int16)
    assert differences([a.view(ptfile.bits16)], [b.view(ptfile.bits16)]) == [("[0]", "value", 1, None)]


def test_nan_equals_nan_unless_it_shall_not() -> None:
    """At the same place; against a number it never does."""
    a, b = ptfile.tensor([math.nan, 1.0]), ptfile.tensor([math.nan, math.nan])
    assert differences({"x": a}, {"x": a}) == []
    assert [one[:3] for one in differences({"x": a}, {"x": a}, equal_nan=False)] == [("x", "value", 1)]
    [(_, _, differing, max_abs)] = differences({"x": a}, {"x": b}, rtol=10, atol=10)
    assert differing == 1
    assert math.isnan(max_abs)
    assert differences({"x": math.nan}, {"x": math.nan}) == []
    assert differences({"x": math.nan}, {"x": math.nan}, equal_nan=False) != []


@pytest.mark.parametrize(
    ("a", "b", "options", "same"),
    [
        (1.0, 1.001, {"rtol": 1e-2}, True),
        (1.0, 1.001, {"rtol": 1e-4}, False),
        (100, 101, {"atol": 1}, True),
        (100, 102, {"atol": 1}, False),
        (1e300, math.inf, {"rtol": 1e10}, False),
        (0.1, 0.1000001, {"atol": 1e-6}, True),
    ],
)
@pytest.mark.parametrize(
    "make", [lambda value: value, lambda value: ptfile.from_numpy(np.array([value])), lambda value: [value]]
)
def test_numbers_within_the_tolerance_are_the_same(
    make: Any, a: float, b: float, options: dict[str, float], same: bool
) -> None:
    """By themselves, in tensors and in lists: `|a - b| <= atol + rtol * |b|`."""
    assert (differences({"x": make(a)}, {"x": make(b)}, **options) == []) is same


def test_a_tolerance_below_zero_is_an_error() -> None:
    """And so is NaN."""
    for wrong in (-1.0, math.nan):
        with pytest.raises(ValueError, match="0 or more"):
            ptfile.diff(saved(1), saved(1), rtol=wrong)


def test_how_it_was_saved_makes_no_difference() -> None:
    """Formats, strides, devices, sharing and requires_grad."""
    x = ptfile.arange(6.0).reshape(2, 3)
    a = {"x": x, "y": x}
    b = {"y": ptfile.arange(6.0, device="cuda:0").reshape(2, 3), "x": ptfile.tensor(x.T.tolist()).T}
    b["y"].requires_grad = True

    assert ptfile.diff(saved(a), saved(b, _use_new_zipfile_serialization=False)).same


@given(st.data())
def test_pieces_make_no_difference(data: st.DataObject) -> None:
    """Any two views of any strides, cut into pieces of a few elements, are as far apart as numpy says."""
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    views = []
    for _ in range(2):
        order = data.draw(st.permutations(range(len(shape))))
        step = data.draw(st.integers(1, 3))
        sizes = [shape[dim] for dim in order]
        numbers = np.array(data.draw(st.lists(st.integers(0, 3), min_size=9, max_size=9)))
        whole = np.resize(numbers, (*sizes[:-1], sizes[-1] * step)).astype(np.float32)
        tensor = ptfile.from_numpy(whole)[..., ::step].permute(*np.argsort(order).tolist())
        assert tensor.shape == shape
        views.append(tensor)
    a, b = views
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces.boxes, "__defaults__", (16,))
        patch.setattr(pieces, "PIECE", 16)
        counted: list[int] = []
        found = compare(a, b, Tolerance(), counted.append)

    gap = np.abs(a.numpy() - b.numpy())
    assert (found.differing, found.max_abs) == (int((gap > 0).sum()), gap.max())
    assert sum(counted) == gap.size


def test_a_damaged_file_is_an_error_and_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where tensors are compared in pieces."""
    whole = saved({"x": ptfile.arange(1000)})
    damaged = io.BytesIO(whole.getvalue().replace(np.int64(500).tobytes(), np.int64(501).tobytes()))
    with pytest.raises(ptfile.FormatError):
        ptfile.diff(whole, damaged)
    monkeypatch.setattr(pieces, "PIECE", 64)
    monkeypatch.setattr(ptfile._diff, "PIECE", 64)
    monkeypatch.setattr(pieces.boxes, "__defaults__", (64,))
    with pytest.raises(ptfile.FormatError):
        ptfile.diff(saved({"x": ptfile.arange(1000)}), io.BytesIO(damaged.getvalue()))


def test_a_view_that_has_many_names_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tied weights cost no more than one."""
    calls: list[Any] = []

    def counted(*arguments: Any) -> comparison.Apart:
        calls.append(arguments)
        return compare(*arguments)

    monkeypatch.setattr(ptfile._diff, "compare", counted)
    tied = ptfile.zeros(3)
    assert differences([tied] * 5, [tied] * 5) == []
    assert len(calls) == 1


def test_tensors_that_show_the_same_bytes_again_and_again_are_too_much() -> None:
    """A small file may not keep anyone busy forever."""
    huge = {str(i): ptfile.zeros(1).expand(1 << 30, i + 1) for i in range(9)}
    with pytest.raises(ptfile.LimitError):
        ptfile.diff(saved(huge), saved(huge))


def test_progress_is_told() -> None:
    """From nothing to all."""
    told: list[tuple[int, int]] = []
    value = {"a": ptfile.zeros(10), "b": ptfile.zeros(5)}
    ptfile.diff(saved(value), saved(value), progress=lambda done, total: told.append((done, total)))
    assert told == [(40, 60), (60, 60)]


def test_real_files_are_the_same_as_themselves(tmp_path: Path) -> None:
    """Of every version of PyTorch, whatever is in them."""
    corpus = Corpus(tmp_path)
    for file in files()[::120]:
        with corpus.opened(file) as f:
            if isinstance(f, Path):
                assert ptfile.diff(f, f, encoding="latin1" if file.is_python2 else "utf-8").same, str(file)


def test_a_deflated_file_is_read() -> None:
    """As other programs may write it."""
    plain = saved({"x": ptfile.arange(10)})
    deflated = io.BytesIO()
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    plain.seek(0)
    deflated.seek(0)
    assert ptfile.diff(plain, deflated).same

"""`ptfile.numpy`: trees of arrays, saved as tensors and loaded as arrays."""

from __future__ import annotations

import argparse
import io
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import ptfile
import ptfile.numpy
from tests.formats.zip_file import zip_of

F4 = np.arange(6, dtype=np.float32).reshape(2, 3)
FIELD = np.array([(1.0, 2), (3.0, 4)], [("a", "f8"), ("b", "f4")])["a"]
"""Whose elements are 12 bytes apart, and take 8."""


def test_arrays_anywhere_in_a_tree_come_back_as_arrays(tmp_path: Path) -> None:
    """In all the containers that a checkpoint has; everything else comes back as it was."""
    tree = {
        "model": OrderedDict(w=F4, b=np.array(2.5)),
        "list": [F4 + 1, (F4 + 2, "text", None), deque([F4 + 3])],
        "args": argparse.Namespace(x=F4 + 4, lr=0.1),
        3: {"nested": {"deep": np.array([], np.int64)}},
        "bf16": np.array([1, 2.5], ml_dtypes.bfloat16),
        "fp8": np.array([1, 2.5], ml_dtypes.float8_e4m3fn),
        "bool": np.array([True, False]),
        "complex": np.array([1 + 2j], np.complex64),
    }
    ptfile.numpy.save(tree, tmp_path / "model.pt")
    loaded = ptfile.numpy.load(tmp_path / "model.pt")

    assert repr(loaded) == repr(tree)
    assert type(loaded["model"]) is OrderedDict


def test_the_file_holds_tensors(tmp_path: Path) -> None:
    """PyTorch would find tensors in it, with the shapes and strides of the arrays."""
    ptfile.numpy.save({"w": F4, "t": F4.T}, tmp_path / "model.pt")
    loaded = ptfile.load(tmp_path / "model.pt")

    assert loaded["w"].stride() == (3, 1)
    assert loaded["t"].stride() == (1, 3)
    assert loaded["t"].tolist() == F4.T.tolist()


def test_the_same_memory_is_saved_once() -> None:
    """One array in two places is one object afterwards; another view of all of it shares its memory."""
    first, again, view = ptfile.numpy.load(ptfile.numpy.save([F4, F4, F4.reshape(-1)]))

    assert first is again
    assert np.shares_memory(first, view)


@pytest.mark.parametrize(
    "array",
    [F4[:, ::2], F4[::-1], F4.astype(">f4"), np.broadcast_to(F4[0], (4, 3)), F4.view(np.int32), F4[1:], F4[:0], FIELD],
    ids=["gaps", "backwards", "big-endian", "broadcast", "other type", "part", "empty", "field of a structure"],
)
def test_any_array_is_saved_as_its_values(array: Any) -> None:
    """Without the gaps in its memory, and beside another array of the same memory."""
    _, loaded = ptfile.numpy.load(ptfile.numpy.save([F4, array]))

    assert np.array_equal(loaded, array)
    assert loaded.shape == array.shape
    assert loaded.dtype == array.dtype.newbyteorder("=")


def test_a_part_of_an_array_does_not_bring_the_rest() -> None:
    """Bytes that nobody wanted to save are not in the file."""
    array = np.array([1, 0x5EC7E7] * 500, np.int32)
    data = ptfile.numpy.save([array[::2], array[4:9:4]])

    assert array[1:2].tobytes() not in data


def test_what_no_tensor_holds_stays_an_array() -> None:
    """Texts and times, as PyTorch keeps numpy arrays."""
    times = np.array(["2020-01-01"], "datetime64[D]")

    assert ptfile.numpy.load(ptfile.numpy.save({"t": times}))["t"].tolist() == times.tolist()


FIELDS = np.array([(1, 2.5, "x")], [("a", ">i4"), ("b", "f4"), ("c", "U3")])


@pytest.mark.parametrize("array", [np.array(["a", "bc"], ">U4"), np.array([b"a"]), FIELDS, np.ones(2, np.longdouble)])
def test_arrays_of_plain_values_come_back(array: Any) -> None:
    """Whatever their byte order."""
    back = ptfile.numpy.load(ptfile.numpy.save([array]))[0]

    assert (back.tolist(), back.shape) == (array.tolist(), array.shape)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, "a", None], object),
        np.zeros(2, [("a", "f4"), ("b", "O")]),
        np.zeros(2, ml_dtypes.int4),
        np.zeros(2, ml_dtypes.float8_e3m4),
        np.zeros(2, [("a", ml_dtypes.bfloat16)]),
        np.zeros(2, [("a", "f4", (3,))]),
        np.ma.array([1.0, 2.0], mask=[False, True]),
        np.ones(2).view(np.rec.recarray),
        *(
            [np.array(["a"], np.dtypes.StringDType())]
            if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType")
            else []
        ),
    ],
    ids=lambda array: f"{type(array).__name__} {array.dtype}",
)
def test_an_array_that_would_not_come_back_is_an_error_that_names_it(array: Any, tmp_path: Path) -> None:
    """Before there is a file that only code from it could load; a subclass may have more than elements."""
    with pytest.raises(ptfile.UnsupportedError, match=r"model\.w: "):
        ptfile.numpy.save({"model": {"w": array}}, tmp_path / "x.pt")
    with pytest.raises(ptfile.UnsupportedError, match="w: "):
        ptfile.numpy.save_file({"w": array}, tmp_path / "x.pt")
    assert not (tmp_path / "x.pt").exists()


def test_a_flat_file_has_only_tensors(tmp_path: Path) -> None:
    """`load_file` gives nothing else back."""
    with pytest.raises(ptfile.UnsupportedError, match="w: no tensor has elements of <U1"):
        ptfile.numpy.save_file({"w": np.array(["a"])}, tmp_path / "x.pt")


def test_bytes_files_and_paths_are_loaded() -> None:
    """Wherever the file is."""
    data = ptfile.numpy.save({"w": F4})

    assert ptfile.numpy.load(io.BytesIO(data))["w"].tolist() == F4.tolist()
    assert ptfile.numpy.load(bytearray(data))["w"].tolist() == F4.tolist()


def test_flat_files_go_by_names(tmp_path: Path) -> None:
    """Saved from a dict; loaded from any checkpoint, by the names that `ptfile ls` shows."""
    path = tmp_path / "model.pt"
    ptfile.numpy.save_file({"a.b": F4, "c": F4[0]}, path)
    assert {name: array.tolist() for name, array in ptfile.numpy.load_file(path).items()} == {
        "a.b": F4.tolist(),
        "c": F4[0].tolist(),
    }
    ptfile.numpy.save({"model": {"a.b": F4}, "optimizer": [{"step": F4[1]}], "epoch": 3}, path)
    assert list(ptfile.numpy.load_file(path)) == ["model.a.b", "optimizer[0].step"]
    with pytest.raises(TypeError, match="'x': a list"):
        ptfile.numpy.save_file({"x": [F4]}, path)  # type: ignore[dict-item]


def test_conjugates_and_negatives_are_values() -> None:
    """An array has no flags."""
    numbers = ptfile.tensor([1 + 2j])
    flagged = ptfile.Tensor(numbers.untyped_storage(), numbers.dtype, 0, (1,), (1,), False, True, False)
    buffer = io.BytesIO()
    ptfile.save([flagged], buffer)

    assert ptfile.numpy.load(buffer.getvalue())[0].tolist() == [1 - 2j]


def test_a_tensor_that_is_no_array_is_an_error_that_names_it(tmp_path: Path) -> None:
    """With the file, and with what to do."""
    path = tmp_path / "model.pt"
    sparse = ptfile.SparseTensor(ptfile.tensor([[0]]), ptfile.tensor([1.0]), (3,))
    ptfile.save({"model": {"s": sparse}}, path)
    with pytest.raises(ptfile.UnsupportedError, match=r"model\.pt: model\.s: a SparseTensor is no array"):
        ptfile.numpy.load(path)
    with pytest.raises(ptfile.UnsupportedError, match=r"model\.s: a SparseTensor"):
        ptfile.numpy.load_file(path)


def test_damage_is_an_error() -> None:
    """As in `ptfile.load`."""
    data = bytearray(ptfile.numpy.save({"w": np.arange(100)}))
    data[data.index(bytes([50, 0, 0, 0, 0, 0, 0, 0]))] ^= 1
    with pytest.raises(ptfile.FormatError, match="checksum"):
        ptfile.numpy.load(data)


def test_a_tree_that_is_too_deep_is_a_limit_error() -> None:
    """Whatever Python's own limit on recursion is."""
    nested = b"\x80\x02" + b"]" * 900 + b"a" * 899 + b"."
    data = zip_of({"data.pkl": nested, "version": b"3\n"}).getvalue()

    assert str(ptfile.load(io.BytesIO(data))).startswith("[[[")
    with pytest.raises(ptfile.LimitError, match="deeper than Python can copy"):
        ptfile.numpy.load(data)

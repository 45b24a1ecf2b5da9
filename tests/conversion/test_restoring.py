"""Notes from files that mean harm: an error of ptfile's, soon, and nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ptfile
from ptfile.conversion.describing import describe
from ptfile.conversion.restoring import restore
from ptfile.errors import FormatError, LimitError, PtfileError, TensorError, UnsupportedError


def tensors() -> dict[str, ptfile.Tensor]:
    return {"a": ptfile.arange(6, dtype=ptfile.float32), "b": ptfile.arange(4)}


def restored(root: Any, **more: Any) -> Any:
    note = {"version": 1, "root": [*["list", ["tensor", "a"], ["tensor", "b"]], root], **more}
    return restore(json.loads(json.dumps(note)), tensors(), ptfile.Limits())[2]


@pytest.mark.parametrize(
    "note",
    [
        None,
        [],
        {"root": 1},
        {"version": 1},
        {"version": "1", "root": 1},
        {"version": True, "root": 1},
        {"version": 1, "root": 1, "more": 2},
        {"version": 1, "root": 1, "storages": 3},
    ],
    ids=str,
)
def test_a_note_of_another_form_is_an_error(note: Any) -> None:
    """Before anything of it is used."""
    with pytest.raises(FormatError, match="ptfile's note"):
        restore(note, {}, ptfile.Limits())


def test_a_note_of_a_later_version_says_so() -> None:
    """And what to do."""
    with pytest.raises(UnsupportedError, match=r"version 2.*Update ptfile"):
        restore({"version": 2, "anything": 1}, {}, ptfile.Limits())


@pytest.mark.parametrize(
    "root",
    [
        [],
        [1],
        [None, 2],
        ["unknown"],
        ["__class__"],
        ["same"],
        ["same", -1],
        ["same", 99],
        ["same", True],
        ["same", "0"],
        ["tuple", ["same", 3]],
        ["tensor"],
        ["tensor", "c"],
        ["tensor", 1],
        ["tensor", ["a"]],
        ["tensor", "a", []],
        ["tensor", "a", {"more": 1}],
        ["tensor", "a", {"grad": 1}],
        ["tensor", "a", {"parameter": None}],
        ["tensor", "a", {"view": None}],
        ["tensor", "a", {"view": ["float33", 0, [1], [1]]}],
        ["tensor", "a", {"view": ["float32", 0, [1]]}],
        ["tensor", "a", {"view": ["float32", 0, [1.0], [1]]}],
        ["tensor", "a", {"view": ["float32", True, [1], [1]]}],
        ["array", "a", {"order": "C"}],
        ["array", "a", {"order": []}],
        ["array", "a", {"grad": True}],
        ["dict", 1],
        ["dict", []],
        ["dict", [1]],
        ["dict", [1, 2, 3]],
        ["dict", [{}, 1]],
        ["dict", [["list"], 1]],
        ["dict", [["bytearray", ""], 1]],
        ["dict", [["same", 0], 1]],
        ["dict", [["tensor", "a"], 1]],
        ["dict", [1, 1], [1.0, 2]],
        ["OrderedDict"],
        ["OrderedDict", {}],
        ["OrderedDict", [], []],
        ["OrderedDict", [], {"__class__": 1}],
        ["OrderedDict", [["a", 1], ["a", 2]]],
        ["Namespace"],
        ["Namespace", []],
        ["Namespace", {"__dict__": {}}],
        ["set", 1, 1],
        ["set", ["list"]],
        ["frozenset", {}],
        ["float", "7ff"],
        ["float", 1],
        ["float"],
        ["complex", "AA=="],
        ["bytes", "é"],
        ["bytes", "A"],
        ["bytes"],
        ["Size", "1"],
        ["Size", True],
        ["dtype", "float33"],
        ["device", "cpu"],
        ["device", "CPU!", 0],
        ["scalar", "f8", "AAAA"],
        ["scalar", "O8", "AAAAAAAAAAA="],
        ["scalar", "f8", 1],
    ],
    ids=str,
)
def test_a_value_of_another_form_is_an_error(root: Any) -> None:
    """Each check is met once."""
    with pytest.raises(FormatError):
        restored(root)


@pytest.mark.parametrize(
    "view",
    [
        ["float32", 0, [7], [1]],
        ["float32", -1, [1], [1]],
        ["float32", 0, [2], [-1]],
        ["float32", 0, [-1], [1]],
        ["float32", 0, [1, 1], [1]],
        ["float64", 0, [4], [1]],
        ["float32", 1 << 70, [1], [1]],
        ["float32", 0, [1 << 62, 4], [0, 0]],
    ],
    ids=str,
)
def test_a_view_outside_its_storage_is_an_error(view: Any) -> None:
    """As one in a pickle is."""
    with pytest.raises(TensorError):
        restored(["tensor", "a", {"view": view}])


@pytest.mark.parametrize(
    "storage",
    [
        1,
        [],
        [24, "cpu"],
        [24, 0, [["a", 0]]],
        ["24", "cpu", [["a", 0]]],
        [24, "cpu", []],
        [24, "cpu", ["a"]],
        [24, "cpu", [["c", 0]]],
        [24, "cpu", [["a"]]],
        [24, "cpu", [["a", "0"]]],
        [24, "cpu", [["a", 0, 1]]],
        [24, "cpu", [["a", 0, ["1"]]]],
        [48, "cpu", [["a", 0], ["a", 24]]],
    ],
    ids=str,
)
def test_a_storage_of_another_form_is_an_error(storage: Any) -> None:
    """Or of tensors that are not there, or are there twice."""
    with pytest.raises(FormatError):
        restored(None, storages=[storage])
    with pytest.raises(FormatError):
        restored(None, storages=[[24, "cpu", [["a", 0]]], [24, "cpu", [["a", 0]]]])


@pytest.mark.parametrize(
    "parts", [[["a", 1]], [["a", -4]], [["a", 8]], [["a", 0, [2]]], [["a", 0, [-1]]], [["a", 0, [1, 1]]]], ids=str
)
def test_a_tensor_outside_its_storage_is_an_error(parts: Any) -> None:
    """Also one that begins between two elements."""
    with pytest.raises(TensorError):
        restored(None, storages=[[24, "cpu", parts]])


def test_a_storage_much_larger_than_its_tensors_is_an_error() -> None:
    """A line of text can name as many bytes as one likes."""
    for nbytes in (-1, 5 << 10, 1 << 40):
        with pytest.raises(LimitError, match="much larger"):
            restored(None, storages=[[nbytes, "cpu", [["a", 0]]]])
    restored(None, storages=[[4 << 10, "cpu", [["a", 0]]]])


def test_the_same_bytes_as_arrays_again_and_again_are_an_error() -> None:
    """Each is memory. `convert` names no tensor of the file as two arrays."""
    view = {"view": ["float32", 0, [100, 6], [0, 1]]}
    assert restored(["array", "a", view]).shape == (100, 6)
    with pytest.raises(LimitError, match="again and again"):
        restored(["list", *[["array", "a", view]] * 3])


def test_a_huge_view_of_a_few_bytes_is_not_copied() -> None:
    """An array would be."""
    view = {"view": ["float32", 0, [1 << 20, 1 << 20], [0, 0]]}
    assert restored(["tensor", "a", view]).numel() == 1 << 40
    with pytest.raises(LimitError):
        restored(["array", "a", view])


def test_deep_nesting_is_an_error() -> None:
    """Of values and of keys."""
    deep: Any = ["list"]
    key: Any = ["tuple"]
    for _ in range(sys.getrecursionlimit()):
        deep, key = ["list", deep], ["tuple", key]
    with pytest.raises(LimitError, match="nested"):
        restore({"version": 1, "root": deep}, {}, ptfile.Limits())
    with pytest.raises(LimitError, match="nested"):
        restore({"version": 1, "root": ["dict", [key, 1]]}, {}, ptfile.Limits())


def test_keys_that_are_chosen_to_collide_are_an_error() -> None:
    """They would take the square of their number in time."""
    keys = [[number * ((1 << 61) - 1), 0] for number in range(100_000)]
    with pytest.raises(LimitError, match="keys"):
        restored(["dict", *keys])
    with pytest.raises(LimitError, match="keys"):
        restored(["set", *(key for key, _ in keys)])


def test_elements_on_the_meta_device_are_an_error() -> None:
    """They would be gone as soon as the tensor is saved."""
    with pytest.raises(FormatError, match="meta device"):
        restored(None, storages=[[24, "meta", [["a", 0]]]])


def test_a_tensor_that_the_note_does_not_speak_of_is_an_error() -> None:
    """Somebody has put it there, and it would be lost."""
    with pytest.raises(FormatError, match="does not speak of the tensor 'b'"):
        restore({"version": 1, "root": ["tensor", "a"]}, tensors(), ptfile.Limits())


SOUND = describe(
    {
        "x": [ptfile.arange(6)[1:4], {1: (2, b"x")}],
        "t": ptfile.zeros(2, 3).transpose(0, 1),
        "s": {1, 2},
        "n": np.zeros(3),
        "f": float("inf"),
    },
    objection=lambda _: "",
    allows=lambda _: True,
    one_name=str,
    leave_out=False,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in _places(item, (*path, key)))]


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 1 << 66),
    st.floats(),
    st.sampled_from(["list", "tensor", "same", "dict", "x[0]", "float32", ""]),
    st.lists(st.one_of(st.integers(0, 9), st.sampled_from(["tensor", "x[0]", "same"])), max_size=4),
    st.dictionaries(st.sampled_from(["view", "grad", "a"]), st.integers(), max_size=2),
)


@settings(max_examples=400, deadline=None)
@given(place=st.sampled_from(_places(SOUND.note)[1:]), value=ANYTHING)
def test_a_note_that_was_changed_somewhere_gives_a_tree_or_an_error_of_ptfile(place: Any, value: Any) -> None:
    """Whatever takes the place of whatever; what comes can be looked at and saved."""
    note = json.loads(json.dumps(SOUND.note))
    target = note
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    named = {entry.name: entry.tensor.contiguous() for entry in SOUND.entries}
    with contextlib.suppress(PtfileError):
        ptfile.save(restore(json.loads(json.dumps(note)), named, ptfile.Limits()), io.BytesIO())


# files


def safetensors(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b'{"a":1}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}',
        b'{"a":{"dtype":"X","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F6_E2M3","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"ptfile":1}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"ptfile":"{"}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"ptfile":"[]"}}',
        b'{"a":{"dtype":"F4","shape":[3,3],"data_offsets":[0,4]}}',
    ],
)
def test_an_unsound_safetensors_file_is_an_error(header: bytes, tmp_path: Path) -> None:
    """By the library, or by what it lets pass."""
    pytest.importorskip("safetensors")
    (tmp_path / "x.safetensors").write_bytes(safetensors(header, bytes(4)))
    with pytest.raises(PtfileError) as caught:
        ptfile.convert(tmp_path / "x.safetensors", tmp_path / "x.pt")
    assert caught.value.file == str(tmp_path / "x.safetensors")
    assert not (tmp_path / "x.pt").exists()


def npz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s}"


@pytest.mark.parametrize(
    "members",
    [
        {"a.npy": b""},
        {"a.npy": b"\x93NUMPY"},
        {"a.npy": npy("{}")},
        {"a.npy": npy("print('x')")},
        {"a.npy": npy("(" * 5000)},
        {"a.npy": npy(HEADER % ("<f8", "(2,)"), bytes(8))},
        {"a.npy": npy(HEADER % ("<f8", "(1,)"), bytes(9))},
        {"a.npy": npy(HEADER % ("<f8", "(-1,)"), bytes(8))},
        {"a.npy": npy(HEADER % ("<f8", f"({1 << 62}, 4)"), bytes(8))},
        {"a.npy": npy(HEADER % ("|O", "(1,)"), b"cos\nsystem\n(S'true'\ntR.")},
        {"a.npy": npy(HEADER % ("<f8", "(1,)"), bytes(8), b"\3\0")},
        {"a.npy": npy(HEADER % ("<u2", "(1,)"), bytes(2)), "__ptfile__.json": b"\xff"},
        {"a.npy": npy(HEADER % ("<u2", "(1,)"), bytes(2)), "__ptfile__.json": b'{"dtypes":{"a":"float32"}}'},
        {"a.npy": npy(HEADER % ("<u2", "(1,)"), bytes(2)), "__ptfile__.json": b'{"dtypes":{"a":[]}}'},
        {"a.npy": npy(HEADER % ("<u2", "(1,)"), bytes(2)), "__ptfile__.json": b'{"dtypes":[]}'},
        {"a.npy": npy(HEADER % ("<u2", "(1,)"), bytes(2)), "__ptfile__.json": b"[]"},
    ],
    ids=lambda members: str(members)[-60:],
)
def test_an_unsound_npz_file_is_an_error(members: dict[str, bytes], tmp_path: Path) -> None:
    """Nothing in it is run, either."""
    (tmp_path / "x.npz").write_bytes(npz(members))
    with pytest.raises(PtfileError) as caught:
        ptfile.convert(tmp_path / "x.npz", tmp_path / "x.pt")
    assert caught.value.file == str(tmp_path / "x.npz")
    assert not (tmp_path / "x.pt").exists()

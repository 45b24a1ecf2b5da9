"""`inspect`: what is in a checkpoint, from its pickle alone."""

from __future__ import annotations

import gc
import io
from argparse import Namespace
from collections import OrderedDict, deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile import _tree
from ptfile._inspect import Summary, TensorInfo, inspect
from ptfile.tensors.quantized import PerChannel, QuantizedTensor
from ptfile.tensors.sparse import SparseTensor


def saved(value: object) -> io.BytesIO:
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    buffer.seek(0)
    return buffer


def summary_of(value: object) -> Summary:
    return inspect(saved(value))


def names(value: object) -> list[str]:
    return [tensor.name for tensor in summary_of(value).tensors]


def values(value: object) -> dict[str, Any]:
    return {item.name: item.value for item in summary_of(value).values}


X = ptfile.zeros(2, 3)


class CountingFile(io.BytesIO):
    """A file that says which of its bytes were read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer)
        self.total += count
        return count


def test_a_tensor_is_described_in_full() -> None:
    """Name, dtype, shape, stride, offset, bytes, device, gradient and storage are as in the tensor."""
    tensor = ptfile.zeros(4, 6, dtype=ptfile.bfloat16, device="cuda:1", requires_grad=True)

    assert summary_of({"w": tensor[1:3, ::2]}).tensors == (
        TensorInfo(
            name="w",
            dtype="bfloat16",
            shape=(2, 3),
            stride=(6, 2),
            offset=6,
            nbytes=12,
            device="cuda:1",
            requires_grad=True,
            storage=0,
        ),
    )


def test_the_file_is_described(tmp_path: Path) -> None:
    """A summary has the file's path, size and format."""
    path = tmp_path / "ein Modell 中.pt"
    ptfile.save(X, path)
    summary = inspect(path)

    assert (summary.file, summary.nbytes, summary.format) == (str(path), path.stat().st_size, "zip")


def test_no_byte_of_a_tensor_is_read() -> None:
    """Of a file of 64 MiB less than 128 KiB is read: the directory and the pickle, with a window of read-ahead each."""
    file = CountingFile(saved({f"layer.{i}": ptfile.zeros(1 << 20) for i in range(16)}).getvalue())
    summary = inspect(file)

    assert summary.storage_nbytes == 64 << 20
    assert 0 < file.total < 128 << 10


def test_damage_in_a_tensor_goes_unseen() -> None:
    """What `load` refuses for the checksum of a tensor, `inspect` lists, because it has not looked there."""
    whole = saved([ptfile.full((1000,), 7, dtype=ptfile.uint8)]).getvalue()
    damaged = whole.replace(b"\x07" * 1000, b"\x08" * 1000)
    assert damaged != whole

    with pytest.raises(ptfile.FormatError, match="checksum"):
        ptfile.load(io.BytesIO(damaged))
    assert inspect(io.BytesIO(damaged)) == inspect(io.BytesIO(whole))


def test_tensors_are_found_in_every_kind_of_container() -> None:
    """Dicts, lists, tuples, deques and objects with attributes are walked, in order."""
    tree = {
        "d": {"layer.0.weight": X, 3: X},
        "l": [X, (X, deque([X]))],
        "n": Namespace(a=X, b=SimpleNamespace(c=X)),
    }

    assert names(tree) == ["d.layer.0.weight", "d[3]", "l[0]", "l[1][0]", "l[1][1][0]", "n.a", "n.b.c"]


def test_a_file_that_is_one_tensor_has_an_empty_name() -> None:
    """There is no path to the root."""
    assert names(X) == [""]


def test_places_named_alike_are_told_apart() -> None:
    """A key with a dot that imitates nesting does not hide the other tensor."""
    assert names({"a.b": X, "a": {"b": X}}) == ["['a.b']", "['a']['b']"]


def test_a_tensor_with_two_names_is_listed_under_both() -> None:
    """One object reached by two paths is there twice, shares its storage with itself, and its elements count once."""
    summary = summary_of({"embed": X, "head": X})

    assert [tensor.name for tensor in summary.tensors] == ["embed", "head"]
    assert summary.shares_with(summary.tensors[0]) == ("head",)
    assert (summary.elements, summary.storage_nbytes) == (6, 24)


def test_views_of_one_storage_are_shown_as_sharing() -> None:
    """`numbers` and `evens` of PyTorch's documentation share one storage of 72 bytes."""
    numbers = ptfile.arange(1, 10)
    summary = summary_of([numbers, numbers[1::2], X])

    assert [tensor.storage for tensor in summary.tensors] == [0, 0, 1]
    assert summary.storages[0].names == ("[0]", "[1]")
    assert summary.storages[0].nbytes == 72
    assert summary.storages[0].is_shared
    assert not summary.storages[1].is_shared
    assert summary.elements == 9 + 4 + 6


@pytest.mark.parametrize(
    ("views", "unreached"),
    [
        ([slice(0, 5)], 994 * 8),
        ([slice(0, 5), slice(3, 10)], 989 * 8),
        ([slice(0, 5), slice(990, 999)], 985 * 8),
        ([slice(0, 999, 2)], 0),
        ([slice(0, 0)], 999 * 8),
    ],
)
def test_bytes_that_no_tensor_reaches_are_counted(views: list[slice], unreached: int) -> None:
    """A saved slice brings its whole storage: what lies outside the runs of all its tensors is told."""
    large = ptfile.arange(1, 1000)

    assert summary_of([large[view] for view in views]).unreached == unreached


def test_a_view_of_quantized_elements_leaves_the_others_unreached() -> None:
    """As with any other tensor; but of elements that share bytes, all are reached."""
    scale = ptfile.PerTensor(1.0, 0)
    part = ptfile.QuantizedTensor(ptfile.UntypedStorage(bytes(100)), ptfile.qint8, 10, (20,), (1,), scale)
    packed = ptfile.QuantizedTensor(ptfile.UntypedStorage(bytes(100)), ptfile.quint4x2, 10, (20,), (1,), scale)

    assert [storage.unreached for storage in summary_of([part, packed]).storages] == [80, 0]


def test_a_storage_saved_as_such_reaches_all_its_bytes() -> None:
    """A storage among the values is one of the things that look at its bytes."""
    summary = summary_of([X[0], ptfile.TypedStorage(X.untyped_storage(), ptfile.float32)])

    assert summary.unreached == 0
    assert summary.storages[0].names == ("[0]", "[1]")


def test_plain_values_are_kept() -> None:
    """Numbers, texts, arrays, empty containers and lists of plain values are listed as values."""
    tree = {"epoch": 3, "lr": 0.5, "betas": (0.9, 0.99), "note": "hi", "none": None, "empty": {}, "groups": [{"a": 1}]}

    assert values(tree) == {
        "epoch": 3,
        "lr": 0.5,
        "betas": (0.9, 0.99),
        "note": "hi",
        "none": None,
        "empty": {},
        "groups[0].a": 1,
    }
    assert values({"array": np.arange(3)})["array"].tolist() == [0, 1, 2]


def test_what_a_state_dict_says_of_its_modules_is_left_out() -> None:
    """`_metadata`, an attribute of the OrderedDict, holds a version number for each module: no news to anybody."""
    state: Any = OrderedDict(weight=X)
    state._metadata = OrderedDict({"": {"version": 1}})

    assert values({"model": state}) == {}


def test_a_tensor_in_an_attribute_of_a_dict_is_not_missed() -> None:
    """Attributes of dicts are looked through for tensors all the same."""
    state: Any = OrderedDict(weight=X)
    state.extra = [X]

    assert names(state) == ["weight", "extra[0]"]


class Config:
    """A class that ptfile does not know, as a user's own are."""

    loaded = 0

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)

    def __setstate__(self, state: dict[str, object]) -> None:
        Config.loaded += 1
        self.__dict__.update(state)


def test_objects_of_unknown_classes_are_looked_into_and_not_made() -> None:
    """Tensors and values in a user's objects are listed by attribute, though `load` refuses the file."""
    file = saved({"config": Config(weight=X, epoch=3), "empty": Config()})
    summary = inspect(file)

    assert [tensor.name for tensor in summary.tensors] == ["config.weight"]
    assert [(item.name, item.type) for item in summary.values] == [
        ("config.epoch", "int"),
        ("empty", f"{Config.__module__}.Config"),
    ]
    assert Config.loaded == 0
    file.seek(0)
    with pytest.raises(ptfile.UnsafeError):
        ptfile.load(file)


def test_the_parts_of_a_sparse_tensor_are_listed() -> None:
    """A tensor of another layout is a value, and the strided tensors that it is made of are tensors."""
    indices, elements = ptfile.tensor([[0, 2]]), ptfile.tensor([1.0, 2.0])
    summary = summary_of({"grad": SparseTensor(indices, elements, (3,))})

    assert [(tensor.name, tensor.shape) for tensor in summary.tensors] == [
        ("grad.indices", (1, 2)),
        ("grad.values", (2,)),
    ]
    assert [(item.name, item.type, item.value.shape) for item in summary.values] == [("grad", "SparseTensor", (3,))]


def test_a_quantized_tensor_is_a_tensor_with_its_scales_below() -> None:
    """Its integers are elements like any other's; scales and zero points are tensors of their own."""
    channels = PerChannel(ptfile.ones(2), ptfile.zeros(2, dtype=ptfile.int64), 0)
    storage = ptfile.zeros(6, dtype=ptfile.qint8).untyped_storage()
    summary = summary_of([QuantizedTensor(storage, ptfile.qint8, 0, (2, 3), (3, 1), channels)])

    assert [(tensor.name, tensor.dtype, tensor.nbytes) for tensor in summary.tensors] == [
        ("[0]", "qint8", 6),
        ("[0].scales", "float32", 8),
        ("[0].zero_points", "int64", 16),
    ]


def test_a_list_inside_itself_ends() -> None:
    """A cycle is listed once, with Python's three dots in place of the second round."""
    ring: list[Any] = [X, {"a": 1}]
    ring[1]["ring"] = ring

    assert names(ring) == ["[0]"]
    assert values(ring) == {"[1].a": 1, "[1].ring": ...}


def test_deep_nesting_is_walked_without_recursion() -> None:
    """A tree deeper than Python's functions can nest is an error of limits, and one within the limits is listed."""
    tree: Any = X
    for _ in range(400):
        tree = [tree]

    assert names(tree) == ["[0]" * 400]
    with pytest.raises(ptfile.LimitError) as caught:
        list(_tree.walk(tree, ptfile.Limits(depth=100)))
    assert (caught.value.limit, caught.value.allowed) == ("depth", 100)


def test_one_list_in_many_places_cannot_make_endless_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty lists, each twice in the next, are a million paths: the names are bounded, not the patience."""
    monkeypatch.setattr(_tree, "NAME_CHARACTERS", 100_000)
    tree: Any = [X]
    for _ in range(20):
        tree = [tree, tree]

    with pytest.raises(ptfile.LimitError) as caught:
        summary_of(tree)
    assert caught.value.limit == "name_characters"


def test_what_is_no_checkpoint_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """The error says which file it is, and that it is none."""
    path = tmp_path / "x.pt"
    path.write_bytes(b"<html>not found</html>")

    with pytest.raises(ptfile.FormatError, match="web page") as caught:
        inspect(path)
    assert caught.value.file == str(path)


@pytest.mark.parametrize("look", [inspect, ptfile.open, ptfile.load])
def test_no_garbage_is_collected_while_there_is_none(look: Any) -> None:
    """It would be half of the time that many tensors take."""
    pytest.importorskip("safetensors")
    header = ",".join(f'"{number}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for number in range(5000))
    text = f"{{{header}}}".encode()
    file = io.BytesIO(len(text).to_bytes(8, "little") + text)
    look(io.BytesIO(file.getvalue()))  # imports what it takes
    collections: list[str] = []
    gc.collect()
    gc.callbacks.append(lambda phase, _: collections.append(phase))
    try:
        found = look(file)
        during = len(collections)
    finally:
        gc.callbacks.pop()
    assert during <= 2 * 2  # one may begin before, and one at the end
    assert gc.isenabled()
    del found

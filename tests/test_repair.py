"""`ptfile.repair`: what is whole in a damaged file comes back equal, and what is lost is said."""

from __future__ import annotations

import argparse
import errno
import io
import zipfile
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.sources import LocalSource
from ptfile.tensors.python_side import PythonSide
from ptfile.tensors.sparse import SparseTensor
from tests.formats.zip_file import zip_of


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    return buffer.getvalue()


def repaired(data: bytes, folder: Path) -> tuple[Any, ptfile.Repair]:
    broken, out = folder / "broken.pt", folder / "out.pt"
    broken.write_bytes(data)
    report = ptfile.repair(broken, out)
    assert broken.read_bytes() == data
    assert ptfile.verify(out).ok
    return ptfile.load(out, unknown="inert"), report


def numbers(start: int) -> ptfile.Tensor:
    return ptfile.arange(start, start + 100)


def damaged(data: bytes, tensor: ptfile.Tensor) -> bytes:
    """The file with one bit of a tensor changed."""
    raw = tensor.numpy().tobytes()
    assert data.count(raw) == 1
    at = data.index(raw) + len(raw) // 2
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def equal(tensor: ptfile.Tensor, other: ptfile.Tensor) -> bool:
    return tensor.dtype is other.dtype and np.array_equal(tensor.numpy(), other.numpy())


def test_a_lost_tensor_leaves_its_place(tmp_path: Path) -> None:
    """Keys of dicts go; in lists and tuples there is None, so that the others keep their index."""
    lost, kept = numbers(1000), numbers(5000)
    tree = {"lost": lost, "kept": kept, "list": [lost, kept, 3], "tuple": (kept, (lost, "x")), "epoch": 3}
    value, report = repaired(damaged(saved(tree), lost), tmp_path)
    assert list(value) == ["kept", "list", "tuple", "epoch"]
    assert value["list"][0] is None
    assert value["list"][2] == 3
    assert value["tuple"][1] == (None, "x")
    assert all(equal(tensor, kept) for tensor in (value["kept"], value["list"][1], value["tuple"][0]))
    assert value["kept"].untyped_storage() is value["list"][1].untyped_storage()
    assert report.kept == ("kept", "list[1]", "tuple[0]")
    assert [tensor.name for tensor in report.lost] == ["lost", "list[0]", "tuple[1][0]"]
    assert all(tensor.record == "data/0" and "checksum is wrong" in tensor.problem for tensor in report.lost)


@pytest.mark.parametrize("number", range(5))
def test_each_storage_damaged_alone_costs_its_own_tensors_only(number: int, tmp_path: Path) -> None:
    """All others come back equal."""
    tensors = {f"t{index}": numbers(1000 * index + 500) for index in range(5)}
    value, report = repaired(damaged(saved(tensors), tensors[f"t{number}"]), tmp_path)
    assert list(value) == [name for name in tensors if name != f"t{number}"]
    assert all(equal(value[name], tensors[name]) for name in value)
    assert [tensor.name for tensor in report.lost] == [f"t{number}"]


def test_views_of_a_lost_storage_are_lost_with_it(tmp_path: Path) -> None:
    """Nobody can tell which of its bytes have changed."""
    whole = numbers(1000)
    value, report = repaired(damaged(saved([whole, whole[:3], numbers(9000)]), whole), tmp_path)
    assert value[:2] == [None, None]
    assert [tensor.name for tensor in report.lost] == ["[0]", "[1]"]


def test_a_damaged_header_costs_nothing_while_the_directory_is_whole(tmp_path: Path) -> None:
    """What follows the bytes tells where they are, and their checksum that it is so."""
    tensors = {"a": numbers(1000), "b": numbers(2000)}
    data = bytearray(saved(tensors))
    at = data.rindex(b"PK\3\4", 0, data.index(b"archive/data/1"))
    data[at : at + 30] = bytes(30)
    value, report = repaired(bytes(data), tmp_path)
    assert report.lost == ()
    assert equal(value["b"], tensors["b"])


def test_a_damaged_directory_costs_nothing(tmp_path: Path) -> None:
    """Headers and descriptors say all that it says."""
    tensors = {"a": numbers(1000), "b": numbers(2000)}
    data = bytearray(saved(tensors))
    at = data.index(b"PK\1\2")
    data[at : at + 200] = bytes(200)
    value, report = repaired(bytes(data), tmp_path)
    assert (report.lost, report.unverified, report.notes) == ((), (), ())
    assert all(equal(value[name], tensors[name]) for name in tensors)


def test_zeros_over_a_record_and_the_next_header_are_told(tmp_path: Path) -> None:
    """Of a file whose end is gone as well, so that the header's record is not known any more."""
    tensors = {name: ptfile.full((1000,), start) for name, start in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    data = bytearray(saved(tensors))
    first = data.index(tensors["a"].numpy().tobytes())
    start = (first + 2000) // 512 * 512
    data[start : first + 4100] = bytes(first + 4100 - start)
    value, report = repaired(bytes(data[:-50]), tmp_path)
    assert list(value) == ["c"]
    problems = {tensor.name: tensor.problem for tensor in report.lost}
    assert f"bytes {start} to " in problems["a"]
    assert "are zeros" in problems["a"]
    assert problems["b"] == "its header is damaged or gone"


def test_a_storage_that_holds_a_checkpoint_itself_is_no_confusion(tmp_path: Path) -> None:
    """Its bytes have headers with the same names in them."""
    inner = saved({"weight": numbers(7000)})
    tree = {"weight": numbers(1000), "file": ptfile.from_numpy(np.frombuffer(inner, np.uint8)), "last": numbers(3000)}
    value, report = repaired(saved(tree)[:-40], tmp_path)
    assert report.lost == ()
    assert equal(value["weight"], tree["weight"])
    assert value["file"].numpy().tobytes() == inner


def test_a_file_cut_off_between_bytes_and_checksum_is_kept_unverified(tmp_path: Path) -> None:
    """The bytes are all there, and nothing speaks against them."""
    last = numbers(4000)
    data = saved({"first": numbers(1000), "last": last})
    end = data.index(last.numpy().tobytes()) + 800
    value, report = repaired(data[: end + 3], tmp_path)
    assert report.unverified == ("last",)
    assert equal(value["last"], last)


def test_a_file_without_checksums_is_salvaged_unverified(tmp_path: Path) -> None:
    """And the report says so of the pickle as well."""
    data = saved({"first": numbers(1000), "last": numbers(4000)}, checksum=False)
    _, report = repaired(data[: data.index(numbers(4000).numpy().tobytes()) + 400], tmp_path)
    assert report.unverified == ("first",)
    assert report.notes == ("data.pkl has no checksum",)
    assert [tensor.name for tensor in report.lost] == ["last"]


def test_a_tensor_of_parts_goes_as_a_whole(tmp_path: Path) -> None:
    """A sparse tensor without its values is none."""
    indices, values = ptfile.tensor([[0, 1, 5, 6, 7, 8, 9, 10]]), ptfile.full((8,), 2.5)
    sparse = SparseTensor(indices, values, (20,), True)
    value, report = repaired(damaged(saved({"sparse": sparse, "kept": numbers(1)}), values), tmp_path)
    assert list(value) == ["kept"]
    assert {tensor.name for tensor in report.lost} == {"sparse", "sparse.indices", "sparse.values"}
    assert all(tensor.record == "data/1" for tensor in report.lost)


def test_attributes_of_a_state_dict_are_looked_into(tmp_path: Path) -> None:
    """PyTorch keeps what it knows of a module's versions there, and people their own things."""
    lost = numbers(1000)
    state: Any = OrderedDict(kept=numbers(1))
    state._metadata = OrderedDict(note=lost)
    value, report = repaired(damaged(saved({"state": state}), lost), tmp_path)
    assert dict(value["state"]._metadata) == {}
    assert [tensor.name for tensor in report.lost] == ["state._metadata.note"]


def test_objects_of_unknown_classes_are_looked_into(tmp_path: Path) -> None:
    """They are written again as what they stand for, without what is lost."""
    lost, kept = numbers(1000), numbers(5000)
    record = ptfile.load(io.BytesIO(saved(Thing(lost, kept))), unknown="inert")
    value, report = repaired(damaged(saved(record), lost), tmp_path)
    assert value.inert_class == f"{__name__}.Thing"
    assert list(value.inert_state) == ["kept", "items"]
    assert value.inert_state["items"] == [None, 3]
    assert equal(value.kept, kept)
    assert {tensor.name for tensor in report.lost} == {"lost", "items[0]"}


class Thing:
    """An object of the user's."""

    def __init__(self, lost: ptfile.Tensor, kept: ptfile.Tensor) -> None:
        self.lost = lost
        self.kept = kept
        self.items = [lost, 3]


def test_namespaces_deques_and_what_contains_itself(tmp_path: Path) -> None:
    """Each kind of container, and one that goes round in a circle."""
    lost, kept = numbers(1000), numbers(5000)
    circle: list[Any] = [lost, argparse.Namespace(gone=lost, here=kept), deque([lost, kept])]
    circle.append(circle)
    value, report = repaired(damaged(saved(circle), lost), tmp_path)
    assert value[0] is None
    assert vars(value[1]).keys() == {"here"}
    assert value[2][0] is None
    assert equal(value[2][1], kept)
    assert value[3] is value
    assert [tensor.name for tensor in report.lost] == ["[0]", "[1].gone", "[2][0]"]


def test_attributes_of_a_tensor_are_looked_into(tmp_path: Path) -> None:
    """The tensor stays, and its attribute is None."""
    lost, kept = numbers(1000), ptfile.Parameter(ptfile.ones(4))
    kept.python_side = PythonSide(None, {"mean": lost, "tag": "x"})
    value, report = repaired(damaged(saved({"kept": kept}), lost), tmp_path)
    assert value["kept"].attributes == {"tag": "x"}
    assert [tensor.name for tensor in report.lost] == ["kept.mean"]


def records(value: object) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(saved(value))) as file:
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (zip_of({**records([1]), "byteorder": b"big"}).getvalue(), "only little-endian files"),
        (zip_of(records([1]), deflated=True).getvalue(), "only stored records"),
        (zip_of({**records([1]), "constants.pkl": b"x"}).getvalue(), "this is TorchScript"),
    ],
)
def test_what_repair_does_not_do_is_said(data: bytes, problem: str, tmp_path: Path) -> None:
    """Better than a file that is nearly right."""
    (tmp_path / "broken.pt").write_bytes(data)
    with pytest.raises(ptfile.UnsupportedError, match=problem):
        ptfile.repair(tmp_path / "broken.pt", tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


def test_a_checkpoint_inside_a_storage_is_not_taken_for_the_file(tmp_path: Path) -> None:
    """If the file's own pickle is gone there is nothing to repair, though another one is found further on."""
    inner = saved({"weight": numbers(7000)})
    data = bytearray(saved({"file": ptfile.from_numpy(np.frombuffer(inner, np.uint8))})[:-40])
    data[:30] = bytes(30)
    (tmp_path / "broken.pt").write_bytes(bytes(data))
    with pytest.raises(ptfile.FormatError):
        ptfile.repair(tmp_path / "broken.pt", tmp_path / "out.pt")


def test_records_of_a_checkpoint_inside_a_damaged_storage_are_not_taken(tmp_path: Path) -> None:
    """It has a record of the same name and size as one that the file has lost."""
    inner = saved({"a": numbers(7000), "b": numbers(8000)})
    data = saved({"file": ptfile.from_numpy(np.frombuffer(inner, np.uint8)), "b": numbers(3000)})
    at = data.index(inner) + len(inner)
    broken = data[: at + 4] + bytes(12) + data[at + 16 : data.index(numbers(3000).numpy().tobytes()) + 100]
    value, report = repaired(broken, tmp_path)
    assert value == {}
    assert [tensor.name for tensor in report.lost] == ["file", "b"]


def test_a_disk_that_is_failing_gives_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage in which it cannot read is lost, and the others are not."""
    tensors = {"lost": ptfile.arange(1 << 18), "kept": ptfile.arange(1 << 18) + 7}
    data = saved(tensors)
    bad = data.index(tensors["lost"].numpy().tobytes()) + 1_000_000
    read_some = LocalSource._read_some

    def failing(self: LocalSource, offset: int, target: memoryview) -> int:
        if offset <= bad < offset + target.nbytes:
            raise OSError(errno.EIO, "Input/output error")
        return read_some(self, offset, target)

    monkeypatch.setattr(LocalSource, "_read_some", failing)
    (tmp_path / "broken.pt").write_bytes(data)
    result = ptfile.verify(tmp_path / "broken.pt")
    assert [(damage.problem, damage.tensors) for damage in result.damage] == [
        ("the disk cannot read it: Input/output error", ("lost",)),
    ]
    report = ptfile.repair(tmp_path / "broken.pt", tmp_path / "out.pt")
    assert [(tensor.name, tensor.problem) for tensor in report.lost] == [
        ("lost", "it cannot be read: Input/output error"),
    ]
    monkeypatch.undo()
    assert equal(ptfile.load(tmp_path / "out.pt")["kept"], tensors["kept"])


def test_the_pickle_is_needed(tmp_path: Path) -> None:
    """It says what is in the file: without it there is nothing to repair, and nothing is written."""
    data = saved({"a": numbers(1000)})
    at = data.index(b"_rebuild_tensor")
    (tmp_path / "broken.pt").write_bytes(data[:at] + b"X" + data[at + 1 :])
    with pytest.raises(ptfile.FormatError, match=r"data\.pkl: its checksum is wrong.*Nothing can be salvaged"):
        ptfile.repair(tmp_path / "broken.pt", tmp_path / "out.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.pt"]


def test_the_broken_file_is_never_written_over(tmp_path: Path) -> None:
    """By its own name, by a symlink, by a hard link."""
    broken = tmp_path / "broken.pt"
    broken.write_bytes(saved({"a": numbers(1000)})[:-1])
    (tmp_path / "link.pt").symlink_to(broken)
    (tmp_path / "hard.pt").hardlink_to(broken)
    for name in ("broken.pt", "link.pt", "hard.pt"):
        with pytest.raises(ValueError, match="broken file itself"):
            ptfile.repair(broken, tmp_path / name)


def test_a_lone_lost_tensor_is_an_error(tmp_path: Path) -> None:
    """There is nothing to write."""
    tensor = numbers(1000)
    (tmp_path / "broken.pt").write_bytes(damaged(saved(tensor), tensor))
    with pytest.raises(ptfile.FormatError, match="the one tensor in it is lost"):
        ptfile.repair(tmp_path / "broken.pt", tmp_path / "out.pt")


def test_files_of_other_formats_are_refused(tmp_path: Path) -> None:
    """The legacy format has no checksums, so nothing could be told; and a web page is no checkpoint."""
    (tmp_path / "old.pt").write_bytes(saved(numbers(1), _use_new_zipfile_serialization=False))
    with pytest.raises(ptfile.UnsupportedError, match="only files of the zip format"):
        ptfile.repair(tmp_path / "old.pt", tmp_path / "out.pt")
    (tmp_path / "page.pt").write_bytes(b"<!doctype html><title>Not found</title>")
    with pytest.raises(ptfile.FormatError, match="with the title 'Not found'"):
        ptfile.repair(tmp_path / "page.pt", tmp_path / "out.pt")


def test_a_whole_file_is_copied_as_it_is(tmp_path: Path) -> None:
    """The tree that was saved is saved again."""
    tree = {"a": numbers(1000), "b": [numbers(2000)[::2], None, 1.5]}
    _, report = repaired(saved(tree), tmp_path)
    assert (report.lost, report.unverified, report.notes) == ((), (), ())
    assert saved(ptfile.load(tmp_path / "out.pt")) == saved(tree)


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    """The output is written as `save` writes: all or nothing."""
    (tmp_path / "broken.pt").write_bytes(saved({"a": numbers(1000)})[:-1])
    with pytest.raises(FileNotFoundError):
        ptfile.repair(tmp_path / "broken.pt", tmp_path / "none" / "out.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.pt"]

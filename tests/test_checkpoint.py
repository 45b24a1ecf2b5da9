"""`ptfile.open`: names to tensors, read when they are used."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.formats.zip_saving import ZipOptions, ZipSave
from ptfile.machine.inert import InertRecord
from ptfile.sinks import FileSink
from ptfile.sources import LocalSource
from ptfile.tensors.storage import Storage


class Net:
    """A class that ptfile does not know."""

    def __init__(self) -> None:
        self.weight = ptfile.ones(2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    weight = ptfile.arange(6).reshape(2, 3)
    ptfile.save({"layer": {"weight": weight, "tied": weight[0]}, "steps": [3, ptfile.zeros(1000)]}, path)
    return path


def test_tensors_and_values_are_found_by_the_names_that_ls_shows(path: Path) -> None:
    """A mapping over the leaves of the tree, in its order."""
    with ptfile.open(path) as checkpoint:
        assert list(checkpoint) == [
            *("layer.weight", "layer.tied", "steps[0]", "steps[1]"),
        ]
        assert checkpoint["steps[0]"] == 3
        assert [name for name, _ in checkpoint.tensors()] == ["layer.weight", "layer.tied", "steps[1]"]
        assert [info.name for info in ptfile.inspect(path).tensors] == [name for name, _ in checkpoint.tensors()]
        assert "missing" not in checkpoint
        assert checkpoint.format == "zip"
        assert str(path) in repr(checkpoint)


def test_a_tensor_is_read_when_its_elements_are_looked_at(path: Path) -> None:
    """Not when the file is opened, nor when it is sliced; and then no other one is."""
    with ptfile.open(path) as checkpoint:
        row = checkpoint["layer.weight"][1]
        assert not row.untyped_storage().is_loaded
        assert row.tolist() == [3, 4, 5]
        assert row.untyped_storage().is_loaded
        assert checkpoint["layer.tied"].untyped_storage() is row.untyped_storage()
        assert not checkpoint["steps[1]"].untyped_storage().is_loaded


def test_what_has_been_read_stays_after_the_end(path: Path) -> None:
    """What has not been read is an error, not garbage."""
    with ptfile.open(path) as checkpoint:
        read, unread = checkpoint["layer.weight"], checkpoint["steps[1]"]
        read.tolist()
    assert read.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises((OSError, ValueError)):
        unread.tolist()


def test_a_damaged_tensor_is_an_error_when_it_is_read(path: Path) -> None:
    """The others can be read."""
    data = bytearray(path.read_bytes())
    place = data.index(b"model/data/0")
    data[data.index(bytes([3, 0, 0, 0]), place)] ^= 1
    with ptfile.open(io.BytesIO(bytes(data))) as checkpoint:
        assert checkpoint["steps[1]"].numel() == 1000
        assert not checkpoint["steps[1]"].numpy().any()
        with pytest.raises(ptfile.FormatError, match="checksum"):
            checkpoint["layer.weight"].tolist()


def test_objects_of_unknown_classes_are_looked_into() -> None:
    """Inert records, unless they are to be an error."""
    buffer = io.BytesIO()
    ptfile.save(Net(), buffer)
    buffer.seek(0)
    with ptfile.open(buffer) as checkpoint:
        assert type(checkpoint.root) is InertRecord
        assert checkpoint["weight"].tolist() == [1.0, 1.0]
    buffer.seek(0)
    with pytest.raises(ptfile.UnsafeError):
        ptfile.open(buffer, unknown="error")


def test_locations_are_mapped_as_in_load(path: Path) -> None:
    """Over device tags."""
    with ptfile.open(path, map_location="cuda:1") as checkpoint:
        assert checkpoint["layer.weight"].device == "cuda:1"


@pytest.mark.parametrize("f", [io.BytesIO(b"no checkpoint"), 3])
def test_what_is_no_checkpoint_is_an_error_at_once(f: Any) -> None:
    """As in load."""
    with pytest.raises((ptfile.FormatError, TypeError)):
        ptfile.open(f)


@pytest.mark.parametrize(
    "tree",
    [
        {"a.b": 1, "a": {"b": 2}, 3: {"x": [ptfile.ones(2), {"y": 4}]}, (1, "z"): 5, "": 6, "c\n": {None: 7}},
        {float("nan"): 1, float("inf"): 2},
        ptfile.ones(3),
        [1, 2, [3, ptfile.ones(1)]],
    ],
)
def test_every_name_leads_to_its_value(tree: Any) -> None:
    """Whatever the keys are; and the exact form does, though the readable one is shown."""
    buffer = io.BytesIO()
    ptfile.save(tree, buffer)
    buffer.seek(0)
    with ptfile.open(buffer) as checkpoint:
        shown = dict(checkpoint)
        assert all(checkpoint[name] is value for name, value in shown.items())
        assert {name: info.value for name in shown for info in checkpoint.summary.values if info.name == name} == {
            name: value for name, value in shown.items() if not isinstance(value, ptfile.Tensor)
        }


def test_a_name_may_be_given_in_its_exact_form(path: Path) -> None:
    """With every key in brackets, as it would be shown if another place looked like it."""
    with ptfile.open(path) as checkpoint:
        assert checkpoint["['layer']['weight']"] is checkpoint["layer.weight"]
        assert "['layer']['weight']" not in list(checkpoint)
        with pytest.raises(KeyError):
            checkpoint["['layer']['missing']"]


def test_a_name_that_is_not_there_says_what_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is near, or that it is a group; but only who reads the message pays for it."""
    with ptfile.open(path) as checkpoint:
        with pytest.raises(KeyError) as typed:
            checkpoint["layer.wieght"]
        assert str(typed.value).startswith("there is no layer.wieght: there is layer.weight")
        assert typed.value.args == ("layer.wieght",)
        assert str(typed.value) in str(pickle.loads(pickle.dumps(typed.value)))
        with pytest.raises(KeyError) as group:
            checkpoint["layer"]
        assert str(group.value).startswith("layer is a group of ")
        with pytest.raises(KeyError) as other:
            checkpoint[3]  # type: ignore[index]
        assert str(other.value).startswith("there is no 3: ")

        monkeypatch.setattr("ptfile._checkpoint.unknown", pytest.fail)
        assert checkpoint.get("layer.wieght") is None
        assert "layer" not in checkpoint


def test_the_versions_of_a_state_dict_are_left_in_the_object() -> None:
    """As `ptfile ls` does, which shows the names of the mapping."""
    state = OrderedDict(weight=ptfile.ones(2))
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    buffer = io.BytesIO()
    ptfile.save(state, buffer)
    buffer.seek(0)
    with ptfile.open(buffer) as checkpoint:
        assert list(checkpoint) == ["weight"]
        assert checkpoint.root._metadata == {"": {"version": 1}}


def test_it_says_what_the_file_says_about_itself(path: Path) -> None:
    """Records by their names; the facts of the machine in a legacy file."""
    legacy = io.BytesIO()
    ptfile.save([1], legacy, _use_new_zipfile_serialization=False)
    legacy.seek(0)
    with ptfile.open(path) as checkpoint:
        said = checkpoint.metadata
        assert (said["version"], said["byteorder"], said[".storage_alignment"]) == ("3", sys.byteorder, "64")
        assert re.fullmatch("[0-9]{40}", said[".data/serialization_id"])
    with ptfile.open(legacy) as checkpoint:
        assert checkpoint.metadata == {
            "protocol_version": "1001",
            "little_endian": "True",
            "type_sizes.short": "2",
            "type_sizes.int": "4",
            "type_sizes.long": "4",
        }


def test_sizes_and_sharing_are_those_of_inspect(path: Path) -> None:
    """The summary of an open checkpoint is the summary of its file."""
    with ptfile.open(path) as checkpoint:
        assert checkpoint.summary == ptfile.inspect(path)
        assert checkpoint.summary.storages[0].names == ("layer.weight", "layer.tied")


# slices of what is large


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.pt"
    ptfile.save({"w": ptfile.arange(1 << 20, dtype=ptfile.int32).reshape(1024, 1024), "small": ptfile.ones(2)}, path)
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_a_slice_reads_only_its_rows(large: Path, legacy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a few bytes to find them."""
    if legacy:
        ptfile.save(ptfile.load(large), large, _use_new_zipfile_serialization=False)
    with ptfile.open(large) as checkpoint:
        rows = checkpoint["w"][100:110]
        read = _bytes_read(checkpoint, monkeypatch)
        assert rows.numpy()[0, 0] == 100 * 1024
        assert sum(read) - 10 * 4096 <= 64 << 10
        assert not rows.untyped_storage().is_loaded


def test_a_mapped_checkpoint_reads_what_is_looked_at(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices are views of the whole, which can be written without a change to the file."""
    before = large.read_bytes()
    with ptfile.open(large, mmap=True) as checkpoint:
        checkpoint["w"][3].numpy()[0] = -1
        assert checkpoint["w"][3, :2].tolist() == [-1, 3 * 1024 + 1]
        again = pickle.loads(pickle.dumps(checkpoint))
    assert again["w"][3, 0].item() == 3 * 1024
    assert large.read_bytes() == before


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pipe_is_opened_too(large: Path, legacy: bool) -> None:
    """Its names can be asked for in any order, because it has been read."""
    if legacy:
        ptfile.save(ptfile.load(large), large, _use_new_zipfile_serialization=False)
    read_end, write_end = os.pipe()

    def send() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(large.read_bytes())

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(read_end, "rb") as pipe, ptfile.open(pipe) as checkpoint:
        assert checkpoint["small"].tolist() == [1.0, 1.0]
        assert checkpoint["w"][5, 7].item() == 5 * 1024 + 7
    sender.join()


def test_a_damaged_byte_shows_only_to_those_who_read_the_whole(large: Path) -> None:
    """The checksum of a record is over all of it: a part cannot be checked."""
    data = bytearray(large.read_bytes())
    data[len(data) // 2] ^= 1
    large.write_bytes(data)
    with ptfile.open(large) as checkpoint:
        assert checkpoint["w"][0, :3].tolist() == [0, 1, 2]
        with pytest.raises(ptfile.FormatError, match="checksum"):
            checkpoint["w"].numpy()


def _bytes_read(checkpoint: ptfile.Checkpoint, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list to which each read of the file from now on adds its length."""
    read: list[int] = []
    fill = LocalSource._fill

    def counted(self: LocalSource, offset: int, target: memoryview) -> None:
        read.append(target.nbytes)
        fill(self, offset, target)

    monkeypatch.setattr(LocalSource, "_fill", counted)
    return read


# threads, processes, and the end


def test_threads_share_a_checkpoint(tmp_path: Path) -> None:
    """Eight of them, each reading the same and other tensors and slices: all is right, and what is shared is one."""
    path = tmp_path / "model.pt"
    ptfile.save({f"t{i}": ptfile.full((300, 100), i, dtype=ptfile.int32) for i in range(40)}, path)
    start = threading.Barrier(8)
    with ptfile.open(path) as checkpoint:

        def read(number: int) -> list[int]:
            start.wait()
            addresses = []
            for step in range(40):
                i = (step if number % 2 else step * 7 + number) % 40
                tensor = checkpoint[f"t{i}"]
                part = tensor[3 * number : 3 * number + 2].numpy()
                assert (part == i).all()
                assert (tensor.numpy() == i).all()
                addresses.append(tensor.data_ptr())
            return sorted(addresses)

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(read, range(8)))
    assert all(addresses == found[0] for addresses in found)


def test_a_checkpoint_goes_to_another_process_by_its_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened there with the same options, from whatever folder."""
    monkeypatch.chdir(path.parent)
    with ptfile.open("model.pt", map_location="cuda:1") as checkpoint:
        pickled = pickle.dumps(checkpoint)
    monkeypatch.chdir("/")
    with pickle.loads(pickled) as again:
        assert again["layer.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert again["layer.weight"].device == "cuda:1"


def test_a_checkpoint_in_memory_cannot_go_to_another_process(path: Path) -> None:
    """Nothing there could open it."""
    with ptfile.open(io.BytesIO(path.read_bytes())) as checkpoint, pytest.raises(TypeError, match="BytesIO"):
        pickle.dumps(checkpoint)


@pytest.mark.parametrize("in_memory", [False, True])
def test_after_the_end_the_error_says_what_was_closed(large: Path, in_memory: bool) -> None:
    """By the name of the file, or of the kind of object."""
    f: Any = io.BytesIO(large.read_bytes()) if in_memory else large
    with ptfile.open(f) as checkpoint:
        pass
    with pytest.raises(OSError, match="is closed") as caught:
        checkpoint["w"].tolist()
    assert caught.value.filename == ("BytesIO" if in_memory else str(large))
    with pytest.raises(OSError, match="is closed"):
        checkpoint["w"][3].tolist()


def test_a_file_that_is_replaced_stays_the_one_that_was_opened(large: Path) -> None:
    """A save puts a new file in its place, and the old one lives as long as someone has it open."""
    with ptfile.open(large) as checkpoint:
        ptfile.save({"w": ptfile.zeros(3)}, large)
        assert checkpoint["w"][1, :3].tolist() == [1024, 1025, 1026]
        assert checkpoint["small"].tolist() == [1.0, 1.0]


def test_a_file_that_is_written_over_is_an_error(large: Path) -> None:
    """Not a mixture of two files, though both have the same size."""
    data = large.read_bytes()
    with ptfile.open(large) as checkpoint:
        os.utime(large, ns=(0, 0))
        with large.open("r+b") as file:
            file.write(data)
        with pytest.raises(ptfile.FormatError, match="changed while it was open"):
            checkpoint["w"][3].tolist()


def test_a_file_that_is_cut_is_an_error(large: Path) -> None:
    """Where bytes are missing that were there."""
    with ptfile.open(large) as checkpoint:
        os.truncate(large, 1 << 20)
        with pytest.raises(ptfile.FormatError):
            checkpoint["w"][1000].tolist()


# in the order of the file


def test_a_stream_goes_by_the_file_and_keeps_nothing(path: Path) -> None:
    """Every tensor once, equal to what the mapping has; the mapping's own stay unread."""
    with ptfile.open(path) as checkpoint:
        streamed = list(checkpoint.stream())
        assert [name for name, _ in streamed] == ["layer.weight", "layer.tied", "steps[1]"]
        assert not any(tensor.untyped_storage().is_loaded for _, tensor in checkpoint.tensors())
        assert all(tensor.tolist() == checkpoint[name].tolist() for name, tensor in streamed)
        again = dict(checkpoint.stream())["layer.weight"]
        again[0] = -1
        assert checkpoint["layer.weight"][0].tolist() == [0, 1, 2]


def test_what_shares_a_storage_in_the_file_shares_one_in_the_stream(path: Path) -> None:
    """As it does when it is loaded, wherever the names stand."""
    tree = {"a": ptfile.zeros(3), "b": ptfile.ones(2)}
    ptfile.save({**tree, "c": tree["a"][1:]}, path)
    with ptfile.open(path) as checkpoint:
        streamed = dict(checkpoint.stream())
        streamed["a"][1] = 5
        assert list(streamed) == ["a", "c", "b"]
        assert streamed["c"].tolist() == [5.0, 0.0]
        assert checkpoint["a"].tolist() == [0.0, 0.0, 0.0]


def test_a_stream_checks_what_it_reads(path: Path) -> None:
    """A damaged tensor is an error when its turn comes."""
    data = bytearray(path.read_bytes())
    data[data.index(bytes([3, 0, 0, 0]), data.index(b"model/data/0"))] ^= 1
    with (
        ptfile.open(io.BytesIO(bytes(data))) as checkpoint,
        pytest.raises(ptfile.FormatError, match="checksum"),
    ):
        list(checkpoint.stream())


WALK = """
import sys, ptfile

def memory(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(what)) // 1024

with ptfile.open(sys.argv[1]) as checkpoint:
    before, seen = memory("VmRSS"), 0
    for name, tensor in checkpoint.stream():
        seen += tensor.numpy()[::1024].size
    print(seen, memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it asks Linux for the most memory that a process had")
def test_a_stream_of_a_large_checkpoint_takes_little_memory(tmp_path: Path) -> None:
    """Half a gigabyte goes through less than 64 MiB."""
    path = tmp_path / "large.pt"
    count, mib = 32, 16
    storages = [Storage.deferred(mib << 20, None) for _ in range(count)]
    tree = {f"t{i}": ptfile.Tensor(storage, ptfile.uint8, 0, (mib << 20,), (1,)) for i, storage in enumerate(storages)}
    with FileSink(str(path)) as sink:  # the bytes are holes in the file
        ZipSave(tree, "large", options=ZipOptions(checksum=False, contents=False)).write(sink)
    result = subprocess.run([sys.executable, "-c", WALK, path], capture_output=True, encoding="utf-8", check=True)
    seen, extra = map(int, result.stdout.split())

    assert seen == count * (mib << 10)
    assert extra < 64

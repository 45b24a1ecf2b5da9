"""Save and load of the zip format, end to end: where it goes, what is shared, what is checked."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from tests.hostile.zip_builder import Entry, Zip


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    return buffer.getvalue()


def tensor_bytes(tensor: ptfile.Tensor) -> bytes:
    return np.ascontiguousarray(tensor.numpy()).tobytes()


class WriteAndFlushOnly:
    """A file-like object with the two methods that PyTorch asks for, like the end of a pipe."""

    def __init__(self) -> None:
        self.data = b""
        self.flushed = 0

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)

    def flush(self) -> None:
        self.flushed += 1


def test_anything_with_write_and_flush_will_do() -> None:
    """Nothing else is asked of a file object, and it is flushed."""
    sink = WriteAndFlushOnly()
    ptfile.save([1, ptfile.arange(3)], sink)
    assert sink.data == saved([1, ptfile.arange(3)])
    assert sink.flushed


def test_a_pipe_will_do(tmp_path: Path) -> None:
    """A file saved through a pipe has the bytes of one saved to memory."""
    reading, writing = os.pipe()
    with open(writing, "wb") as sink:
        thread = threading.Thread(target=ptfile.save, args=({"a": ptfile.zeros(5)}, sink))
        thread.start()
        thread.join()
    with open(reading, "rb") as source:
        assert source.read() == saved({"a": ptfile.zeros(5)})


@pytest.mark.parametrize("name", ["with space.pt", "schön 日本.pt", "no_ending"])
def test_paths_of_all_kinds_are_saved_and_loaded(name: str, tmp_path: Path) -> None:
    """Strings and PathLike objects, spaces and non-ASCII names."""
    for path in (tmp_path / name, str(tmp_path / name)):
        ptfile.save({"x": ptfile.arange(4)}, path)
        assert ptfile.load(path)["x"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("f", [None, 3, object()])
def test_what_is_no_file_is_a_type_error(f: Any) -> None:
    """With a message that says what it must be."""
    with pytest.raises(TypeError, match="path"):
        ptfile.save(1, f)
    with pytest.raises(TypeError, match="path"):
        ptfile.load(f)


def test_an_object_that_cannot_be_pickled_leaves_the_old_file(tmp_path: Path) -> None:
    """The pickle is complete before anything is opened, and no temporary file is left."""
    path = tmp_path / "model.pt"
    ptfile.save("old", path)
    before = path.read_bytes()
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        ptfile.save({"a": ptfile.zeros(3), "f": lambda: None}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file takes the old one's name only when it is whole."""
    path = tmp_path / "model.pt"
    ptfile.save("old", path)
    before = path.read_bytes()

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        ptfile.save({"a": ptfile.zeros(3)}, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_file_object_is_read_from_where_it_stands() -> None:
    """Bytes before the checkpoint are not looked at."""
    file = io.BytesIO(b"something else" + saved([1, 2, ptfile.arange(3)]))
    file.seek(len(b"something else"))
    assert ptfile.load(file)[:2] == [1, 2]


def test_views_share_their_storage_after_loading() -> None:
    """The documented example: writing through one view is seen through the other."""
    numbers = ptfile.arange(1, 10)
    loaded_numbers, loaded_evens = ptfile.load(io.BytesIO(saved([numbers, numbers[1::2]])))
    loaded_evens *= 2
    assert loaded_numbers.tolist() == [1, 4, 3, 8, 5, 12, 7, 16, 9]


def test_a_loaded_tree_is_saved_to_the_same_bytes() -> None:
    """`save(load(f)) == f`."""
    shared = ptfile.zeros(3, 4)
    tree = {"a": [shared, shared.t()], "b": ptfile.ones(2, dtype=ptfile.bfloat16), "c": (shared, 1.5, None, "text")}
    data = saved(tree)
    assert saved(ptfile.load(io.BytesIO(data))) == data


@pytest.mark.parametrize(
    ("map_location", "expected"),
    [
        (None, ["cuda:0", "cpu"]),
        ("cpu", ["cpu", "cpu"]),
        ({"cuda:0": "cuda:1"}, ["cuda:1", "cpu"]),
        (ptfile.Device("mps"), ["mps", "mps"]),
        (lambda storage, location: None, ["cuda:0", "cpu"]),
    ],
)
def test_map_location_changes_the_tags(map_location: Any, expected: list[str]) -> None:
    """A tag, a mapping, a device and a function, as in PyTorch."""
    data = saved([ptfile.zeros(1, device="cuda:0"), ptfile.zeros(2)])
    assert [tensor.device for tensor in ptfile.load(io.BytesIO(data), map_location)] == expected


def test_a_map_location_function_that_fails_is_not_asked_again() -> None:
    """Else an error that does not come twice would be lost."""
    calls: list[str] = []
    data = io.BytesIO()
    ptfile.save([ptfile.ones(2), ptfile.ones(2)], data)

    def refuse_once(storage: ptfile.UntypedStorage, location: str) -> ptfile.UntypedStorage:
        calls.append(location)
        if len(calls) == 1:
            raise OSError("not now")
        return storage

    with pytest.raises(OSError, match="not now"):
        ptfile.load(io.BytesIO(data.getvalue()), refuse_once)
    assert calls == ["cpu"]


def test_a_map_location_function_is_called_once_for_each_storage() -> None:
    """With the storage and its tag; the storage that it returns is used."""
    calls = []

    def to_tpu(storage: ptfile.UntypedStorage, location: str) -> ptfile.UntypedStorage:
        calls.append((storage.nbytes(), location))
        storage.device = "tpu"
        return storage

    shared = ptfile.zeros(2, device="cuda:0")
    loaded = ptfile.load(io.BytesIO(saved([shared, shared[1:], ptfile.zeros(3)])), to_tpu)
    assert calls == [(8, "cuda:0"), (12, "cpu")]
    assert {tensor.device for tensor in loaded} == {"tpu"}


def test_mapped_tensors_equal_read_ones_and_leave_the_file_alone(tmp_path: Path) -> None:
    """mmap=True: the same values; what is written to them stays in memory."""
    path = tmp_path / "mapped.pt"
    ptfile.save([ptfile.arange(1000), ptfile.ones(3, dtype=ptfile.bfloat16)], path)
    before = path.read_bytes()
    mapped, read = ptfile.load(path, mmap=True), ptfile.load(path)
    assert [tensor.tolist() for tensor in mapped] == [tensor.tolist() for tensor in read]
    mapped[0].zero_()
    assert path.read_bytes() == before
    assert mapped[0].tolist() == [0] * 1000


def test_mapping_needs_a_path() -> None:
    """A file object cannot be mapped."""
    with pytest.raises(ValueError, match="path"):
        ptfile.load(io.BytesIO(saved(1)), mmap=True)


def test_a_pickle_module_needs_weights_only_false() -> None:
    """The safe way has its own machine."""
    with pytest.raises(ValueError, match="weights_only=False"):
        ptfile.load(io.BytesIO(saved(1)), pickle_module=pickle)


@pytest.mark.parametrize("record", ["data.pkl", "data/0", "byteorder"])
def test_a_changed_byte_in_any_record_is_an_error_with_its_name(record: str) -> None:
    """The checksum of every record that load reads is verified."""
    data = bytearray(saved([ptfile.arange(100)]))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = archive.read(f"archive/{record}")
    data[data.index(content) + len(content) // 2] ^= 0x10
    with pytest.raises(ptfile.FormatError) as caught:
        ptfile.load(io.BytesIO(bytes(data)))
    assert caught.value.record == record


def test_a_changed_byte_in_a_name_of_the_directory_is_an_error() -> None:
    """Else numbers would be read in the wrong byte order, and silently."""
    swapped = Zip(
        [Entry(b"a/data.pkl", pickled_tensor()), Entry(b"a/byteorder", b"big"), Entry(b"a/data/0", bytes(31) + b"\1")]
    ).build()
    assert ptfile.load(io.BytesIO(swapped)).tolist() == [0, 0, 0, 1]
    renamed = b"a/byteordes".join(swapped.rsplit(b"a/byteorder", 1))
    for read in (ptfile.load, ptfile.inspect, ptfile.open):
        with pytest.raises(ptfile.FormatError, match="disagree"):
            read(io.BytesIO(renamed))


def test_a_storage_is_read_where_pytorch_reads_it() -> None:
    """PyTorch 1.4 had another folder; a file with both is not two files to two readers."""
    entries = [Entry(b"a/data.pkl", pickled_tensor()), Entry(b"a/tensors/0", bytes(32))]
    assert ptfile.load(io.BytesIO(Zip(entries).build())).tolist() == [0, 0, 0, 0]
    entries.append(Entry(b"a/data/0", np.arange(4).tobytes()))
    assert ptfile.load(io.BytesIO(Zip(entries).build())).tolist() == [0, 1, 2, 3]


def test_a_class_of_ptfile_is_not_saved_under_its_name() -> None:
    """Nothing but ptfile could tell what that is; `torch.device` as a class comes to be one by loading."""
    loaded = ptfile.load(io.BytesIO(archive(b"\x80\x02ctorch\ndevice\n.")))
    for kind in (loaded, ptfile.Tensor):
        with pytest.raises(ptfile.UnsupportedError, match="no name"):
            saved([kind])


def test_the_checksum_can_be_left_out() -> None:
    """Then every CRC is zero, and the file loads."""
    data = saved([ptfile.arange(10)], checksum=False)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.CRC for info in archive.infolist()} == {0}
    assert ptfile.load(io.BytesIO(data))[0].tolist() == list(range(10))


@pytest.mark.parametrize("alignment", [1, 16, 256, 4096])
def test_storages_stand_at_multiples_of_the_alignment(alignment: int, tmp_path: Path) -> None:
    """And the record says which."""
    path = tmp_path / "aligned.pt"
    ptfile.save([ptfile.arange(3), ptfile.arange(5)], path, storage_alignment=alignment)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("aligned/.storage_alignment") == str(alignment).encode()
        for info in archive.infolist():
            header = path.read_bytes()[info.header_offset :]
            payload = info.header_offset + 30 + int.from_bytes(header[26:28], "little")
            assert (payload + int.from_bytes(header[28:30], "little")) % alignment == 0


def test_the_legacy_text_protocol_is_refused() -> None:
    """PyTorch writes such files and cannot read them back."""
    with pytest.raises(ptfile.UnsupportedError, match="protocol"):
        saved([1], pickle_protocol=0)


def archive(pickled: bytes, **storages: bytes) -> bytes:
    entries = [Entry(b"a/data.pkl", pickled), Entry(b"a/byteorder", b"little"), Entry(b"a/version", b"3\n")]
    return Zip([*entries, *(Entry(f"a/data/{key[1:]}".encode(), data) for key, data in storages.items())]).build()


def pickled_tensor(**changes: Any) -> bytes:
    """The pickle of an int64 tensor of 4 elements, with parts of its persistent id or arguments changed."""
    parts: dict[str, Any] = {
        "tag": "storage",
        "kind": b"ctorch\nLongStorage\n",
        "key": "0",
        "location": "cpu",
        "numel": 4,
        "offset": 0,
        "shape": (4,),
        "stride": (1,),
        "grad": False,
        **changes,
    }

    def plain(value: Any) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    pid: bytes = b"(" + plain(parts["tag"]) + parts["kind"] + plain(parts["key"]) + plain(parts["location"])
    pid += plain(parts["numel"]) + b"tQ"
    arguments: bytes = b"(" + pid + b"".join(plain(parts[name]) for name in ("offset", "shape", "stride", "grad"))
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"ccollections\nOrderedDict\n)RtR."


def test_the_pickled_tensor_below_is_a_good_one() -> None:
    """Unchanged it loads, so that each change below is what makes the error."""
    loaded = ptfile.load(io.BytesIO(archive(pickled_tensor(), _0=np.arange(4).tobytes())))
    assert loaded.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"tag": "nothing"}, ptfile.FormatError),
        ({"kind": b"ctorch\nTensor\n"}, ptfile.UnsafeError),
        ({"kind": b"K\x01"}, ptfile.FormatError),
        ({"key": "../0"}, ptfile.FormatError),
        ({"key": "/etc/passwd"}, ptfile.FormatError),
        ({"key": "0\x00"}, ptfile.FormatError),
        ({"key": 0}, ptfile.FormatError),
        ({"key": "7"}, ptfile.FormatError),  # no such record
        ({"location": 3}, ptfile.FormatError),
        ({"numel": 3}, ptfile.TensorError),
        ({"numel": 2**62}, ptfile.TensorError),
        ({"numel": -4}, ptfile.TensorError),
        ({"numel": True}, ptfile.TensorError),
        ({"numel": 4.0}, ptfile.TensorError),
        ({"offset": 1}, ptfile.TensorError),
        ({"offset": -1}, ptfile.TensorError),
        ({"offset": 2**64}, ptfile.TensorError),
        ({"shape": (5,)}, ptfile.TensorError),
        ({"shape": (-4,)}, ptfile.TensorError),
        ({"shape": (2, 2)}, ptfile.TensorError),  # and one stride
        ({"shape": (2**40, 2**40), "stride": (1, 1)}, ptfile.TensorError),
        ({"shape": [4]}, ptfile.TensorError),
        ({"shape": (True,)}, ptfile.TensorError),
        ({"stride": (2,)}, ptfile.TensorError),
        ({"stride": (-1,)}, ptfile.TensorError),
        ({"shape": (1,) * 65, "stride": (1,) * 65}, ptfile.TensorError),
        ({"grad": 1}, ptfile.TensorError),
        ({"grad": True}, ptfile.TensorError),  # integers have no gradient
    ],
)
def test_tensors_that_do_not_fit_their_storage_are_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    """Every number is held against the file before anything is made of it, in both ways of reading."""
    data = archive(pickled_tensor(**changes), _0=np.arange(4).tobytes())
    with pytest.raises(error):
        ptfile.load(io.BytesIO(data))


@pytest.mark.parametrize("key", ["data.pkl", "data/0", "version", "byteorder"])
def test_an_error_says_which_file_and_record(key: str, tmp_path: Path) -> None:
    """People see the path; programs read the fields."""
    path = tmp_path / "broken.pt"
    data = bytearray(saved([ptfile.arange(100)]))
    path.write_bytes(bytes(data).replace(f"archive/{key}".encode(), f"archive/{key[:-1]}?".encode()))
    if key == "version":  # nothing depends on it
        assert ptfile.load(path)
        return
    if key == "byteorder":  # as in files before PyTorch 2.1
        assert ptfile.load(path)
        return
    with pytest.raises(ptfile.FormatError) as caught:
        ptfile.load(path)
    assert caught.value.file == str(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_checkpoint_say_what_they_look_like(tmp_path: Path) -> None:
    """Whatever they are called."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ptfile.FormatError, match="git-lfs"):
        ptfile.load(path)
    path.write_bytes(b"")
    with pytest.raises(ptfile.FormatError, match="empty"):
        ptfile.load(path)
    with pytest.raises(FileNotFoundError):
        ptfile.load(tmp_path / "missing.pt")


def test_bytes_of_the_other_order_are_reversed_element_by_element() -> None:
    """A big-endian file gives the same numbers here, complex ones included."""
    import sys as system

    other = "big" if system.byteorder == "little" else "little"
    for dtype in (ptfile.int64, ptfile.float32, ptfile.bfloat16, ptfile.complex64, ptfile.uint8):
        tensor = ptfile.tensor([1, 2, 3], dtype=dtype)
        unit = dtype.itemsize // (2 if dtype.is_complex else 1)
        swapped = np.frombuffer(tensor_bytes(tensor), np.uint8).reshape(-1, unit)[:, ::-1].tobytes()
        with zipfile.ZipFile(io.BytesIO(saved(tensor))) as plain:
            pickled = plain.read("archive/data.pkl")
        entries = [Entry(b"a/data.pkl", pickled), Entry(b"a/byteorder", other.encode()), Entry(b"a/data/0", swapped)]
        assert ptfile.load(io.BytesIO(Zip(entries).build())).tolist() == tensor.tolist()


def test_untyped_bytes_of_the_other_order_are_refused() -> None:
    """The file does not say how wide their elements are, and a guess could be wrong in silence."""
    with zipfile.ZipFile(io.BytesIO(saved(ptfile.tensor([1], dtype=ptfile.uint16)))) as plain:
        pickled = plain.read("archive/data.pkl")
    entries = [Entry(b"a/data.pkl", pickled), Entry(b"a/byteorder", b"big"), Entry(b"a/data/0", b"\0\1")]
    with pytest.raises(ptfile.UnsupportedError, match="byte order"):
        ptfile.load(io.BytesIO(Zip(entries).build()))


def test_nothing_is_imported_by_a_load(tmp_path: Path) -> None:
    """In a fresh interpreter, loading a file that names torch and a made-up module imports neither."""
    path = tmp_path / "named.pt"
    ptfile.save({"t": ptfile.zeros(2)}, path)
    program = f"import sys, ptfile; ptfile.load({str(path)!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_device_with_its_number_in_its_name_is_that_device() -> None:
    """As `torch.device("cuda:1")` is."""
    body = b"\x80\x02]("
    for name in (b"cuda:1", b"cuda", b"cuda:01"):
        body += b"ctorch\ndevice\nX" + len(name).to_bytes(4, "little") + name + b"\x85R"
    devices = ptfile.load(io.BytesIO(archive(body + b"e.")))
    assert [(device.type, device.index) for device in devices] == [("cuda", 1), ("cuda", None), ("cuda:01", None)]

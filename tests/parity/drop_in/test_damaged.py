"""Files that are no checkpoints, or not whole ones: an error of PyTorch's type, never a wrong value."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.support import LEGACY, PYTORCH, loaded, raw_checkpoint, saved, torch
from tests.parity.drop_in.test_mmap import rewritten

TREE = {"a": torch.arange(6.0), "b": torch.ones(100)}
ZIP = saved(PYTORCH, TREE)
OLD = saved(PYTORCH, TREE, **LEGACY)
BOTH_WAYS = pytest.mark.parametrize("weights_only", [True, False])


@BOTH_WAYS
def test_an_empty_file_is_an_eof_error(lib: Any, weights_only: bool, tmp_path: Path) -> None:
    """As a buffer and as a path."""
    (tmp_path / "empty.pt").touch()
    for source in (io.BytesIO(), tmp_path / "empty.pt"):
        with pytest.raises(EOFError):
            lib.load(source, weights_only=weights_only)


@pytest.mark.parametrize("cut", [4, 30, 100, len(ZIP) // 2, len(ZIP) - 30, len(ZIP) - 22, len(ZIP) - 1])
@BOTH_WAYS
def test_a_cut_zip_file_is_a_runtime_error(lib: Any, cut: int, weights_only: bool, tmp_path: Path) -> None:
    """PyTorch's words for it are matched by those who retry downloads."""
    (tmp_path / "cut.pt").write_bytes(ZIP[:cut])
    for source in (io.BytesIO(ZIP[:cut]), tmp_path / "cut.pt"):
        with pytest.raises(RuntimeError, match="PytorchStreamReader failed reading zip archive"):
            lib.load(source, weights_only=weights_only)


@pytest.mark.parametrize(
    ("numel", "kinds"),
    [(5000, (RuntimeError, ValueError, OSError)), (500_000, (RuntimeError,))],
    ids=["5000", "500000"],
)
def test_a_cut_zip_file_of_any_size_is_refused(lib: Any, numel: int, kinds: Any, tmp_path: Path) -> None:
    """Between 4 and 64 KiB PyTorch trips over its own search for the end, with another error."""
    data = saved(PYTORCH, torch.ones(numel, dtype=torch.uint8))[:-30]
    (tmp_path / "cut.pt").write_bytes(data)
    for source in (io.BytesIO(data), tmp_path / "cut.pt"):
        with pytest.raises(kinds):
            lib.load(source)


def test_a_cut_zip_file_is_not_mapped_either(lib: Any, tmp_path: Path) -> None:
    """The same error."""
    (tmp_path / "cut.pt").write_bytes(ZIP[:-40])
    with pytest.raises(RuntimeError, match="PytorchStreamReader failed reading zip archive"):
        lib.load(tmp_path / "cut.pt", mmap=True)


@pytest.mark.parametrize("cut", [4, 12, 400])
@BOTH_WAYS
def test_a_legacy_file_cut_in_its_storages_is_a_runtime_error(
    lib: Any, cut: int, weights_only: bool, tmp_path: Path
) -> None:
    """With how much is missing."""
    (tmp_path / "cut.pt").write_bytes(OLD[:-cut])
    for source in (io.BytesIO(OLD[:-cut]), tmp_path / "cut.pt"):
        with pytest.raises(RuntimeError, match=r"unexpected EOF, expected .* more bytes. The file might be corrupted"):
            lib.load(source, weights_only=weights_only)


@pytest.mark.parametrize("cut", [3, 15, 60, 150])
@BOTH_WAYS
def test_a_legacy_file_cut_in_its_pickles_is_refused(lib: Any, cut: int, weights_only: bool) -> None:
    """EOFError or UnpicklingError, by where it ends."""
    with pytest.raises((EOFError, pickle.UnpicklingError, RuntimeError, IndexError)):
        loaded(lib, OLD[:cut], weights_only=weights_only)


@BOTH_WAYS
def test_a_plain_pickle_has_no_magic_number(lib: Any, weights_only: bool) -> None:
    """A RuntimeError that says so."""
    with pytest.raises(RuntimeError, match=r"Invalid magic number; corrupt file\?"):
        loaded(lib, pickle.dumps({"a": 1}, 2), weights_only=weights_only)


@BOTH_WAYS
def test_another_protocol_version_is_refused(lib: Any, weights_only: bool) -> None:
    """The second number of a legacy file."""
    head = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2) + pickle.dumps(1002, 2)
    with pytest.raises(RuntimeError, match="Invalid protocol version: 1002"):
        loaded(lib, head + OLD[len(head) :], weights_only=weights_only)


@pytest.mark.parametrize(
    "data",
    [json.dumps({"a": 1}).encode(), b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>\n", b"\0"],
)
@BOTH_WAYS
def test_something_else_is_refused(lib: Any, data: bytes, weights_only: bool, tmp_path: Path) -> None:
    """Text, a pointer of git lfs, a web page: an error that is not a crash."""
    (tmp_path / "other.pt").write_bytes(data)
    for source in (io.BytesIO(data), tmp_path / "other.pt"):
        with pytest.raises((pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError)):
            lib.load(source, weights_only=weights_only)


def archive(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def test_a_zip_of_other_things_is_a_runtime_error(lib: Any) -> None:
    """A member in no folder, a folder without a version."""
    with pytest.raises(RuntimeError, match="file in archive is not in a subdirectory"):
        loaded(lib, archive(readme="text"))
    with pytest.raises(RuntimeError):
        loaded(lib, archive(folder__readme="text"))


@pytest.mark.parametrize("record", ["data.pkl", "data/0"])
def test_a_missing_record_is_a_runtime_error(lib: Any, record: str) -> None:
    """With its name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ZIP)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            if not name.endswith(record):
                new.writestr(name, old.read(name))
    with pytest.raises(RuntimeError, match=f"PytorchStreamReader failed locating file {record}: file not found"):
        loaded(lib, buffer.getvalue())


def test_a_file_of_a_far_version_is_refused(lib: Any) -> None:
    """RuntimeError with the version."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ZIP)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"99\n" if name == "archive/version" else old.read(name))
    with pytest.raises(RuntimeError, match="Attempted to read a PyTorch file with version 99"):
        loaded(lib, buffer.getvalue())


def test_a_tensor_larger_than_its_storage_is_a_runtime_error(lib: Any) -> None:
    """Its shape is not believed."""
    pickled = saved_pickle(torch.arange(6.0)).replace(b"K\x06\x85", b"K\x07\x85")
    data = rewritten(saved(PYTORCH, torch.arange(6.0)), {"data.pkl": pickled})
    with pytest.raises((RuntimeError, ValueError)):
        loaded(lib, data)


@pytest.mark.parametrize("numel", [5, 7, 255])
def test_a_storage_of_another_size_than_its_record_is_refused(lib: Any, numel: int) -> None:
    """The pickle says one number of elements, the record has another."""
    pickled = saved_pickle(torch.arange(6.0)).replace(b"K\x06t", b"K" + bytes([numel]) + b"t")
    data = rewritten(saved(PYTORCH, torch.arange(6.0)), {"data.pkl": pickled})
    with pytest.raises((RuntimeError, ValueError)):
        loaded(lib, data)


def saved_pickle(value: Any) -> bytes:
    reader = torch._C.PyTorchFileReader(io.BytesIO(saved(PYTORCH, value)))
    return bytes(reader.get_record("data.pkl"))


@pytest.mark.parametrize(
    "pickled",
    [b"", b"\x80\x02", b"\x80\x02N", b"\x80\x02h\x05.", b"\x80\x02\x85.", b"\x80\x02X\xff\xff\xff\xff.", b"."],
)
@BOTH_WAYS
def test_a_broken_pickle_is_refused(lib: Any, pickled: bytes, weights_only: bool) -> None:
    """Cut, an unknown memo number, an empty stack, a text longer than the file."""
    with pytest.raises((EOFError, pickle.UnpicklingError, RuntimeError, LookupError)):
        loaded(lib, raw_checkpoint(pickled), weights_only=weights_only)


def test_a_flipped_bit_in_the_directory_is_refused(lib: Any) -> None:
    """The signature of the first entry of the central directory."""
    data = bytearray(ZIP)
    data[data.index(b"PK\x01\x02")] ^= 1
    with pytest.raises(RuntimeError, match="PytorchStreamReader failed reading zip archive"):
        loaded(lib, bytes(data))


def test_a_damaged_file_leaves_nothing_open(lib: Any, tmp_path: Path) -> None:
    """An open file would be a ResourceWarning, and warnings are errors here."""
    (tmp_path / "cut.pt").write_bytes(ZIP[:-40])
    with pytest.raises(RuntimeError):
        lib.load(tmp_path / "cut.pt")
    lib.save(TREE, tmp_path / "cut.pt")
    assert lib.load(tmp_path / "cut.pt")["a"].sum() == 15


@BOTH_WAYS
def test_a_tensor_with_elements_of_a_storage_without_bytes_is_refused(lib: Any, weights_only: bool) -> None:
    """Else its elements would be whatever is in memory."""
    data = saved(PYTORCH, torch.empty(0))
    pickled = torch._C.PyTorchFileReader(io.BytesIO(data)).get_record("data.pkl")
    assert pickled.count(b"K\0\x85") == 1
    changed = rewritten(data, {"data.pkl": pickled.replace(b"K\0\x85", b"K\2\x85")})
    with pytest.raises(RuntimeError, match="not resizable"):
        lib.load(io.BytesIO(changed), weights_only=weights_only)


def test_a_storage_without_bytes_stays_so(lib: Any) -> None:
    """As PyTorch has it."""
    storage = loaded(lib, saved(PYTORCH, torch.empty(0))).untyped_storage()

    assert (storage.nbytes(), storage.data_ptr(), storage.resizable()) == (0, 0, False)

"""mmap=True: storages that are parts of the file."""

from __future__ import annotations

import io
import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import LEGACY, config, described, loaded, saved, torch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mapped.pt"


TREE = {"a": torch.arange(6.0), "b": torch.ones(1000), "view": torch.arange(6.0)[2:], "empty": torch.empty(0)}


@pytest.mark.parametrize("kind", [str, Path])
def test_a_mapped_file_has_the_same_values(pair: Pair, path: Path, kind: Any) -> None:
    """By text or PathLike."""
    pair.writer.save(TREE, path)
    assert described(pair.reader.load(kind(path), mmap=True)) == described(TREE)


def test_storages_are_parts_of_one_map(lib: Any, path: Path) -> None:
    """They lie as far apart as the records of the file."""
    lib.save(TREE, path)
    data = path.read_bytes()
    result = lib.load(path, mmap=True)
    distance = data.index(bytes(TREE["b"].untyped_storage())) - data.index(bytes(TREE["a"].untyped_storage()))
    assert result["b"].data_ptr() - result["a"].data_ptr() == distance


def test_mapped_memory_is_aligned(lib: Any, path: Path) -> None:
    """To the 64 bytes of the file."""
    lib.save(TREE, path)
    result = lib.load(path, mmap=True)
    assert [result[key].data_ptr() % 64 for key in "ab"] == [0, 0]


def test_a_private_map_is_written_without_the_file(lib: Any, path: Path) -> None:
    """That is the default: writes stay in this process."""
    lib.save(TREE, path)
    before = path.read_bytes()
    assert lib.get_default_mmap_options() == mmap.MAP_PRIVATE
    result = lib.load(path, mmap=True)
    result["a"].add_(5)
    result["b"].zero_()
    assert result["a"].tolist() == [5, 6, 7, 8, 9, 10]
    assert path.read_bytes() == before
    assert lib.load(path, mmap=True)["a"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_shared_map_writes_the_file(lib: Any, path: Path) -> None:
    """With MAP_SHARED as the option, inside the `with` block."""
    lib.save(TREE, path)
    with lib.set_default_mmap_options(mmap.MAP_SHARED):
        assert lib.get_default_mmap_options() == mmap.MAP_SHARED
        result = lib.load(path, mmap=True)
    assert lib.get_default_mmap_options() == mmap.MAP_PRIVATE
    result["a"].add_(5)
    with lib.set_default_mmap_options(mmap.MAP_SHARED):
        assert lib.load(path, mmap=True)["a"].tolist() == [5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("weights_only", [True, False])
def test_a_shared_map_is_one_file_for_all(pair: Pair, path: Path, weights_only: bool) -> None:
    """Two maps see each other's writes, and so does who reads the file; the values are those of the file."""
    pair.writer.save(TREE, path)
    with pair.reader.set_default_mmap_options(mmap.MAP_SHARED):
        first = pair.reader.load(path, mmap=True, weights_only=weights_only)
        second = pair.reader.load(str(path), mmap=True, weights_only=weights_only)
    assert described(first) == described(TREE)
    first["a"][2:].fill_(9)
    assert second["a"].tolist() == [0, 1, 9, 9, 9, 9]
    assert first["a"].numpy().tobytes() in path.read_bytes()


def test_a_shared_map_outlives_the_name_of_its_file(lib: Any, path: Path) -> None:
    """As a private one does."""
    lib.save(TREE, path)
    with lib.set_default_mmap_options(mmap.MAP_SHARED):
        result = lib.load(path, mmap=True)
    path.unlink()
    result["b"].fill_(2)
    assert (result["a"].tolist(), result["b"].sum()) == ([0, 1, 2, 3, 4, 5], 2000)


def test_a_shared_map_needs_a_zip_file_that_is_there(lib: Any, path: Path) -> None:
    """The errors are those of a private one."""
    with lib.set_default_mmap_options(mmap.MAP_SHARED):
        with pytest.raises(FileNotFoundError):
            lib.load(path, mmap=True)
        lib.save(TREE, path, **LEGACY)
        with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
            lib.load(path, mmap=True)
        path.write_bytes(saved(lib, TREE)[:-40])
        with pytest.raises((RuntimeError, ValueError, OSError)):
            lib.load(path, mmap=True)


if getattr(os, "geteuid", lambda: 1)() != 0:  # who is root may write everything

    def test_a_shared_map_needs_a_file_that_can_be_written(lib: Any, path: Path) -> None:
        """A RuntimeError with the system's words."""
        lib.save(TREE, path)
        path.chmod(0o444)
        with (
            lib.set_default_mmap_options(mmap.MAP_SHARED),
            pytest.raises(RuntimeError, match=r"unable to open file <.*> in read-write mode: Permission denied \(13\)"),
        ):
            lib.load(path, mmap=True)


def test_the_option_may_be_set_for_good(lib: Any) -> None:
    """As a function it stays."""
    lib.set_default_mmap_options(mmap.MAP_SHARED)
    assert lib.get_default_mmap_options() == mmap.MAP_SHARED == torch.serialization.get_default_mmap_options()
    assert config.load.mmap_flags == mmap.MAP_SHARED
    lib.set_default_mmap_options(mmap.MAP_PRIVATE)
    assert lib.get_default_mmap_options() == mmap.MAP_PRIVATE


def test_the_option_is_put_back_after_an_error(lib: Any) -> None:
    """The block ends as it should."""
    with pytest.raises(ZeroDivisionError), lib.set_default_mmap_options(mmap.MAP_SHARED):
        raise ZeroDivisionError
    assert lib.get_default_mmap_options() == mmap.MAP_PRIVATE


def test_other_options_are_refused(lib: Any) -> None:
    """Only the two."""
    with pytest.raises(ValueError, match=r"expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, but got 32"):
        lib.set_default_mmap_options(mmap.MAP_ANONYMOUS)


def test_only_a_path_can_be_mapped(lib: Any, path: Path) -> None:
    """A buffer or an open file is a ValueError."""
    lib.save(TREE, path)
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        loaded(lib, path.read_bytes(), mmap=True)
    with path.open("rb") as file, pytest.raises(ValueError, match="f must be a file path"):
        lib.load(file, mmap=True)


@pytest.mark.parametrize("weights_only", [True, False])
def test_a_legacy_file_cannot_be_mapped(lib: Any, path: Path, weights_only: bool) -> None:
    """A RuntimeError that says how to save it, with the path if that is text."""
    lib.save(TREE, path, **LEGACY)
    with pytest.raises(RuntimeError, match=r"mmap can only be used with files saved with `torch.save") as caught:
        lib.load(str(path), mmap=True, weights_only=weights_only)
    assert f"({path}, _use_new_zipfile_serialization=True)" in str(caught.value)
    with pytest.raises(RuntimeError, match=r"torch\.save\(_use_new_zipfile_serialization=True\)"):
        lib.load(path, mmap=True)
    with pytest.raises(RuntimeError, match="mmap can only be used"):
        loaded(lib, path.read_bytes(), mmap=True)


def test_a_missing_file_cannot_be_mapped(lib: Any, path: Path) -> None:
    """It is missing."""
    with pytest.raises(FileNotFoundError):
        lib.load(path, mmap=True)


def test_mapping_may_be_the_default(lib: Any, path: Path) -> None:
    """config.load.mmap decides where the argument does not."""
    lib.save(TREE, path)
    config.load.mmap = True
    result = lib.load(path)
    data = path.read_bytes()
    distance = data.index(bytes(TREE["b"].untyped_storage())) - data.index(bytes(TREE["a"].untyped_storage()))
    assert result["b"].data_ptr() - result["a"].data_ptr() == distance
    with pytest.raises(ValueError, match="f must be a file path"):
        lib.load(io.BytesIO(data))
    assert described(lib.load(io.BytesIO(data), mmap=False)) == described(TREE)


def test_offsets_may_be_calculated(lib: Any, path: Path) -> None:
    """config.load.calculate_storage_offsets changes how storages are found, not what is there."""
    lib.save(TREE, path)
    config.load.calculate_storage_offsets = True
    assert described(lib.load(path, mmap=True)) == described(TREE)


def test_a_map_outlives_the_name_of_its_file(lib: Any, path: Path) -> None:
    """The memory is there as long as a tensor is."""
    lib.save(TREE, path)
    result = lib.load(path, mmap=True)
    path.unlink()
    assert described(result) == described(TREE)


def test_a_map_may_be_moved(lib: Any, path: Path) -> None:
    """map_location works on the parts of the map."""
    lib.save(TREE, path)
    seen: list[Any] = []

    def locate(storage: Any, location: str) -> Any:
        seen.append(bytes(storage))
        return storage.clone()

    result = lib.load(path, mmap=True, map_location=locate)
    assert seen[0] == bytes(TREE["a"].untyped_storage())
    assert described(result) == described(TREE)
    assert lib.load(path, mmap=True, map_location="meta")["a"].device.type == "meta"


def test_a_map_feeds_assign(lib: Any, path: Path) -> None:
    """load_state_dict(assign=True) takes the mapped tensors as they are."""
    model = torch.nn.Linear(3, 2)
    lib.save(model.state_dict(), path)
    state = lib.load(path, mmap=True)
    with torch.device("meta"):
        other = torch.nn.Linear(3, 2)
    other.load_state_dict(state, assign=True)
    assert other.weight.data_ptr() == state["weight"].data_ptr()
    assert torch.equal(other(torch.ones(1, 3)), model(torch.ones(1, 3)))


def test_a_mapped_file_at_another_alignment_is_right(lib: Any, path: Path) -> None:
    """Saved with pages of 4096 bytes, the storages lie at pages."""
    config.save.storage_alignment = 4096
    lib.save(TREE, path)
    result = lib.load(path, mmap=True)
    assert described(result) == described(TREE)
    assert result["b"].data_ptr() % 4096 == 0


def test_a_byte_swapped_file_may_be_mapped(lib: Any, path: Path) -> None:
    """The private map is swapped in memory."""
    data = saved(lib, torch.arange(3, dtype=torch.int16))
    swapped = torch.arange(3, dtype=torch.int16).numpy().byteswap().tobytes()
    path.write_bytes(rewritten(data, {"byteorder": b"big", "data/0": swapped}))
    assert lib.load(path, mmap=True).tolist() == [0, 1, 2]
    assert lib.load(path, mmap=True).tolist() == [0, 1, 2]


def rewritten(data: bytes, records: dict[str, bytes]) -> bytes:
    """The same checkpoint with other contents of some records, written by PyTorch's own writer."""
    reader = torch._C.PyTorchFileReader(io.BytesIO(data))
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name in reader.get_all_records():
        if name not in ("version", ".data/serialization_id"):
            content = records.get(name, reader.get_record(name))
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return buffer.getvalue()

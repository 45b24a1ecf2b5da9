"""Settings: checksums, byte order, alignment, and the one place where they are kept."""

from __future__ import annotations

import io
import sys
import zipfile
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import PYTORCH, config, described, loaded, np, saved, torch
from tests.parity.drop_in.test_mmap import rewritten

TREE = {"a": torch.arange(6.0), "b": torch.ones(1000), "c": [torch.arange(5)[1:], "text"]}


def crcs(data: bytes) -> list[int]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [info.CRC for info in archive.infolist()]


def test_checksums_are_computed(lib: Any) -> None:
    """That is the default, and any zip program agrees."""
    assert lib.get_crc32_options() is True
    with zipfile.ZipFile(io.BytesIO(saved(lib, TREE))) as archive:
        assert archive.testzip() is None


def test_checksums_may_be_left_out(pair: Pair) -> None:
    """All are zero then, the bytes are PyTorch's, and either loads them."""
    pair.writer.set_crc32_options(False)
    assert pair.writer.get_crc32_options() is pair.reader.get_crc32_options() is False
    data = saved(pair.writer, TREE)
    assert set(crcs(data)) == {0}
    assert data == saved(PYTORCH, TREE)
    assert described(loaded(pair.reader, data)) == described(TREE)
    pair.writer.set_crc32_options(True)
    assert described(loaded(pair.reader, data)) == described(TREE)


@pytest.mark.parametrize("alignment", [1, 8, 64, 256, 4096, 65536])
def test_storages_are_aligned_as_wished(pair: Pair, alignment: int) -> None:
    """config.save.storage_alignment, with the bytes of PyTorch."""
    config.save.storage_alignment = alignment
    data = saved(pair.writer, TREE)
    assert data == saved(PYTORCH, TREE)
    assert data.index(bytes(TREE["b"].untyped_storage())) % alignment == 0
    assert described(loaded(pair.reader, data)) == described(TREE)


def test_an_alignment_must_be_a_number_that_fits(lib: Any) -> None:
    """A TypeError for a negative one."""
    config.save.storage_alignment = -1
    with pytest.raises((TypeError, ValueError)):
        saved(lib, TREE)


def test_settings_may_be_patched_for_a_block(lib: Any) -> None:
    """config.patch, as for all of PyTorch's settings."""
    with config.patch({"save.compute_crc32": False, "save.storage_alignment": 4096}):
        assert lib.get_crc32_options() is False
        data = saved(lib, TREE)
    assert set(crcs(data)) == {0}
    assert data.index(bytes(TREE["b"].untyped_storage())) % 4096 == 0
    assert set(crcs(saved(lib, TREE))) != {0}


def test_functions_and_settings_are_one(lib: Any) -> None:
    """Each function reads and writes the setting of its name, PyTorch's functions see it too."""
    lib.set_crc32_options(False)
    assert config.save.compute_crc32 is torch.serialization.get_crc32_options() is False
    config.save.compute_crc32 = True
    assert lib.get_crc32_options() is True
    lib.set_default_load_endianness(lib.LoadEndianness.BIG)
    assert config.load.endianness is torch.serialization.get_default_load_endianness() is lib.LoadEndianness.BIG
    config.load.endianness = None
    assert lib.get_default_load_endianness() is None


def test_pinned_memory_is_for_devices(lib: Any) -> None:
    """The setting changes nothing for the CPU."""
    config.save.use_pinned_memory_for_d2h = True
    assert saved(lib, TREE) == saved(PYTORCH, TREE)


def test_byte_orders_have_names(lib: Any) -> None:
    """Three of them; the default is None, which means little."""
    assert [order.name for order in lib.LoadEndianness] == ["NATIVE", "LITTLE", "BIG"]
    assert lib.get_default_load_endianness() is None
    for order in (*lib.LoadEndianness, None):
        lib.set_default_load_endianness(order)
        assert lib.get_default_load_endianness() is order


@pytest.mark.parametrize("order", ["little", 1, True])
def test_a_byte_order_must_be_one_of_them(lib: Any, order: Any) -> None:
    """TypeError for text or numbers."""
    with pytest.raises(TypeError, match="Invalid argument type in function set_default_load_endianness"):
        lib.set_default_load_endianness(order)


VALUES = {
    "int16": torch.arange(5, dtype=torch.int16),
    "int64": torch.arange(5),
    "float32": torch.arange(5.0),
    "bfloat16": torch.arange(5, dtype=torch.bfloat16),
    "complex64": torch.tensor([1 + 2j, 3 - 4j]),
    "complex128": torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex128),
    "bool": torch.tensor([True, False]),
    "uint8": torch.arange(5, dtype=torch.uint8),
    "shared": torch.arange(6.0)[1:].reshape(5, 1),
}


def swapped(tensor: Any) -> bytes:
    """The bytes of its storage as a machine of the other byte order has them."""
    storage = bytes(tensor.untyped_storage())
    kind = {torch.bfloat16: "i2", torch.bool: "u1", torch.complex64: "f4", torch.complex128: "f8"}
    dtype = kind.get(tensor.dtype) or str(tensor.dtype).removeprefix("torch.")
    return bytes(np.frombuffer(storage, dtype).byteswap().tobytes())


@pytest.mark.parametrize("name", VALUES)
def test_a_file_of_the_other_byte_order_is_swapped(lib: Any, name: str) -> None:
    """As its `byteorder` record says, once per storage."""
    value = [VALUES[name], VALUES[name].view_as(VALUES[name])]
    data = rewritten(saved(PYTORCH, value), {"byteorder": b"big", "data/0": swapped(VALUES[name])})
    assert described(loaded(lib, data)) == described(value)


def without_byte_order(data: bytes) -> bytes:
    """Files before PyTorch 2.1 have no such record."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            if not name.endswith("byteorder"):
                new.writestr(name, old.read(name))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("order", "other"), [(None, False), ("LITTLE", False), ("NATIVE", False), ("BIG", True)], ids=str
)
def test_the_setting_decides_for_files_without_the_record(lib: Any, order: str | None, other: bool) -> None:
    """Little unless said otherwise."""
    assert sys.byteorder == "little"
    content = swapped(VALUES["int64"]) if other else bytes(VALUES["int64"].untyped_storage())
    data = without_byte_order(rewritten(saved(PYTORCH, VALUES["int64"]), {"data/0": content}))
    lib.set_default_load_endianness(order and lib.LoadEndianness[order])
    assert loaded(lib, data).tolist() == [0, 1, 2, 3, 4]


def test_the_setting_does_not_overrule_the_record(lib: Any) -> None:
    """Today's files say their byte order."""
    lib.set_default_load_endianness(lib.LoadEndianness.BIG)
    assert loaded(lib, saved(lib, VALUES["int64"])).tolist() == [0, 1, 2, 3, 4]


def test_an_unknown_byte_order_is_refused(lib: Any) -> None:
    """ValueError with the word."""
    data = rewritten(saved(PYTORCH, VALUES["int64"]), {"byteorder": b"middle"})
    with pytest.raises(ValueError, match="Unknown endianness type: middle"):
        loaded(lib, data)


def test_the_byte_order_record_moves_when_it_is_disabled(lib: Any) -> None:
    """PyTorch writes it all the same, behind `version`."""
    data = saved(lib, TREE, _disable_byteorder_record=True)
    assert data == saved(PYTORCH, TREE, _disable_byteorder_record=True)
    assert b"archive/byteorder" in data


def test_the_debug_variable_changes_nothing(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """TORCH_SERIALIZATION_DEBUG=1 makes PyTorch check the offsets it computes."""
    monkeypatch.setenv("TORCH_SERIALIZATION_DEBUG", "1")
    assert described(loaded(lib, saved(lib, TREE))) == described(TREE)


def test_a_deflated_file_loads(lib: Any) -> None:
    """Some rewrite checkpoints with a zip program."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(lib, TREE))) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert described(loaded(lib, buffer.getvalue())) == described(TREE)


@pytest.mark.parametrize("record", [".format_version", ".storage_alignment", "serialization_id", "byteorder"])
def test_some_records_may_be_missing(lib: Any, record: str) -> None:
    """Files of older versions have fewer."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(lib, TREE))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            if not name.endswith(record):
                new.writestr(name, old.read(name))
    assert described(loaded(lib, buffer.getvalue())) == described(TREE)

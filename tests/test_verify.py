"""`ptfile.verify`: everything in a file is checked, and what is damaged has a name."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.tensors.sparse import SparseTensor
from tests.formats.zip_file import BAD_GLOBAL, golden, zip_of

GOLDEN = Path(__file__).parent / "golden"


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    return buffer.getvalue()


def verified(data: bytes, **options: Any) -> ptfile.Verification:
    return ptfile.verify(io.BytesIO(data), **options)


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The file with some bytes that are in it once changed for as many others."""
    assert len(old) == len(new)
    assert data.count(old) == 1
    return data.replace(old, new)


WEIGHT = ptfile.arange(100) + 1000
RAW = WEIGHT.numpy().tobytes()
TREE = {"model": {"weight": WEIGHT, "tied": WEIGHT.reshape(10, 10)}, "bias": ptfile.zeros(3), "epoch": 3}


def test_a_file_that_was_just_saved_is_ok() -> None:
    """Every record is held against its checksum."""
    result = verified(saved(TREE))
    assert result.ok
    assert (result.format, result.records, result.damage, result.unchecked) == ("zip", 8, (), ())


@pytest.mark.parametrize("path", sorted((GOLDEN / "zip").glob("*.p*")), ids=lambda path: path.name)
def test_what_pytorch_wrote_is_ok(path: Path) -> None:
    """Checkpoints, TorchScript, packages, exported programs."""
    result = ptfile.verify(path)
    assert result.ok, result
    assert result.records >= 2


@pytest.mark.parametrize("path", sorted((GOLDEN / "torchscript").glob("*.*")), ids=lambda path: path.name)
def test_what_torchscript_wrote_is_ok(path: Path) -> None:
    """Of many versions."""
    assert ptfile.verify(path).ok


def test_a_damaged_storage_is_named_by_all_that_look_at_it() -> None:
    """The record, and every tensor that shares it."""
    result = verified(changed(saved(TREE), RAW, RAW[:-1] + b"\1"))
    assert [(damage.record, damage.tensors) for damage in result.damage] == [
        ("data/0", ("model.weight", "model.tied")),
    ]
    assert result.can_be_repaired
    assert "ptfile repair" in result.advice


def test_damaged_constants_of_torchscript_are_named() -> None:
    """Tensors of other dialects have names too."""
    name = next(path.name for path in sorted((GOLDEN / "torchscript").glob("*.pt")) if "data/0" in golden(path.name))
    data = (GOLDEN / "torchscript" / name).read_bytes()
    raw = golden(name)["data/0"]
    at = data.index(raw)
    result = verified(data[:at] + bytes([raw[0] ^ 1]) + data[at + 1 :])
    assert [damage.record for damage in result.damage] == ["data/0"]
    assert result.damage[0].tensors
    assert not result.can_be_repaired


def test_damaged_indices_of_a_sparse_tensor_are_named() -> None:
    """They are not looked at any more once they are known to be wrong."""
    indices = ptfile.tensor([[0, 3, 5, 7]])
    sparse = SparseTensor(indices, ptfile.ones(4), (9,), True)
    raw = indices.numpy().tobytes()
    result = verified(changed(saved({"sparse": sparse}), raw, raw[:-1] + b"\1"))
    assert [(damage.record, damage.tensors) for damage in result.damage] == [("data/0", ("sparse.indices",))]


def test_tensors_have_names_though_the_byte_order_is_damaged() -> None:
    """A file with both does not load, and its pickle is whole."""
    data = changed(changed(saved(TREE), RAW, RAW[:-1] + b"\1"), b"little", b"lottle")
    result = verified(data)
    assert [(damage.record, damage.tensors) for damage in result.damage] == [
        ("byteorder", ()),
        ("data/0", ("model.weight", "model.tied")),
    ]
    assert result.can_be_repaired


def test_every_damaged_record_is_told() -> None:
    """Not only the first."""
    values = [ptfile.full((50,), number) for number in (1.5, 2.5, 3.5)]
    data = saved(values)
    for tensor in (values[0], values[2]):
        data = changed(data, tensor.numpy().tobytes(), bytes(200))
    assert [damage.tensors for damage in verified(data).damage] == [("[0]",), ("[2]",)]


def test_zeros_in_a_damaged_storage_are_located() -> None:
    """From which byte of the file to which, in sectors."""
    values = ptfile.ones(4096)
    data = bytearray(saved(values))
    data[8192:12288] = bytes(4096)
    assert "bytes 8192 to 12288 of the file are zeros" in verified(bytes(data)).damage[0].problem


def test_a_record_that_load_never_reads_is_checked() -> None:
    """`.format_version` holds a 1, and nobody looks at it."""
    data = saved(TREE)
    at = data.index(b"1", data.index(b".format_version"))
    damaged = data[:at] + b"7" + data[at + 1 :]
    assert ptfile.load(io.BytesIO(damaged))["epoch"] == 3
    assert [damage.record for damage in verified(damaged).damage] == [".format_version"]


def test_the_serialization_id_is_computed_again() -> None:
    """A file in which a record was replaced, checksum and all, is not the one that was saved."""
    data = saved(TREE)
    records = {name: content for name, content in _records(data).items() if name != "data/1"}
    result = verified(zip_of({**records, "data/1": b"\1" * 12}).getvalue())
    assert [damage.record for damage in result.damage] == [".data/serialization_id"]


def _records(data: bytes) -> dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


def test_a_deflated_file_is_checked_too() -> None:
    """Other tools compress checkpoints."""
    records = _records(saved(TREE))
    assert verified(zip_of(records, deflated=True).getvalue()).ok


def test_a_damaged_deflated_record_is_told() -> None:
    """By its checksum, or because it does not inflate."""
    records = {**_records(saved(TREE)), "data/0": bytes(800)}
    del records[".data/serialization_id"]
    data = zip_of(records, deflated=True).getvalue()
    at = data.index(b"data/0") + len("data/0")
    damaged = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
    assert [damage.record for damage in verified(damaged).damage] == ["data/0"]


def test_a_tensor_outside_its_storage_is_damage() -> None:
    """The checksums are right, and the pickle asks for more than there is."""
    records = {**_records(saved(TREE)), "data/1": bytes(8)}
    del records[".data/serialization_id"]
    result = verified(zip_of(records).getvalue())
    assert "8 bytes, and the pickle asks for 12" in result.damage[0].problem


def test_sparse_indices_are_checked() -> None:
    """An index outside of the shape is no damage of a record, but of a tensor."""
    sparse = SparseTensor(ptfile.tensor([[0, 7]]), ptfile.tensor([1.0, 2.0]), (2,), True)
    result = verified(saved({"sparse": sparse}, checksum=False))
    assert len(result.damage) == 1
    with pytest.raises(ptfile.TensorError):
        ptfile.load(io.BytesIO(saved({"sparse": sparse}, checksum=False)))


def test_a_file_without_checksums_says_so() -> None:
    """Nothing is wrong with it that anybody could tell."""
    result = verified(changed(saved(TREE, checksum=False), RAW, RAW[:-1] + b"\1"))
    assert result.ok
    assert "written with checksums off" in result.unchecked[0]


def test_a_legacy_file_says_that_it_has_no_checksums() -> None:
    """Its sizes are checked all the same."""
    data = saved(TREE, _use_new_zipfile_serialization=False)
    result = verified(data)
    assert result.ok
    assert "no checksums" in result.unchecked[0]
    at = data.index(RAW) - 8
    assert not verified(data[:at] + b"\7" + data[at + 1 :]).ok
    assert not verified(data[:-1]).ok


def test_what_follows_a_legacy_file_is_said() -> None:
    """It may be another checkpoint."""
    data = saved(TREE, _use_new_zipfile_serialization=False)
    assert "800 bytes follow" in verified(data + bytes(800)).unchecked[1]


def test_a_cut_file_says_which_tensors_are_lost() -> None:
    """Though it has no directory any more."""
    values = {"first": ptfile.arange(200), "second": ptfile.arange(300)}
    data = saved(values)
    result = verified(data[:3000])
    assert f"cut off at byte 3000 of {len(data)}: {len(data) - 3000} bytes are missing" in result.damage[0].problem
    assert [damage.tensors for damage in result.damage[1:]] == [("second",)]
    assert result.can_be_repaired


def test_a_file_cut_off_in_its_pickle_cannot_be_repaired() -> None:
    """And verify says nothing of repair."""
    result = verified(saved(TREE)[:100])
    assert not result.ok
    assert not result.can_be_repaired
    assert "repair" not in result.advice


def test_a_file_whose_first_bytes_are_damaged_can_be_repaired() -> None:
    """The directory knows where all the others are; what else is damaged is named."""
    data = saved({"weight": ptfile.arange(1000), "bias": ptfile.arange(500)})
    weight = ptfile.arange(1000).numpy().tobytes()
    result = verified(b"\0\0" + data[2:].replace(weight, weight[:-1] + b"\1"))

    assert [damage.tensors for damage in result.damage] == [(), ("weight",)]
    assert result.can_be_repaired
    assert "ptfile repair" in result.advice


def test_a_file_that_is_one_lost_tensor_cannot_be_repaired() -> None:
    """There would be nothing in what is written."""
    for damaged in (changed(saved(WEIGHT), RAW, RAW[:-1] + b"\1"), saved(WEIGHT)[:1200]):
        result = verified(damaged)
        assert [damage.tensors for damage in result.damage][-1] == ("",)
        assert (result.can_be_repaired, "repair" in result.advice) == (False, False)


def test_a_file_that_pretends_to_be_encrypted_is_damaged() -> None:
    """One flipped bit in the directory says so; load refuses it."""
    data = bytearray(saved(TREE))
    data[data.index(b"PK\1\2") + 8] ^= 1
    assert "encrypted" in verified(bytes(data)).damage[0].problem


def test_a_dangerous_pickle_is_looked_into_and_not_run() -> None:
    """Names of unknown functions are inert records; the container is checked."""
    result = verified(zip_of({"data.pkl": BAD_GLOBAL, "version": b"3\n"}).getvalue())
    assert result.ok
    assert result.records == 2


def test_what_load_cannot_read_is_not_ok() -> None:
    """Though each record is what was saved: this one is of a PyTorch to come. What is damaged beside it is told too."""
    records = {**_records(saved(TREE)), "version": b"99\n"}
    del records[".data/serialization_id"]
    data = zip_of(records).getvalue()
    assert "of the archive format" in verified(data).damage[0].problem
    result = verified(changed(data, RAW, RAW[:-1] + b"\1"))
    assert [damage.record for damage in result.damage] == ["version", "data/0"]


def test_what_is_no_checkpoint_is_damage() -> None:
    """With what it looks like."""
    assert "gzip" in verified(b"\x1f\x8b" + bytes(100)).damage[0].problem
    assert "empty" in verified(b"").damage[0].problem


def test_progress_counts_to_the_end() -> None:
    """Bytes of records, and what there are of them."""
    told: list[tuple[int, int]] = []
    verified(saved(TREE), progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_memory_does_not_grow_with_the_file() -> None:
    """Storages are read in pieces."""
    data = saved([ptfile.zeros(8 << 20), ptfile.from_numpy(np.arange(4 << 20))])
    file = io.BytesIO(data)
    tracemalloc.start()
    try:
        assert ptfile.verify(file).ok
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    """It is not damaged."""
    with pytest.raises(FileNotFoundError):
        ptfile.verify(tmp_path / "none.pt")

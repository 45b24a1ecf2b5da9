"""Where ptfile differs from PyTorch by intent; each is listed with its reason in docs/drop-in.md."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

import ptfile
from tests.formats.old_files import legacy, storage, tensor
from tests.hostile.pickle_assembler import call, checkpoint, name, plain, text
from tests.parity.drop_in.support import FORMATS, LEGACY, PYTORCH, config, described, loaded, np, saved, torch
from tests.parity.drop_in.test_mmap import rewritten
from tests.parity.drop_in.test_streams import Breaking
from tests.sinks.test_sinks import Keeping

NUMBERS = torch.arange(6.0)
REFUSED = (RuntimeError, ptfile.PtfileError)
"""A damaged file: PyTorch's type for it, or ptfile's own."""


def damaged(value: Any, part: bytes, at: int = 5) -> bytes:
    """A checkpoint with one bit of a record turned."""
    data = bytearray(saved(PYTORCH, value))
    data[data.index(part) + at] ^= 1
    return bytes(data)


def test_a_damaged_storage_is_refused(ours: Any, tmp_path: Path) -> None:
    """PyTorch checks no checksum and gives wrong numbers."""
    data = damaged(NUMBERS, NUMBERS.numpy().tobytes())
    assert not torch.equal(loaded(PYTORCH, data), NUMBERS)
    (tmp_path / "t.pt").write_bytes(data)
    for source in (io.BytesIO(data), tmp_path / "t.pt"):
        with pytest.raises(REFUSED):
            ours.load(source)


@pytest.mark.parametrize("weights_only", [True, False])
def test_a_damaged_pickle_is_refused_before_it_is_run(ours: Any, weights_only: bool) -> None:
    """PyTorch runs it."""
    data = damaged({"note": "hello world"}, b"hello world")
    assert loaded(PYTORCH, data)["note"] != "hello world"
    with pytest.raises(REFUSED):
        loaded(ours, data, weights_only=weights_only)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_failed_save_leaves_the_old_file(ours: Any, options: Any, tmp_path: Path) -> None:
    """PyTorch has emptied it by then."""
    path = tmp_path / "t.pt"
    ours.save(NUMBERS, path)
    before = path.read_bytes()
    for value, kind in (({"f": lambda: 1}, AttributeError), (torch.UntypedStorage(3, device="meta"), RuntimeError)):
        with pytest.raises((kind, pickle.PicklingError)):
            ours.save(value, path, **options)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.pt"]


def test_a_failed_save_leaves_no_new_file(ours: Any, tmp_path: Path) -> None:
    """PyTorch leaves one that looks like a checkpoint and is none."""
    with pytest.raises((AttributeError, pickle.PicklingError)):
        ours.save({"f": lambda: 1}, tmp_path / "t.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_without_bytes_leaves_the_old_file(ours: Any, tmp_path: Path) -> None:
    """Under skip_data too."""
    path = tmp_path / "t.pt"
    ours.save(NUMBERS, path)
    before = path.read_bytes()
    with ours.skip_data(), pytest.raises((AttributeError, pickle.PicklingError)):
        ours.save({"f": lambda: 1}, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.pt"]


def test_room_is_left_in_streams_that_cannot_seek(ours: Any) -> None:
    """PyTorch needs seek for it, and fails halfway."""
    stream = Keeping()
    with ours.skip_data():
        with pytest.raises(RuntimeError, match="unexpected pos"):
            PYTORCH.save(NUMBERS, Keeping())
        ours.save(NUMBERS, stream)
    assert not loaded(ours, bytes(stream.taken)).any()


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_failed_save_writes_nothing_into_a_stream(ours: Any, options: Any) -> None:
    """PyTorch writes a zip file without contents, and the legacy format as far as it comes."""
    buffer = io.BytesIO()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        ours.save({"f": lambda: 1}, buffer, **options)
    assert buffer.getvalue() == b""


def test_a_file_may_be_saved_over_while_it_is_mapped(ours: Any, tmp_path: Path) -> None:
    """PyTorch cuts the file under the map, and the process dies of SIGBUS."""
    path = tmp_path / "t.pt"
    large = torch.arange(100_000)
    ours.save({"t": large}, path)
    mapped = ours.load(path, mmap=True)
    ours.save({"t": mapped["t"][:10].clone()}, path)
    assert torch.equal(mapped["t"], large)
    assert ours.load(path)["t"].tolist() == list(range(10))


def test_a_mapped_checkpoint_may_be_saved_to_its_own_path(ours: Any, tmp_path: Path) -> None:
    """What is read from the file is written to it."""
    path = tmp_path / "t.pt"
    ours.save({"t": NUMBERS, "u": torch.ones(10_000)}, path)
    mapped = ours.load(path, mmap=True)
    mapped["t"].add_(1)
    ours.save(mapped, path)
    assert torch.equal(ours.load(path)["t"], NUMBERS + 1)


@pytest.mark.parametrize("numel", [0, 100, 5000, 20_000, 60_000, 100_000])
def test_a_cut_file_of_any_size_is_a_runtime_error(ours: Any, numel: int, tmp_path: Path) -> None:
    """PyTorch gives ValueError or OSError between 4 and 64 KiB."""
    data = saved(PYTORCH, torch.ones(numel, dtype=torch.uint8))[:-30]
    (tmp_path / "cut.pt").write_bytes(data)
    for source in (io.BytesIO(data), tmp_path / "cut.pt"):
        with pytest.raises(RuntimeError, match="PytorchStreamReader failed reading zip archive"):
            ours.load(source)


def test_a_deflated_storage_is_never_mapped_as_it_lies(ours: Any, tmp_path: Path) -> None:
    """PyTorch takes the compressed bytes for numbers; ptfile refuses, or reads it."""
    path = tmp_path / "t.pt"
    value = torch.zeros(5000)
    with zipfile.ZipFile(io.BytesIO(saved(PYTORCH, value))) as old, zipfile.ZipFile(path, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    try:
        result = ours.load(path, mmap=True)
    except REFUSED:
        return
    assert torch.equal(result, value)


@pytest.mark.parametrize("alignment", [0, -1, 1 << 20])
def test_an_impossible_alignment_is_an_error(ours: Any, alignment: int) -> None:
    """PyTorch divides by 0 and dies of SIGFPE; above 65536 it writes files that nothing can load."""
    config.save.storage_alignment = alignment
    with pytest.raises((ValueError, TypeError, RuntimeError, OverflowError, NotImplementedError)):
        saved(ours, NUMBERS)


def test_a_short_write_is_not_taken_for_a_whole_one(ours: Any) -> None:
    """PyTorch does not look at what `write` returns, and loses bytes; ptfile writes the rest."""

    class Short(io.BytesIO):
        def write(self, data: Any, /) -> int:
            return super().write(bytes(data)[:100])

    stream = Short()
    ours.save({"t": NUMBERS, "u": torch.ones(1000)}, stream)
    assert torch.equal(PYTORCH.load(io.BytesIO(stream.getvalue()))["t"], NUMBERS)


def test_an_error_while_reading_is_the_caller_s(ours: Any) -> None:
    """PyTorch makes a SystemError of it."""
    with pytest.raises(OSError, match="Input/output error"):
        ours.load(Breaking(saved(PYTORCH, NUMBERS)))


def test_a_failed_load_leaves_no_map_location_behind(ours: Any) -> None:
    """PyTorch keeps it, and with it what it refers to, until the next load of the thread."""
    with pytest.raises(RuntimeError):
        loaded(ours, saved(PYTORCH, NUMBERS), map_location="nowhere")
    assert torch.serialization._serialization_tls.map_location is None


def test_a_record_larger_than_its_storage_is_refused(ours: Any) -> None:
    """PyTorch's error comes from an assertion deep inside; the type is the same, the words are better."""
    reader = torch._C.PyTorchFileReader(io.BytesIO(saved(PYTORCH, NUMBERS)))
    pickled = bytes(reader.get_record("data.pkl")).replace(b"K\x06tq", b"K\x05tq").replace(b"K\x06\x85", b"K\x05\x85")
    data = rewritten(saved(PYTORCH, NUMBERS), {"data.pkl": pickled})
    with pytest.raises(REFUSED):
        loaded(ours, data)


def test_bytes_behind_the_end_are_refused(ours: Any) -> None:
    """PyTorch looks for the end backwards and takes what it finds; what stands behind it is hidden from it."""
    data = saved(PYTORCH, NUMBERS)
    assert torch.equal(loaded(PYTORCH, data + b"tail" * 3), NUMBERS)
    with pytest.raises(REFUSED):
        loaded(ours, data + b"tail" * 3)


@pytest.mark.parametrize("protocol", [4, 5])
def test_later_protocols_load_safely(ours: Any, protocol: int) -> None:
    """PyTorch's weights-only unpickler knows only the opcodes of protocol 2; ptfile's machine knows all."""
    data = saved(PYTORCH, {"t": NUMBERS}, pickle_protocol=protocol)
    with pytest.warns(UserWarning, match="Detected pickle protocol"), pytest.raises(pickle.UnpicklingError):
        loaded(PYTORCH, data)
    with pytest.warns(UserWarning, match="Detected pickle protocol"):
        assert torch.equal(loaded(ours, data)["t"], NUMBERS)


def test_ints_of_any_size_load_safely(ours: Any) -> None:
    """PyTorch's weights-only unpickler knows the opcode for 255 bytes, not that for more."""
    data = saved(PYTORCH, {"n": 1 << 4000})
    with pytest.raises(pickle.UnpicklingError, match="Unsupported operand"):
        loaded(PYTORCH, data)
    assert loaded(ours, data) == {"n": 1 << 4000}


def test_tuples_that_contain_themselves_load_safely(ours: Any) -> None:
    """PyTorch's weights-only unpickler does not know the opcode that throws the second tuple away."""
    items: list[Any] = []
    items.append((items,))
    data = saved(PYTORCH, items[0])
    with pytest.raises(pickle.UnpicklingError, match="Unsupported operand"):
        loaded(PYTORCH, data)
    found = loaded(ours, data)
    assert found[0][0] is found


@pytest.mark.parametrize(
    "body",
    [
        call(name("_codecs", "encode"), text("x"), text("rot13")),
        call(name("_codecs", "encode"), text("x"), text("utf-8")),
        call(name("builtins", "bytearray"), plain(1 << 20)),
        call(name("collections", "OrderedDict"), b"](](" + b")" + b"\x85" * 200 + plain(1) + b"ee"),
    ],
    ids=["codec", "utf-8", "bytearray", "deep key"],
)
def test_calls_that_no_pickler_writes_are_refused(ours: Any, body: bytes) -> None:
    """PyTorch imports the codec that a file names, sets aside what a file asks for, and hashes whatever there is."""
    data = checkpoint(body)
    loaded(PYTORCH, data)
    with pytest.raises(pickle.UnpicklingError):
        loaded(ours, data)


def test_doubled_records_are_never_a_choice(ours: Any) -> None:
    """PyTorch takes the last of two records of one name, another program the first; a hostile file uses that."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(PYTORCH, NUMBERS))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        with pytest.warns(UserWarning, match="Duplicate name"):
            new.writestr("archive/data/0", bytes(24))
    with pytest.raises(REFUSED):
        loaded(ours, buffer.getvalue())


def test_ptfile_s_own_files_are_read(ours: Any) -> None:
    """What ptfile.save wrote without PyTorch are torch tensors here."""
    buffer = io.BytesIO()
    ptfile.save({"t": ptfile.arange(4), "a": np.arange(2).tolist()}, buffer)
    assert described(loaded(ours, buffer.getvalue())) == described({"t": torch.arange(4), "a": [0, 1]})


@pytest.mark.parametrize("weights_only", [True, False])
def test_legacy_files_of_newer_dtypes_load(ours: Any, weights_only: bool) -> None:
    """PyTorch writes their storages untyped and trips over that when it reads them."""
    value = torch.tensor([1, 2, 65535], dtype=torch.uint16)
    data = saved(PYTORCH, [value, value[1:], value.untyped_storage()], **LEGACY)
    with pytest.raises(AttributeError, match="has no attribute 'dtype'"):
        loaded(PYTORCH, data, weights_only=weights_only)
    whole, tail, storage = loaded(ours, data, weights_only=weights_only)
    assert (whole.tolist(), tail.tolist(), whole.dtype) == ([1, 2, 65535], [2, 65535], torch.uint16)
    assert whole.data_ptr() == storage.data_ptr()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("wrap", [io.BytesIO, lambda data: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data)))])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_what_is_rebuilt_from_bytes_has_them_in_a_legacy_file(ours: Any, protocol: int, wrap: Any) -> None:
    """PyTorch rebuilds nested tensors and generators from memory that is not filled yet: it may work, by luck."""
    generator = torch.Generator().manual_seed(3)
    expected = torch.randn(4, generator=torch.Generator().manual_seed(3))
    value = [torch.nested.nested_tensor([NUMBERS, NUMBERS[1:4]]), generator, NUMBERS]
    data = saved(PYTORCH, value, pickle_protocol=protocol, **LEGACY)
    nested, again, numbers = ours.load(wrap(data), weights_only=False)
    assert [part.tolist() for part in nested.unbind()] == [[0, 1, 2, 3, 4, 5], [1, 2, 3]]
    assert torch.equal(torch.randn(4, generator=again), expected)
    assert torch.equal(numbers, NUMBERS)


def test_a_legacy_file_that_lacks_a_storage_is_refused(ours: Any) -> None:
    """PyTorch leaves the tensor with whatever the memory holds."""
    data = legacy(tensor(storage("1", 2), (2,)), (), b"")
    assert loaded(PYTORCH, data).shape == (2,)
    with pytest.raises(REFUSED):
        loaded(ours, data)


def test_meta_reads_nothing_of_a_legacy_file(ours: Any) -> None:
    """PyTorch reads all of it, and throws it away."""

    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

        def readinto(self, target: Any) -> int:
            self.count += memoryview(target).nbytes
            return super().readinto(target)

    stream = Counting(saved(PYTORCH, torch.ones(1_000_000), **LEGACY))
    assert ours.load(stream, map_location="meta").shape == (1_000_000,)
    assert stream.count < 100_000
    assert stream.tell() == len(stream.getvalue())


@pytest.mark.parametrize("module", [bz2, lzma], ids=["bz2", "lzma"])
def test_other_compressed_files_hold_legacy_checkpoints(ours: Any, module: Any, tmp_path: Path) -> None:
    """PyTorch reads the storages from the file below, where they are compressed."""
    path = tmp_path / "t.pt.x"
    path.write_bytes(module.compress(saved(PYTORCH, NUMBERS, **LEGACY)))
    with module.open(path) as file, pytest.raises(RuntimeError):
        PYTORCH.load(file)
    with module.open(path) as file:
        assert torch.equal(ours.load(file), NUMBERS)

"""Reading and writing the legacy format, without PyTorch."""

from __future__ import annotations

import gc
import io
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.formats.legacy_reader import LegacyFormatReader
from ptfile.formats.pickles import SafeRunner
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources.base import Closing
from tests.formats.old_files import (
    MAGIC,
    SYS_INFO,
    Call,
    Id,
    Name,
    New,
    Python2,
    floats,
    legacy,
    pickled,
    storage,
    tensor,
)

RUN = Call(Name("os", "system"), ("true",))
WHOLE = tensor(storage("1", 3), (3,))
FILE = legacy({"w": WHOLE}, ("1",), floats(1, 2, 3))


def load(data: bytes, **options: Any) -> Any:
    return ptfile.load(io.BytesIO(data), **options)


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, _use_new_zipfile_serialization=False, **options)
    return buffer.getvalue()


class Pipe:
    """A stream that cannot seek, and gives as little at a time as it likes."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, self._most) if size >= 0 else size)


# what is read


def test_elements_are_read_from_behind_the_pickles() -> None:
    """Each storage's stand behind their count, in the order of the list of keys, whatever that is."""
    other = tensor(storage("2", 2, "LongStorage"), (2,))
    data = legacy([WHOLE, other], ("2", "1"), struct.pack("<3q", 2, 7, 8) + floats(1, 2, 3))
    first, second = load(data)
    assert (first.tolist(), first.dtype, second.tolist(), second.dtype) == (
        [1, 2, 3],
        ptfile.float32,
        [7, 8],
        ptfile.int64,
    )


def test_tensors_on_one_storage_share_it() -> None:
    """Also when the pickle names it more than once."""
    data = legacy([tensor(storage("1", 4), (2,)), tensor(storage("1", 4), (2,), offset=2)], ("1",), floats(1, 2, 3, 4))
    first, second = load(data)
    assert first.untyped_storage() is second.untyped_storage()
    assert second.tolist() == [3, 4]


def test_a_view_of_a_storage_shares_its_memory() -> None:
    """Old files have storages that are a part of another one; it may be met before or after the whole."""
    view = tensor(storage("1", 4, view=("9", 1, 2)), (2,))
    for value in ([tensor(storage("1", 4), (4,)), view], [view, tensor(storage("1", 4), (4,))]):
        by_size = sorted(load(legacy(value, ("1",), floats(1, 2, 3, 4))), key=lambda tensor: tensor.numel())
        part, whole = by_size
        assert (part.tolist(), part.untyped_storage().nbytes()) == ([2, 3], 8)
        part[0] = 50
        whole[2] = 60
        assert (whole.tolist(), part.tolist()) == ([1, 50, 60, 4], [50, 60])


def test_the_only_view_of_a_storage_has_its_values() -> None:
    """The whole is in the file though nothing shows it; one view asked for twice is one storage."""
    view = storage("1", 4, view=("9", 1, 2))
    first, second = load(legacy([tensor(view, (2,)), tensor(view, (2,))], ("1",), floats(1, 2, 3, 4)))
    assert first.tolist() == [2, 3]
    assert first.untyped_storage() is second.untyped_storage()


def test_newer_dtypes_are_read_though_pytorch_cannot() -> None:
    """They stand on untyped storages, whose count is that of bytes."""
    value = ptfile.tensor([1, 2, 65535], dtype=ptfile.uint16)
    loaded = load(saved(value))
    assert (loaded.tolist(), loaded.dtype) == ([1, 2, 65535], ptfile.uint16)


def test_empty_storages_may_have_any_type() -> None:
    """PyTorch allows a storage without bytes to be seen as two dtypes."""
    value = [tensor(storage("1", 0), (0,)), tensor(storage("1", 0, "LongStorage"), (0,))]
    first, second = load(legacy(value, ("1",), floats()))
    assert (first.dtype, second.dtype) == (ptfile.float32, ptfile.int64)


def test_tensors_of_pytorch_0_4_are_read() -> None:
    """They have None where later ones have an empty dict for their hooks (the weights of lpips are such)."""
    rebuild = Name("torch._utils", "_rebuild_tensor_v2")
    value = Call(rebuild, (storage("1", 3), 0, (3,), (1,), False, None))
    assert load(legacy(value, ("1",), floats(1, 2, 3))).tolist() == [1, 2, 3]


def test_map_location_changes_the_tag() -> None:
    """As in the zip format."""
    data = legacy(tensor(storage("1", 1, location="cuda:1"), (1,)), ("1",), floats(5))
    assert load(data).device == "cuda:1"
    assert load(data, map_location="cpu").device == "cpu"


@pytest.mark.parametrize("wrap", [io.BytesIO, Pipe])
def test_map_location_may_look_at_the_elements(wrap: Any) -> None:
    """Though they stand behind the pickle that is being read."""
    seen = []
    data = legacy([WHOLE, tensor(storage("2", 1), (1,))], ("1", "2"), floats(1, 2, 3) + floats(9))
    value = ptfile.load(wrap(data), map_location=lambda storage, _: seen.append(storage.tobytes()))
    assert seen == [struct.pack("<3f", 1, 2, 3), struct.pack("<f", 9)]
    assert [part.tolist() for part in value] == [[1, 2, 3], [9]]


def test_text_of_python_2_is_read_in_its_encoding() -> None:
    """Ids are understood with encoding="bytes" too."""
    kind, key, cpu = Python2(b"storage"), Python2(b"1"), Python2(b"cpu")
    of = Id((kind, Name("torch", "FloatStorage"), key, cpu, 1, (Python2(b"2"), 0, 1)))
    data = legacy({Python2(b"caf\xe9"): tensor(of, (1,))}, [key], floats(5))
    assert load(data, encoding="latin1")["café"].tolist() == [5]
    assert load(data, encoding="bytes")[b"caf\xe9"].tolist() == [5]
    with pytest.raises(ptfile.FormatError, match="latin1"):
        load(data)


def test_persistent_ids_of_protocol_0_are_read() -> None:
    """They are the text of the tuple; PyTorch writes them and cannot read them."""
    text = b"P('storage', <class 'torch.FloatStorage'>, '1', 'cpu', 2, None)\n"
    value = b"ctorch._utils\n_rebuild_tensor\n(" + text + b"I0\n(I2\nt(I1\ntt" + b"R."
    head = b"".join(pickled(part, 0) for part in (MAGIC, 1001, SYS_INFO))
    assert load(head + value + pickled(["1"], 0) + floats(4, 5)).tolist() == [4, 5]


def test_elements_are_little_endian_in_every_file() -> None:
    """PyTorch swaps them on big-endian machines; up to 1.0 it did not swap the counts."""
    for count in (struct.pack("<q", 2), struct.pack(">q", 2)):
        elements = count + struct.pack("<2f", 1, 2)
        data = legacy(tensor(storage("1", 2), (2,)), ("1",), elements, sys_info={**SYS_INFO, "little_endian": False})
        assert load(data).tolist() == [1, 2]
    with pytest.raises(ptfile.TensorError):
        load(legacy(tensor(storage("1", 2), (2,)), ("1",), struct.pack(">q2f", 2, 1, 2)))


@pytest.mark.parametrize("kind", ["ComplexFloatStorage", "UntypedStorage"])
def test_what_big_endian_machines_write_wrong_is_refused(kind: str) -> None:
    """PyTorch swaps a complex number as one integer, and untyped bytes not at all."""
    data = legacy(storage("1", 8, kind), ("1",), bytes(72), sys_info={**SYS_INFO, "little_endian": False})
    with pytest.raises(ptfile.UnsupportedError, match="big-endian"):
        load(data)


def test_classes_of_modules_are_kept_with_their_source_code() -> None:
    """As inert names; strict loading refuses them. Saved again, the source stands where the class is met first."""
    linear = Name("torch.nn.modules.linear", "Linear")
    source = ("module", linear, "/lib/linear.py", "class Linear: pass")
    data = legacy([New(Id(source), {"in": 1}), New(linear, {"in": 2})])
    first, second = load(data, unknown="inert")
    assert (first.inert_class, first.inert_attributes, second.inert_attributes) == (
        "torch.nn.modules.linear.Linear",
        {"in": 1},
        {"in": 2},
    )
    again = saved([first, first.inert_target])
    assert again.count(b"class Linear: pass") == again.count(b"moduleq") == 1
    assert load(again, unknown="inert")[0].inert_target.source_code == source[2:]
    with pytest.raises(ptfile.UnsafeError) as caught:
        load(data)
    assert caught.value.name == "torch.nn.modules.linear.Linear"


def test_trusted_files_are_unpickled() -> None:
    """With `weights_only=False` names are imported, and tensors are ptfile's."""
    value, weight = load(saved([Fraction(1, 3), ptfile.arange(2)]), weights_only=False)
    assert (value, weight.tolist()) == (Fraction(1, 3), [0, 1])


# where it is read from


def test_checkpoints_follow_one_another_in_a_stream() -> None:
    """After each load the position is behind its last element, wherever it began."""
    stream = io.BytesIO(b"before" + FILE + FILE + b"after")
    stream.seek(6)
    for count in (1, 2):
        assert ptfile.load(stream)["w"].tolist() == [1, 2, 3]
        assert stream.tell() == 6 + count * len(FILE)


class PeekingPipe(Pipe):
    """One that can show what has arrived, as those of Python do that have a buffer."""

    def peek(self, size: int = 0) -> bytes:
        shown = self._stream.getvalue()[self._stream.tell() :]
        return shown[: min(self._most, 50)]


@pytest.mark.parametrize("pipe_of", [Pipe, PeekingPipe])
@pytest.mark.parametrize("most", [1, 1 << 30])
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_streams_that_cannot_seek_give_no_byte_too_many(pipe_of: type[Pipe], protocol: int, most: int) -> None:
    """What stands behind the checkpoint is still there, even if it is another one."""
    data = legacy(["some text\n" * 50], protocol=protocol)
    pipe = pipe_of(data + FILE + b"after", most)
    assert ptfile.load(pipe) == ["some text\n" * 50]  # type: ignore[arg-type]
    weight = ptfile.load(pipe)["w"]  # type: ignore[arg-type]
    weight += 1
    assert (weight.tolist(), pipe.read(99)) == ([2, 3, 4], b"after"[:most])


def test_streams_that_end_are_cut_off() -> None:
    """At every byte; one without any byte is empty."""
    for length in range(1, len(FILE)):
        with pytest.raises((ptfile.FormatError, ptfile.UnsupportedError)):
            ptfile.load(Pipe(FILE[:length]))  # type: ignore[arg-type]
    with pytest.raises(ptfile.FormatError, match="empty"):
        ptfile.load(Pipe(b""))  # type: ignore[arg-type]


def test_a_stream_takes_no_memory_for_what_it_only_claims() -> None:
    """A storage of a terabyte in a file of a few bytes."""
    data = legacy(tensor(storage("1", 1 << 38), (1,)), ("1",), struct.pack("<q", 1 << 38) + bytes(100))
    for file in (Pipe(data), io.BytesIO(data)):
        tracemalloc.start()
        with pytest.raises(ptfile.FormatError, match="bytes are missing"):
            ptfile.load(file)  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()
        gc.collect()


class CountingSource(Closing):
    """Counts the bytes that are read, and gives no views."""

    def __init__(self, data: bytes) -> None:
        self.name = "counted"
        self.size = len(data)
        self.reads: list[tuple[int, int]] = []
        self._bytes = memoryview(data)

    def read(self, offset: int, length: int) -> memoryview:
        self.reads.append((offset, length))
        return self._bytes[offset : offset + length]

    def read_into(self, offset: int, target: memoryview) -> None:
        target[:] = self.read(offset, target.nbytes)


def test_elements_are_not_read_to_find_the_pickles() -> None:
    """Loading reads a window around the pickles; filling reads each storage once, and little else."""
    value = [ptfile.full((1 << 18,), number, dtype=ptfile.int64) for number in range(4)]
    source = CountingSource(saved(value))
    reader = LegacyFormatReader(source, Limits())
    loaded = reader.load(SafeRunner(Limits(), "error", Python2Text()), None)
    assert sum(length for _, length in source.reads) < 100_000
    source.reads.clear()
    reader.fill()
    assert source.reads == sorted(source.reads)
    assert 0 <= sum(length for _, length in source.reads) - 4 * (8 + (8 << 18)) < 100_000
    assert [part[-1].item() for part in loaded] == [0, 1, 2, 3]


@pytest.mark.parametrize("padding", range(8))
def test_mapped_files_have_the_same_values(tmp_path: Path, padding: int) -> None:
    """Wherever in a file the elements are, they are aligned in memory; writing to them leaves the file alone."""
    path = tmp_path / "x.pt"
    data = saved(["x" * padding, ptfile.arange(5), ptfile.ones(3), ptfile.tensor([7], dtype=ptfile.uint64)])
    path.write_bytes(data)
    _, numbers, ones, wide = ptfile.load(path, mmap=True)
    assert (numbers.tolist(), ones.tolist(), wide.tolist()) == ([0, 1, 2, 3, 4], [1, 1, 1], [7])
    assert all(part.numpy().flags.aligned for part in (numbers, ones, wide))
    numbers += 1
    assert path.read_bytes() == data


# what is wrong


@pytest.mark.parametrize("options", [{}, {"unknown": "inert"}])
def test_a_file_that_is_cut_off_anywhere_is_a_format_error(options: dict[str, Any]) -> None:
    """And not one byte of it is missing without notice."""
    for length in range(len(FILE)):
        with pytest.raises(ptfile.FormatError):
            load(FILE[:length], **options)


def test_a_file_that_is_cut_off_says_how_much_is_missing() -> None:
    """Known from the counts as soon as the pickles are read."""
    with pytest.raises(ptfile.FormatError, match="5 bytes are missing"):
        load(FILE[:-5])


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_a_flipped_byte_is_an_error_or_a_value(flip: int) -> None:
    """Nothing but ptfile's own errors escapes, in either way of loading, from a file or a stream."""
    outcomes: set[type[ptfile.PtfileError] | None] = set()
    for position in range(len(FILE)):
        data = bytearray(FILE)
        data[position] ^= flip
        for file in (io.BytesIO(data), Pipe(bytes(data))):
            try:
                ptfile.load(file, unknown="inert")  # type: ignore[arg-type]
                outcomes.add(None)
            except ptfile.PtfileError as error:
                outcomes.add(type(error))
    assert {None, ptfile.FormatError} <= outcomes


@pytest.mark.parametrize("place", range(5))
def test_a_call_in_any_of_the_pickles_is_unsafe(place: int) -> None:
    """Also behind which the file is garbage, or ends."""
    parts: list[Any] = [MAGIC, 1001, SYS_INFO, {"w": WHOLE}, ["1"]]
    parts[place] = RUN
    data = b"".join(map(pickled, parts)) + floats(1, 2, 3)
    call = data.index(b"os\nsystem")
    for broken in (data, data[: call + 30], data[: call + 30] + b"\xff" * 99):
        with pytest.raises(ptfile.PtfileError) as caught:
            load(broken)
        if place:  # the first one is what a file is recognised by
            assert isinstance(caught.value, ptfile.UnsafeError)
            assert caught.value.offset == call - 1


@pytest.mark.parametrize("view", [("2", 0), "2", [], (2, 0, 1), ("1", 0, 3)])
def test_views_that_are_none_are_a_format_error(view: Any) -> None:
    """Of another form, or with a key that a storage has."""
    with pytest.raises(ptfile.FormatError):
        load(legacy([storage("1", 3), storage("1", 3, view=view)], ("1",), floats(1, 2, 3)))


@pytest.mark.parametrize(
    "persistent_id",
    [
        "1",
        (),
        7,
        ("storage", Name("torch", "FloatStorage"), "1", "cpu", 3),
        ("module", Name("torch", "Tensor")),
        ("module", Name("torch", "Tensor"), 1, 2),
        ("storage", "FloatStorage", "1", "cpu", 3, None),
        ("storage", Name("torch", "FloatStorage"), "../1", "cpu", 3, None),
        ("storage", Name("torch", "FloatStorage"), "1", 5, 3, None),
    ],
)
def test_other_persistent_ids_are_a_format_error(persistent_id: Any) -> None:
    """Six items for a storage, four for a class."""
    with pytest.raises(ptfile.FormatError):
        load(legacy(Id(persistent_id), ("1",), floats(1, 2, 3)))


def test_a_persistent_id_outside_of_the_object_is_a_format_error() -> None:
    """The other pickles hold plain values."""
    with pytest.raises(ptfile.FormatError, match="persistent id"):
        load(legacy(WHOLE, [Id("1")], floats(1, 2, 3)))


def test_another_version_is_unsupported() -> None:
    """PyTorch has written 1001 only."""
    with pytest.raises(ptfile.UnsupportedError, match="1002"):
        load(legacy(1, version=1002))


@pytest.mark.parametrize("sys_info", [[], None, {"little_endian": 1}])
def test_facts_of_the_machine_that_are_none_are_a_format_error(sys_info: Any) -> None:
    """It is a dict with a boolean."""
    with pytest.raises(ptfile.FormatError, match="byte order"):
        load(legacy(1, sys_info=sys_info))


def test_a_pickle_above_the_limit_is_a_limit_error() -> None:
    """Also if it only claims to be as long."""
    claim = pickled(MAGIC) + pickled(1001) + pickled(SYS_INFO) + b"\x80\x02B" + struct.pack("<I", 1 << 31)
    for data in (legacy("x" * 5000), claim):
        with pytest.raises(ptfile.LimitError) as caught:
            load(data, limits=Limits(pickle_size=3000))
        assert caught.value.limit == "pickle_size"


def test_a_trusted_file_that_is_cut_off_is_a_format_error() -> None:
    """Whatever the unpickler says about it."""
    data = saved(Fraction(1, 3))
    for length in range(130, len(data)):
        with pytest.raises(ptfile.FormatError):
            load(data[:length], weights_only=False)


# what is written


def test_the_same_value_is_saved_to_the_same_bytes() -> None:
    """PyTorch's keys differ each time; ptfile's are numbers."""
    tensors = [ptfile.arange(3), ptfile.arange(2)]
    assert saved(tensors) == saved(tensors)
    assert saved(tensors).count(b"00000000") == saved(tensors).count(b"00000001") == 2


def test_a_view_of_a_storage_is_saved_as_a_storage() -> None:
    """As PyTorch does: it writes no views any more."""
    view = tensor(storage("1", 4, view=("9", 1, 2)), (2,))
    loaded = load(legacy([tensor(storage("1", 4), (4,)), view], ("1",), floats(1, 2, 3, 4)))
    whole, part = load(saved(loaded))
    assert (whole.tolist(), part.tolist(), part.untyped_storage().nbytes()) == ([1, 2, 3, 4], [2, 3], 8)


def test_a_value_that_cannot_be_pickled_leaves_the_old_file(tmp_path: Path) -> None:
    """Nothing is opened before the pickle is complete."""
    path = tmp_path / "x.pt"
    path.write_bytes(b"old")
    with pytest.raises((AttributeError, TypeError)):
        ptfile.save([ptfile.ones(3), (number for number in [1])], path, _use_new_zipfile_serialization=False)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x.pt", b"old")]

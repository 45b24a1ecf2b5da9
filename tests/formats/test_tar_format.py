"""Reading the tar format of PyTorch 0.1, without PyTorch."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.limits import Limits
from tests.formats.old_files import SYS_INFO, Call, Id, Name, New, Python2, floats, pickled, tar
from tests.formats.tar_file import (
    FLOAT_TENSOR,
    FLOATS,
    ONE_STORAGE,
    ONE_TENSOR,
    checkpoint,
    geometry,
    storages,
    tensors,
)

RUN = Call(Name("os", "system"), ("true",))


def load(data: bytes, **options: Any) -> Any:
    return ptfile.load(io.BytesIO(data), **options)


# what is read


def test_tensors_are_read() -> None:
    """With their shapes, strides and offsets; those on one storage share it."""
    columns = ((11, 1, FLOAT_TENSOR), geometry((2,), (2,), 1))
    both = tensors(((10, 1, FLOAT_TENSOR), geometry((2, 2), (2, 1))), columns)
    whole, column = load(checkpoint([Id("10"), Id("11")], tensors=both))
    assert (whole.tolist(), column.tolist()) == ([[1, 2], [3, 4]], [2, 4])
    assert whole.untyped_storage() is column.untyped_storage()


def test_one_key_is_one_object() -> None:
    """A tensor that is met twice is one, and a storage can be met as such."""
    first, again, storage = load(checkpoint([Id("10"), Id("10"), Id("1")]))
    assert first is again
    assert storage.untyped() is first.untyped_storage()
    assert storage.tolist() == [1, 2, 3, 4]


def test_views_of_storages_share_their_memory() -> None:
    """They are listed behind the storages, in elements."""
    data = checkpoint(
        [Id("1"), Id("10")],
        storages(((1, "cpu", FLOATS), floats(1, 2, 3, 4)), views=((2, 1, 1, 2),)),
        tensors(((10, 2, FLOAT_TENSOR), geometry((2,), (1,)))),
    )
    whole, part = load(data)
    part[0] = 50
    assert (whole.tolist(), part.untyped_storage().nbytes()) == ([1, 50, 3, 4], 8)


def test_the_bytes_behind_the_number_of_dimensions_are_ignored() -> None:
    """They are padding that old versions never set."""
    data = tensors(((10, 1, FLOAT_TENSOR), geometry((4,), (1,), garbage=-1)))
    assert load(checkpoint(tensors=data)).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("entry", [(10, 1, FLOAT_TENSOR), (10, FLOAT_TENSOR, 1)])
def test_the_very_first_layout_is_read(entry: Any) -> None:
    """No locations, no views, and the class of a tensor before its storage."""
    data = checkpoint(
        storages=storages(((1, FLOATS), floats(1, 2)), views=None), tensors=tensors((entry, geometry((2,), (1,))))
    )
    assert (load(data).tolist(), load(data).device) == ([1, 2], "cpu")


def test_tensors_without_a_storage_are_empty() -> None:
    """There were no tensors without dimensions then but empty ones."""
    data = tensors(((10, None, Name("torch.cuda", "LongTensor")), geometry((), ())))
    loaded = load(checkpoint(tensors=data, storages=storages()))
    assert (loaded.shape, loaded.dtype) == ((0,), ptfile.int64)


def test_locations_are_device_tags() -> None:
    """Which map_location changes."""
    data = checkpoint(storages=storages(((1, "cuda:0", FLOATS), floats(1, 2, 3, 4))))
    assert (load(data).device, load(data, map_location={"cuda:0": "cpu"}).device) == ("cuda:0", "cpu")


def test_text_of_python_2_is_read_in_its_encoding() -> None:
    """Keys and locations are understood with any."""
    data = checkpoint(
        [Id(Python2(b"10")), Python2(b"\xe9")], storages(((1, Python2(b"cpu"), FLOATS), floats(1, 2, 3, 4)))
    )
    assert load(data, encoding="latin1")[1] == "é"
    tensor, text = load(data, encoding="bytes")
    assert (tensor.numel(), text) == (4, b"\xe9")


def test_classes_of_modules_are_kept_with_their_source_code() -> None:
    """As inert names; strict loading refuses them."""
    linear = Name("torch.nn.modules.linear", "Linear")
    data = checkpoint([New(Id((linear, "linear.py", "class Linear: pass")), {"weight": Id("10")})])
    (module,) = load(data, unknown="inert")
    assert (module.inert_class, module.weight.numel()) == ("torch.nn.modules.linear.Linear", 4)
    assert module.inert_target.source_code == ("linear.py", "class Linear: pass")
    with pytest.raises(ptfile.UnsafeError, match="Linear"):
        load(data)


@pytest.mark.parametrize("padding", range(8))
def test_mapped_files_have_the_same_values(tmp_path: Path, padding: int) -> None:
    """Wherever the elements are, they are aligned in memory."""
    path = tmp_path / "x.pt"
    path.write_bytes(checkpoint(storages=storages(((1, "c" * padding, FLOATS), floats(1, 2, 3, 4)))))
    loaded = ptfile.load(path, mmap=True)
    assert loaded.tolist() == [[1, 2], [3, 4]]
    assert loaded.numpy().flags.aligned


# what is wrong


@pytest.mark.parametrize("name", ["storages", "tensors", "pickle", "sys_info"])
def test_a_call_in_any_of_the_pickles_is_unsafe(name: str) -> None:
    """And every member is needed."""
    members = {"sys_info": pickled(SYS_INFO), "pickle": pickled(1), "tensors": tensors(), "storages": storages()}
    assert load(tar(members)) == 1
    with pytest.raises(ptfile.UnsafeError) as caught:
        load(tar({**members, name: pickled(RUN)}))
    assert (caught.value.name, caught.value.record) == ("os.system", name)
    with pytest.raises(ptfile.FormatError, match=name):
        load(tar({key: data for key, data in members.items() if key != name} | {"other": b""}))


@pytest.mark.parametrize(
    "place", [geometry((5,), (1,)), geometry((2,), (1,), 3), geometry((-1,), (1,)), geometry((2,), (-1,), 2)]
)
def test_a_tensor_outside_of_its_storage_is_a_tensor_error(place: bytes) -> None:
    """PyTorch makes the storage larger, with whatever is in memory there."""
    with pytest.raises(ptfile.TensorError):
        load(checkpoint(tensors=tensors(((10, 1, FLOAT_TENSOR), place))))


@pytest.mark.parametrize("numel", [5, 3, -1, 2**40, 2**62, -(2**63)])
def test_a_number_of_elements_that_lies_is_an_error(numel: int) -> None:
    """And takes no memory."""
    data = checkpoint(storages=storages(((1, "cpu", FLOATS), struct.pack("<q4f", numel, 1, 2, 3, 4))))
    tracemalloc.start()
    with pytest.raises(ptfile.PtfileError):
        load(data)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "broken",
    [
        storages(((1, "cpu", FLOATS), floats(1)), ((1, "cpu", FLOATS), floats(1))),
        storages((("1", "cpu", FLOATS), floats(1))),
        storages(((-1, "cpu", FLOATS), floats(1))),
        storages(((1, "cpu", FLOATS, 1), floats(1))),
        storages(((1, 2, FLOATS), floats(1))),
        storages(((1, "cpu", FLOAT_TENSOR), floats(1))),
        storages(((1, "cpu", "FloatStorage"), floats(1))),
        storages(([1, "cpu", FLOATS], floats(1))),
        storages(views=[1]),
        storages(views={}),
        storages(views=[(2, 1, 0, 0)]),
        ONE_STORAGE + b"more",
        storages(((1, "cpu", FLOATS), floats(1, 2, 3, 4)), views=((1, 1, 0, 1),)),
        storages(((1, "cpu", FLOATS), floats(1, 2, 3, 4)), views=((2, 1, 3, 2),)),
        pickled(-1) + pickled([]),
        pickled(2**70),
        pickled("1"),
        b"",
    ],
)
def test_storages_that_make_no_sense_are_errors(broken: bytes) -> None:
    """Wrong types, keys twice, views outside or of nothing, counts that are none."""
    with pytest.raises((ptfile.FormatError, ptfile.TensorError, ptfile.UnsafeError)):
        load(checkpoint(1, broken, tensors()))


@pytest.mark.parametrize(
    "broken",
    [
        tensors(((10, 2, FLOAT_TENSOR), geometry((1,), (1,)))),
        tensors(((1, 1, FLOAT_TENSOR), geometry((1,), (1,)))),
        tensors(((10, "1", FLOAT_TENSOR), geometry((1,), (1,)))),
        tensors(((10, None, FLOATS), geometry((), ()))),
        tensors(((10, 1), geometry((1,), (1,)))),
        tensors(((10, 1, FLOAT_TENSOR), geometry((1,), (1,))[:-1])),
        ONE_TENSOR + b"more",
        ONE_TENSOR[:-8],
        pickled(3),
    ],
)
def test_tensors_that_make_no_sense_are_errors(broken: bytes) -> None:
    """Storages that are not there, keys twice, entries cut off."""
    with pytest.raises(ptfile.FormatError):
        load(checkpoint(1, tensors=broken))


@pytest.mark.parametrize("persistent_id", ["11", "x", "-1", "1" * 99, 10, None, (), (Name("torch", "Tensor"), 1, 1)])
def test_persistent_ids_of_nothing_are_a_format_error(persistent_id: Any) -> None:
    """Keys are decimal, and there."""
    with pytest.raises(ptfile.FormatError):
        load(checkpoint(Id(persistent_id)))


def test_a_big_endian_file_is_unsupported() -> None:
    """Nobody knows one."""
    with pytest.raises(ptfile.UnsupportedError, match="big-endian"):
        load(checkpoint(sys_info={**SYS_INFO, "little_endian": False}))


def test_bytes_behind_the_pickle_are_a_format_error() -> None:
    """It is a member of its own."""
    members = {"sys_info": pickled(SYS_INFO), "pickle": pickled(1) + b".", "tensors": tensors(), "storages": storages()}
    with pytest.raises(ptfile.FormatError, match="1 bytes follow"):
        load(tar(members))


def test_names_that_are_there_twice_are_a_format_error() -> None:
    """Which one would be meant?"""
    with pytest.raises(ptfile.FormatError, match="twice"):
        load(tar({"sys_info": b""}).rstrip(b"\0").ljust(1536, b"\0") + checkpoint())


def test_too_many_members_are_a_limit_error() -> None:
    """As records of a zip file are."""
    with pytest.raises(ptfile.LimitError, match="members"):
        load(checkpoint(), limits=Limits(records=3))


def test_a_file_that_is_cut_off_is_a_format_error() -> None:
    """Anywhere before the zeros at its end."""
    data = checkpoint()
    end = len(data.rstrip(b"\0"))
    for length in range(0, end, 7):
        with pytest.raises(ptfile.FormatError):
            load(data[:length])


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_is_an_error_or_a_value(flip: int) -> None:
    """Nothing but ptfile's own errors escapes."""
    data = checkpoint()
    outcomes: set[type[ptfile.PtfileError] | None] = set()
    for position in range(0, len(data.rstrip(b"\0")), 3):
        broken = bytearray(data)
        broken[position] ^= flip
        try:
            load(bytes(broken), unknown="inert")
            outcomes.add(None)
        except ptfile.PtfileError as error:
            outcomes.add(type(error))
    assert {None, ptfile.FormatError} <= outcomes

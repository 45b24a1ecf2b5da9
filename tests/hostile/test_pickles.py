"""Pickles that once broke something, or that try to: each is an error of ptfile's, at once and without harm."""

from __future__ import annotations

import io
import subprocess
import sys
import time

import numpy as np
import pytest

import ptfile
from tests.hostile.pickle_assembler import NONE, call, checkpoint, keep, kept, load, name, plain, storage, tuple_of

FALSE, TRUE = b"\x89", b"\x88"
DTYPE = name("numpy", "dtype")
SCALAR = name("numpy._core.multiarray", "scalar")


def dtype(code: str) -> bytes:
    return call(DTYPE, plain(code), FALSE, TRUE)


def dtype_state(order: str, names: bytes, fields: bytes, size: int, alignment: int = 1, flags: int = 0) -> bytes:
    parts = (plain(3), plain(order), NONE, names, fields, plain(size), plain(alignment), plain(flags))
    return tuple_of(*parts) + b"b"


def array(element: bytes, shape: tuple[int, ...], data: bytes) -> bytes:
    made = call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), plain((0,)), plain(b"b"))
    return made + tuple_of(plain(1), plain(shape), element, FALSE, plain(data)) + b"b"


def shared_lists(depth: int) -> bytes:
    """A list that holds ten times a list that holds ten times ...: few bytes, and 10**depth places."""
    body = b"]"
    for number in range(depth):
        body += b"r" + number.to_bytes(4, "little") + b"0](" + kept(number) * 10 + b"e"
    return body


# numpy trusts the state of a dtype


def test_the_size_of_a_dtype_in_use_cannot_be_changed() -> None:
    """An array of it would reach beyond its memory."""
    body = dtype("S8") + keep(1000) + array(kept(1000), (1,), b"AAAAAAAA")
    with pytest.raises(ptfile.TensorError):
        load(tuple_of(body, kept(1000) + dtype_state("|", NONE, NONE, 1 << 20)))


def test_a_record_that_poses_as_a_dtype_is_none() -> None:
    """What an inert record says of its class does not make it one, in the only mode that has records."""
    posing = DTYPE + b")\x81}(" + plain("hasobject") + FALSE + plain("itemsize") + plain(8) + b"ub"
    fields = b"}" + plain("f") + tuple_of(posing, plain(0)) + b"s"
    outer = dtype("V8") + dtype_state("|", plain(("f",)), fields, 8)
    with pytest.raises(ptfile.TensorError):
        load(call(SCALAR, outer, plain(b"A" * 8)), unknown="inert")
    record = load(posing, unknown="inert")
    assert not isinstance(record, np.dtype)


# recursion, time and memory


def test_slices_cannot_hold_slices() -> None:
    """Nested deep enough they end the interpreter when they are freed."""
    with pytest.raises(ptfile.FormatError):
        load(call(name("builtins", "slice"), call(name("builtins", "slice"), NONE, NONE, NONE), NONE, NONE))


@pytest.mark.parametrize(
    "body",
    [
        call(name("_codecs", "encode"), plain("a"), shared_lists(30)),
        call(name("torch.serialization", "_get_layout"), shared_lists(30)),
        call(name("builtins", "getattr"), shared_lists(30), plain("x")),
        call(name("collections", "defaultdict"), shared_lists(30)),
        call(name("torch._tensor", "_rebuild_from_type_v2"), shared_lists(30), NONE, plain(()), NONE),
        storage("FloatStorage", "0", shared_lists(30)),
    ],
    ids=["encode", "layout", "getattr", "defaultdict", "from_type", "numel"],
)
def test_a_message_does_not_walk_through_the_value_that_it_is_about(body: bytes) -> None:
    """It would take longer than anybody lives."""
    start = time.perf_counter()
    with pytest.raises(ptfile.PtfileError) as caught:
        load(body)
    assert len(str(caught.value)) < 1000
    assert time.perf_counter() - start < 10


def test_scales_are_a_flat_list() -> None:
    """A nested one that shares its parts would become an array of ten to the thirtieth."""
    scheme = name("torch", "per_channel_affine")
    parts = (
        plain(0),
        plain((1,)),
        plain((1,)),
        tuple_of(scheme, shared_lists(30), plain([0]), plain(0)),
        FALSE,
        plain({}),
    )
    with pytest.raises(ptfile.TensorError):
        load(call(name("torch._utils", "_rebuild_qtensor"), storage("QInt8Storage", "0", plain(1)), *parts), b"\x01")


def test_a_tensor_of_another_device_is_not_converted() -> None:
    """PyTorch saves it in its own dtype. To convert a huge view, or one tensor very often, would take any memory."""
    view = (plain(0), plain((1 << 33,)), plain((0,)), FALSE, call(name("collections", "OrderedDict")))
    tensor = call(name("torch._utils", "_rebuild_tensor_v2"), storage("ByteStorage", "0", plain(1)), *view)
    rebuild = name("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")
    with pytest.raises(ptfile.TensorError, match="by way of the CPU"):
        load(call(rebuild, tensor, name("torch", "float32"), plain("xla:0"), FALSE), b"a")


def test_a_flag_that_is_there_and_false_is_refused() -> None:
    """PyTorch goes by whether it is there, and writes none that is not set."""
    view = (plain(0), plain((1,)), plain((1,)), FALSE, call(name("collections", "OrderedDict")))
    rebuild, values = name("torch._utils", "_rebuild_tensor_v2"), storage("ComplexFloatStorage", "0", plain(1))
    content = np.array([1 + 2j], np.complex64).tobytes()
    assert load(call(rebuild, values, *view, plain({"conj": True})), content).tolist() == [1 - 2j]
    with pytest.raises(ptfile.TensorError, match="metadata"):
        load(call(rebuild, values, *view, plain({"conj": False})), content)


def test_a_tensor_as_the_kind_of_an_id_is_refused() -> None:
    """Comparing it with a text is numpy's affair, and numpy raises what it likes."""
    view = (plain(0), plain((2,)), plain((1,)), FALSE, call(name("collections", "OrderedDict")))
    tensor = call(name("torch._utils", "_rebuild_tensor_v2"), storage("ByteStorage", "0", plain(2)), *view)
    with pytest.raises(ptfile.FormatError):
        load(tuple_of(tensor, NONE, NONE, NONE, NONE) + b"Q", b"ab")


def test_a_long_chain_of_calls_is_read_and_printed() -> None:
    """Each calls what the one before has made; nothing goes down the chain."""
    record = load(name("a", "b") + b")R" * 5000, unknown="inert")
    assert len(repr(record)) < 200
    assert record.inert_class == "what a call has made"


def test_a_state_that_poses_as_a_dict_gives_no_attributes() -> None:
    """An inert record of a dict is no dict."""
    record = load(name("a", "b") + b")\x81" + name("builtins", "dict") + b")\x81b", unknown="inert")
    assert record.inert_attributes == {}
    with pytest.raises(AttributeError):
        record.anything
    with pytest.raises(ptfile.UnsupportedError):
        ptfile.state_dict(record)


def test_nothing_is_read_for_the_meta_device() -> None:
    """What is moved there has a shape and no elements, and is saved as such."""
    buffer = io.BytesIO()
    ptfile.save(ptfile.arange(3), buffer)
    buffer.seek(0)
    moved = ptfile.load(buffer, map_location="meta")
    with pytest.raises(ptfile.TensorError, match="meta"):
        moved.tolist()


# what is nested deep is destroyed level by level


DEQUE, DEFAULT = name("collections", "deque"), name("collections", "defaultdict")
OBJECTS = (
    name("numpy._core.multiarray", "_reconstruct") + keep(1000)
    + tuple_of(name("numpy", "ndarray"), plain((0,)), plain(b"b"))
    + keep(1001) + dtype("O8") + dtype_state("|", NONE, NONE, -1, -1, 0x3F) + keep(1002)
)  # fmt: skip
ARRAY_OF_THE_LAST = (
    kept(1000) + kept(1001) + b"R" + tuple_of(plain(1), b"K\x01\x85", kept(1002), FALSE, b"]" + kept(1003) + b"a")
    + b"b" + keep(1003)
)  # fmt: skip
DEQUE_OF_THE_LAST = kept(1000) + b"]" + kept(1001) + b"a\x85R" + keep(1001)
LEVELS = 30_000


@pytest.mark.parametrize(
    "body",
    [
        DEQUE + keep(1000) + (kept(1000) + b")R") * LEVELS + b"a" * (LEVELS - 1),
        DEFAULT + keep(1000) + (b"K\x01" + kept(1000) + b")R") * LEVELS + b"s" * (LEVELS - 1) + b"\x86",
        DEQUE + keep(1000) + b"N" + keep(1001) + DEQUE_OF_THE_LAST * LEVELS + b"N",
        DEQUE + keep(1000) + b"N" + keep(1001) + DEQUE_OF_THE_LAST * LEVELS,
        OBJECTS + b"N" + keep(1003) + ARRAY_OF_THE_LAST * LEVELS + b"N",
    ],
    ids=["a deque", "a defaultdict", "deques that nothing holds", "a pickle that breaks off", "arrays of objects"],
)
def test_what_python_destroys_recursively_may_not_be_nested_deep(body: bytes) -> None:
    """Freeing the outermost one overflows the stack, be it part of the value or of what an error leaves behind."""
    code = """
import ptfile, sys
try:
    ptfile.load(sys.stdin.buffer, unknown="inert")
except ptfile.PtfileError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], input=checkpoint(body), capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, b"refused")


def test_flat_deques_and_counters_of_counters_are_no_chain() -> None:
    """However many they are."""
    inner = (kept(1000) + b")R") * 5_000
    assert len(load(DEQUE + keep(1000) + kept(1000) + b")R(" + inner + b"e")) == 5_000


def test_a_time_without_a_unit_is_no_key() -> None:
    """numpy cannot hash it, and says so by a ValueError."""
    dtype = call(name("numpy", "dtype"), plain("m8"), FALSE, b"\x88")
    scalar = call(name("numpy._core.multiarray", "scalar"), dtype, plain(b"abcdefgh"))
    with pytest.raises(ptfile.FormatError, match="cannot be a key"):
        load(b"}" + scalar + b"Ns")


def test_keys_that_collide_are_refused() -> None:
    """Twenty thousand integers with the hash 0, each of which would be compared with all before it."""
    body = b"}(" + b"".join(plain(number * ((1 << 61) - 1)) + b"N" for number in range(1, 20_000)) + b"u"
    with pytest.raises(ptfile.LimitError) as caught:
        load(body)
    assert caught.value.limit == "collisions"


# a few bytes that ask for very much


HOOKS = name("collections", "OrderedDict") + b")R"


def rebuilt(kind: str, numel: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    arguments = (storage(kind, "0", plain(numel)), plain(0), plain(shape), plain(stride), FALSE, HOOKS)
    return call(name("torch._utils", "_rebuild_tensor_v2"), *arguments)


def again_and_again(function: bytes, arguments: bytes, times: int) -> bytes:
    """A list of what the same call gives."""
    return function + keep(2000) + arguments + keep(2001) + b"](" + (kept(2000) + kept(2001) + b"R") * times + b"e"


def structure(inner: bytes, names: tuple[str, ...]) -> bytes:
    """A dtype of 4 bytes, all of whose fields are the same one."""
    fields = b"}(" + b"".join(plain(part) + inner + b"K\0\x86" for part in names) + b"u"
    return dtype("V4") + dtype_state("|", tuple_of(*map(plain, names)), fields, 4, 1, 0x10)


def test_dtypes_inside_dtypes_may_not_double() -> None:
    """numpy walks through each field of each, as often as it is there."""
    body = dtype("V4") + keep(2000)
    for _ in range(60):
        body += structure(kept(2000), ("a", "b")) + keep(2000)
    start = time.perf_counter()
    with pytest.raises(ptfile.FormatError, match="fields inside its fields"):
        load(body + kept(2000))
    assert time.perf_counter() - start < 5


def test_a_dtype_of_many_fields_is_not_looked_through_for_each_scalar() -> None:
    """Each would cost as much as the dtype."""
    wide = structure(kept(1999), tuple(f"f{number}" for number in range(3_000)))
    with pytest.raises(ptfile.LimitError) as caught:
        load(dtype("i1") + keep(1999) + again_and_again(SCALAR, tuple_of(wide, plain(b"abcd")), 2_000))
    assert caught.value.limit == "shared"


def test_a_name_inside_names_has_an_end() -> None:
    """Each has the letters of all those before."""
    getattr_, count = name("builtins", "getattr"), 20_000
    body = getattr_ + keep(2000) + kept(2000) * count + name("m", "n") + plain("a" * 9) + keep(2001)
    with pytest.raises(ptfile.LimitError):
        load(body + (kept(2001) + b"\x86R") * count, unknown="inert")


def test_names_that_calls_make_are_counted() -> None:
    """Each is a class, which takes a kilobyte or two."""
    body = again_and_again(name("builtins", "getattr"), tuple_of(name("m", "n"), plain("a")), 50)
    with pytest.raises(ptfile.LimitError) as caught:
        load(body, unknown="inert", limits=ptfile.Limits(names=40))
    assert caught.value.limit == "names"


def test_an_array_is_not_copied_again_and_again() -> None:
    """A megabyte for every ten bytes."""
    numbers = array(dtype("u1"), (1 << 20,), bytes(1 << 20))
    arguments = tuple_of(numbers, name("torch", "uint8"), plain("cpu"), FALSE)
    with pytest.raises(ptfile.LimitError) as caught:
        load(again_and_again(name("torch._utils", "_rebuild_device_tensor_from_numpy"), arguments, 2_000))
    assert caught.value.limit == "shared"


def test_lists_inside_the_arguments_of_arguments_count() -> None:
    """A tensor with attributes is made of the arguments of a tensor without, which may be scales."""
    count = 10_000
    numbers = tuple_of(name("torch", "per_channel_affine"), plain([0.5] * count), plain([0] * count), plain(0))
    inner = tuple_of(
        storage("QInt8Storage", "0", plain(1)), plain(0), plain((count,)), plain((0,)), numbers, FALSE, HOOKS
    )
    arguments = tuple_of(name("torch._utils", "_rebuild_qtensor"), name("torch", "Tensor"), inner, b"}")
    with pytest.raises(ptfile.LimitError) as caught:
        load(again_and_again(name("torch._tensor", "_rebuild_from_type_v2"), arguments, 2_000), bytes(1))
    assert caught.value.limit == "shared"


@pytest.mark.parametrize(("numel", "stride", "times"), [(1, 0, 1), (1 << 17, 1, 1_000)], ids=["expanded", "repeated"])
def test_indices_are_looked_at_about_once(numel: int, stride: int, times: int) -> None:
    """Be it a huge view of one number or one view of many tensors."""
    count = numel if stride else 1 << 40
    indices = rebuilt("LongStorage", numel, (1, count), (0, stride))
    values = rebuilt("LongStorage", numel, (count,), (stride,))
    layout = call(name("torch.serialization", "_get_layout"), plain("torch.sparse_coo"))
    arguments = tuple_of(layout, tuple_of(indices, values, plain((5,))))
    with pytest.raises(ptfile.LimitError) as caught:
        load(again_and_again(name("torch._utils", "_rebuild_sparse_tensor"), arguments, times), bytes(8 * numel))
    assert caught.value.limit == "shared"


def test_a_sparse_tensor_of_a_size_that_no_integer_of_64_bits_holds_is_refused() -> None:
    """numpy would say so by an OverflowError."""
    indices, values = rebuilt("LongStorage", 1, (1, 1), (1, 1)), rebuilt("LongStorage", 1, (1,), (1,))
    layout = call(name("torch.serialization", "_get_layout"), plain("torch.sparse_coo"))
    for size in (1 << 63, 1 << 70):
        arguments = tuple_of(layout, tuple_of(indices, values, plain((size,))))
        with pytest.raises(ptfile.TensorError, match="not a tuple of counts"):
            load(name("torch._utils", "_rebuild_sparse_tensor") + arguments + b"R", bytes(8))

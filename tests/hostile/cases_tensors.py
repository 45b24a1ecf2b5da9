"""38 to 44, and 47: tensors and arrays that are not what they say."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

import ptfile
from tests.hostile.case import Case, Fails
from tests.hostile.pickle_assembler import (
    FALSE,
    NO_HOOKS,
    NONE,
    TRUE,
    call,
    dict_of,
    integer,
    list_of,
    name,
    plain,
    storage,
    tensor,
    text,
    tuple_of,
)
from tests.hostile.pickle_case import read, refused

EIGHT = bytes(range(8))
RECORD = "data/0"
HUGE = 1 << 62
TWO = storage("FloatStorage", "0", plain(2))
UTILS = "torch._utils"


def t(number: int, variant: str, body: bytes, says: str, *storages: bytes, at: int = -1) -> Case:
    return refused(number, variant, body, "T", says, at, *(storages or (EIGHT,)))


def view(sizes: Any, strides: Any, offset: Any = 0, of: bytes = TWO) -> bytes:
    return tensor(of, *(number if isinstance(number, bytes) else plain(number) for number in (sizes, strides, offset)))


# what a storage says

NUMEL = (
    *(
        refused(38, f"{numel} of 2", storage("FloatStorage", "0", plain(numel)), "T", "the record has 8 bytes", None,
                EIGHT, record=RECORD)
        for numel in (3, 1, 0, 1 << 40, HUGE)
    ),
    *(
        t(38, variant, storage("FloatStorage", "0", numel), "elements, which is not a count")
        for variant, numel in (
            ("negative", plain(-1)), ("a bool", TRUE), ("a float", plain(2.0)), ("text", text("2")), ("None", NONE),
            ("2**63", plain(1 << 63)), ("2**64 - 1", plain((1 << 64) - 1)), ("of a thousand digits", integer(1 << 3000)),
            ("a tuple", b")"),
        )
    ),
    refused(38, "bytes that are no whole elements", storage("DoubleStorage", "0", plain(1)), "T", "the record has 9 bytes",
            None, EIGHT + b"x", record=RECORD),
)  # fmt: skip

# what a view says

VIEWS = (
    *(
        t(39, variant, view(sizes, strides, offset), says)
        for variant, sizes, strides, offset, says in (
            ("an offset beyond", (2,), (1,), 1, "bytes into a storage of 8"),
            ("an offset far beyond", (1,), (1,), HUGE, "bytes into a storage of 8"),
            ("a negative offset", (1,), (1,), -1, "offset"),
            ("a size beyond", (3,), (1,), 0, "bytes into a storage of 8"),
            ("a huge size", (HUGE,), (1,), 0, "bytes into a storage of 8"),
            ("a size beyond 63 bits", (1 << 63,), (0,), 0, ""),
            ("a negative size", (-1,), (1,), 0, ""),
            ("a stride beyond", (2,), (2,), 0, "bytes into a storage of 8"),
            ("a negative stride", (2,), (-1,), 1, ""),
            ("sizes and strides that overflow to 0", (1 << 32, 1 << 32), (1 << 32, 1), 0, ""),
            ("strides that overflow", (2, 2), (1 << 63, 1 << 63), 0, ""),
            ("an offset that overflows", (1,), (1,), (1 << 64) - 1, ""),
            ("a size too many", (2, 1), (1,), 0, "one stride for each size"),
            ("a stride too many", (2,), (1, 1), 0, "one stride for each size"),
            ("no strides", (2,), (), 0, "one stride for each size"),
            ("an empty tensor of a negative size", (0, -1), (1, 1), 0, ""),
            ("more elements than 63 bits", (1 << 32, 1 << 32), (0, 0), 0, ""),
            ("an offset that is a bool", (1,), (1,), TRUE, "offset"),
            ("an offset that is a float", (1,), (1,), 0.0, "offset"),
            ("an offset that is None", (1,), (1,), NONE, "offset"),
            ("a size that is a bool", b"\x88\x85", (1,), 0, "the shape is not a tuple of integers"),
            ("a size that is a float", (2.0,), (1,), 0, "the shape is not a tuple of integers"),
            ("a stride that is text", (1,), ("1",), 0, "the stride is not a tuple of integers"),
        )
    ),
    t(39, "over bytes", call(name(UTILS, "_rebuild_tensor_v3"), storage("UntypedStorage", "0", plain(8)), plain(0),
                             plain((2,)), plain((1,)), FALSE, NO_HOOKS, name("torch", "uint64")), "bytes into a storage of 8"),
)  # fmt: skip


def refuses(kind: type[ptfile.PtfileError], act: Callable[[], object]) -> None:
    try:
        act()
    except kind:
        return
    raise AssertionError("it is not refused")


def is_expanded(value: ptfile.Tensor) -> None:
    assert (value.shape, value[1 << 39].item()) == ((1 << 40,), 7)
    assert not value.numpy().flags.writeable
    for copy in (value.clone, value.contiguous, value.tolist):
        refuses(ptfile.LimitError, copy)


def overlaps(value: ptfile.Tensor) -> None:
    assert value.tolist() == [[0, 1], [1, 2]]
    assert not value.numpy().flags.writeable
    refuses(ptfile.TensorError, lambda: value.__setitem__(..., 9))
    refuses(ptfile.TensorError, value.zero_)
    refuses(ptfile.TensorError, lambda: operator.iadd(value, 1))


def has_rank_64(value: ptfile.Tensor) -> None:
    assert (value.ndim, value.numel()) == (64, 2)


BYTES = storage("ByteStorage", "0", plain(8))
SHAPES = (
    read(40, "expanded", view((1 << 40,), (0,), 7, BYTES), is_expanded, EIGHT),
    read(40, "expanded twice", view((1 << 31, 1 << 31), (0, 0), 0, BYTES), None, EIGHT),
    read(41, "a window", view((2, 2), (1, 1), 0, BYTES), overlaps, EIGHT),
    read(41, "all of them one", view((2, 2), (0, 0), 0, BYTES), None, EIGHT),
    read(42, "64 dimensions", view((*(1,) * 63, 2), (1,) * 64), has_rank_64, EIGHT),
    t(42, "65 dimensions", view((1,) * 65, (1,) * 65), "at most 64 dimensions, not 65"),
    t(42, "a hundred thousand dimensions", view((1,) * 100_000, (1,) * 100_000), "at most 64 dimensions, not 100000"),
    t(42, "65 dimensions without elements", view((0,) * 65, (1,) * 65), "at most 64 dimensions, not 65"),
)

# what builders are given

V2 = (TWO, plain(0), plain((2,)), plain((1,)), FALSE, NO_HOOKS)
V3 = (storage("UntypedStorage", "0", plain(8)), *V2[1:], name("torch", "uint16"))
SIZES = plain((2,)), plain((1,)), FALSE


def changed(parts: tuple[bytes, ...], place: int, value: bytes) -> tuple[bytes, ...]:
    return (*parts[:place], value, *parts[place + 1 :])


BUILDERS = tuple(
    t(43, f"{function} {variant}", call(name(UTILS, function), *arguments), says)
    for function, variant, arguments, says in (
        ("_rebuild_tensor", "of nothing", (), "arguments, and the pickle gives"),
        ("_rebuild_tensor", "of too much", (*V2[:4], NONE), "arguments, and the pickle gives"),
        ("_rebuild_tensor_v2", "of nothing", (), "arguments, and the pickle gives"),
        ("_rebuild_tensor_v2", "of too little", V2[:5], "arguments, and the pickle gives"),
        ("_rebuild_tensor_v2", "of too much", (*V2, b"}", NONE), "arguments, and the pickle gives"),
        ("_rebuild_tensor_v2", "of no storage", changed(V2, 0, NONE), "the storage is a NoneType"),
        ("_rebuild_tensor_v2", "of bytes", changed(V2, 0, V3[0]), "the storage is a Storage"),
        ("_rebuild_tensor_v2", "of a tensor", changed(V2, 0, view((1,), (1,))), "the storage is a Tensor"),
        ("_rebuild_tensor_v2", "with a size", changed(V2, 2, plain(2)), "the shape is not a tuple of integers"),
        ("_rebuild_tensor_v2", "with a list", changed(V2, 2, plain([2])), "the shape is not a tuple of integers"),
        ("_rebuild_tensor_v2", "with a text", changed(V2, 3, text("1")), "the stride is not a tuple of integers"),
        ("_rebuild_tensor_v2", "requires_grad 1", changed(V2, 4, plain(1)), "requires_grad is a int"),
        ("_rebuild_tensor_v2", "hooks in a list", changed(V2, 5, b"]"), "the hooks of a tensor are no dict"),
        ("_rebuild_tensor_v2", "metadata in a list", (*V2, b"]"), "metadata that PyTorch does not write"),
        ("_rebuild_tensor_v2", "other metadata", (*V2, dict_of(text("x"), TRUE)), "metadata that PyTorch does not"),
        ("_rebuild_tensor_v2", "conj 1", (*V2, dict_of(text("conj"), plain(1))), "has metadata"),
        ("_rebuild_tensor_v3", "of floats", changed(V3, 0, TWO), "the storage is a TypedStorage"),
        ("_rebuild_tensor_v3", "no dtype", changed(V3, 6, text("uint16")), "the dtype is a str"),
        ("_rebuild_tensor_v3", "of too little", V3[:6], "arguments, and the pickle gives"),
        ("_rebuild_meta_tensor_no_storage", "no dtype", (NONE, *SIZES), "the dtype is a NoneType"),
        ("_rebuild_meta_tensor_no_storage", "negative", (name("torch", "int8"), plain((-1,)), *SIZES[1:]), ""),
        ("_rebuild_parameter", "of nothing", (), "arguments, and the pickle gives"),
        ("_rebuild_parameter", "hooks in a list", (view((2,), (1,)), FALSE, b"]"), "the hooks of a tensor"),
        ("_rebuild_parameter_with_state", "a state that is text",
         (view((2,), (1,)), FALSE, NO_HOOKS, text("a")), "the attributes of a tensor are not a dict"),
        ("_rebuild_device_tensor_from_numpy", "no array", (b"]", name("torch", "int8"), text("xla:0"), FALSE),
         "the data is a list"),
        ("_rebuild_device_tensor_from_cpu_tensor", "a device that is a number",
         (view((2,), (1,)), name("torch", "float32"), plain(1), FALSE), "the device is a int"),
        ("_rebuild_wrapper_subclass", "of nothing", (), "arguments, and the pickle gives"),
        ("_rebuild_nested_tensor", "of nothing", (), "arguments, and the pickle gives"),
        ("_rebuild_sparse_tensor", "of nothing", (), "arguments, and the pickle gives"),
        ("_rebuild_qtensor", "of nothing", (), "arguments, and the pickle gives"),
    )
)  # fmt: skip


def has_true_bools(value: ptfile.Tensor) -> None:
    array = value.numpy()
    assert array.dtype == np.dtype(bool)
    assert array.view(np.uint8).tolist() == [0, 1, 1, 1, 1, 1, 1, 1]
    assert value.tolist() == [False, *[True] * 7]


BOOLS = view((8,), (1,), 0, storage("BoolStorage", "0", plain(8)))
MULTIARRAY = "numpy._core.multiarray"
SCALAR = name(MULTIARRAY, "scalar")


def dtype(code: str) -> bytes:
    return call(name("numpy", "dtype"), text(code), FALSE, TRUE)


def array(element: bytes, shape: bytes, data: bytes) -> bytes:
    made = call(name(MULTIARRAY, "_reconstruct"), name("numpy", "ndarray"), plain((0,)), plain(b"b"))
    return made + tuple_of(plain(1), shape, element, FALSE, data) + b"b"


VALUES = (
    read(44, "bools of other bytes", BOOLS, has_true_bools, EIGHT),
    t(44, "numpy's bools of other bytes", array(dtype("b1"), plain((2,)), plain(b"\1\2")), "other than 0 and 1"),
    t(44, "a bool of another byte", call(SCALAR, dtype("b1"), plain(b"\2")), "other than 0 and 1"),
    t(44, "text of a character that is none", call(SCALAR, dtype("U1"), plain(b"\0\0\x11\0")), "that do not exist"),
    t(44, "text of no characters", array(dtype("U1"), plain((1,)), plain(b"\xff\xff\xff\xff")), "that do not exist"),
    t(44, "a dtype that is larger", call(name(UTILS, "_rebuild_tensor_v3"), *V3[:6], name("torch", "complex128")),
      "8 bytes are no whole number of elements"),
)  # fmt: skip

# numpy


def numpy_case(variant: str, body: bytes, letter: str, says: str, **more: Any) -> Case:
    return refused(47, variant, body, letter, says, **more)


def dtype_state(*parts: bytes) -> bytes:
    return tuple_of(*parts) + b"b"


STATE = (plain(3), text("|"), NONE, NONE, NONE, plain(8), plain(1), plain(0))
RECONSTRUCT, NDARRAY = name(MULTIARRAY, "_reconstruct"), name("numpy", "ndarray")
F4 = dtype("f4")
WRITES = "numpy dtype is not one that numpy writes"


def structured(names: tuple[str, ...], offset: int, size: int, element: bytes = F4) -> bytes:
    fields = dict_of(*(part for field in names for part in (text(field), tuple_of(element, plain(offset)))))
    state = (plain(3), text("|"), NONE, plain(names), fields, plain(size), plain(1), plain(16))
    return dtype("V8") + dtype_state(*state)


NUMPY = (
    *(
        numpy_case(f"dtype {code!r}", dtype(code), "U", "does not hold plain values")
        for code in ("O", "V", "f4,f4", "(2,)f4", "<f4", "x", "", "S-1", "f4\n", "c16 ", "S9999999999")
    ),
    numpy_case("a dtype of objects", dtype("O8"), "U", "does not hold plain values"),
    numpy_case("a dtype that is a number", call(name("numpy", "dtype"), plain(1), FALSE, TRUE), "T", "a name and two flags"),
    numpy_case("a dtype of too little", call(name("numpy", "dtype")), "T", "arguments, and the pickle gives 0"),
    *(
        numpy_case(f"a dtype's state {variant}", dtype("S8") + state, "T", says)
        for variant, state, says in (
            ("of too little", dtype_state(*STATE[:7]), WRITES), ("of too much", dtype_state(*STATE, NONE, NONE), WRITES),
            ("of nothing", b")b", WRITES), ("in a list", list_of(*STATE) + b"b", WRITES),
            ("of another version", dtype_state(plain(9), *STATE[1:]), WRITES),
            ("with a huge size", dtype_state(*changed(STATE, 5, plain(1 << 40))), "not those of its fields"),
            ("with a negative size", dtype_state(*changed(STATE, 5, plain(-8))), "not those of its fields"),
            ("of objects", dtype_state(*changed(STATE, 7, plain(0x3F))), "not those of its fields"),
            ("of another alignment", dtype_state(*changed(STATE, 6, plain(3))), "not those of its fields"),
            ("with a subarray", dtype_state(*changed(STATE, 2, tuple_of(F4, plain((9,))))), "a subarray"),
            ("with another order", dtype_state(*changed(STATE, 1, text("!"))), "a subarray"),
        )
    ),
    # It used to end the interpreter.
    numpy_case("a time without a unit", dtype("M8") + dtype_state(plain(3), text("<"), *(NONE,) * 3, *map(plain, (-1, -1, 0))), "T", "does not say its unit"),
    *(
        numpy_case(f"a structured dtype {variant}", body, "T", says)
        for variant, body, says in (
            ("with a field beyond", structured(("a",), 5, 8), "lies outside it"),
            ("with a field before", structured(("a",), -1, 8), "lies outside it"),
            ("with a huge field", structured(("a",), 0, 8, dtype("S999999999")), "lies outside it"),
            ("with a field that is none", structured(("a",), 0, 8, text("f4")), "is not a dtype of plain values"),
        )
    ),
    *(
        numpy_case(f"_reconstruct {variant}", call(RECONSTRUCT, *parts), "U", "in a way that numpy does not",
                   name="numpy.ndarray")
        for variant, parts in (
            ("of a huge shape", (NDARRAY, plain((1 << 40,)), plain(b"b"))),
            ("of objects", (NDARRAY, plain((0,)), text("O"))),
            ("of another class", (name("collections", "OrderedDict"), plain((0,)), plain(b"b"))),
            ("of doubles", (NDARRAY, plain((0,)), text("f8"))),
        )
    ),
    *(
        numpy_case(f"an array {variant}", array(element, shape, data), letter, says)
        for variant, element, shape, data, letter, says in (
            ("of too few bytes", F4, plain((3,)), plain(EIGHT), "T", "does not have 8 bytes"),
            ("of too many bytes", F4, plain((1,)), plain(EIGHT), "T", "does not have 8 bytes"),
            ("of a huge shape", F4, plain((1 << 40, 1 << 40)), plain(EIGHT), "T", "does not have 8 bytes"),
            ("of a shape that overflows", F4, plain((1 << 32, 1 << 31, 2)), plain(b""), "T", "does not have 0 bytes"),
            ("of a negative shape", F4, plain((-1, -2)), plain(EIGHT), "T", "not a tuple of counts"),
            ("of a shape that is a number", F4, plain(2), plain(EIGHT), "T", "not a tuple of counts"),
            ("of 65 dimensions", F4, plain((1,) * 65), plain(bytes(4)), "T", "does not have 4 bytes"),
            ("without a dtype", NONE, plain((2,)), plain(EIGHT), "T", "no dtype of plain values"),
        )
    ),
    numpy_case("an array of a list", array(F4, plain((2,)), list_of(plain(1), plain(2))), "U", "holds objects").except_for(
        "its dtype has no objects",
        **dict.fromkeys(("inert", "inspect"), Fails("U", "holds objects", "data.pkl", more={"name": "numpy.ndarray"})),
    ),
    numpy_case("an array without a state", array(F4, plain((2,)), plain(EIGHT))[:-1] + b"0" + b")b", "T", "a numpy array"),
    numpy_case("a scalar of too few bytes", call(SCALAR, dtype("f8"), plain(b"abc")), "T", "does not have 3 bytes"),
    numpy_case("a scalar of a value", call(SCALAR, F4, plain(1.5)), "U", "holds an object"),
    numpy_case("a buffer that does not fit", call(name("numpy._core.numeric", "_frombuffer"), plain(EIGHT), F4, plain((3,)),
               text("C")), "T", "does not have 8 bytes"),
    numpy_case("a buffer in another order", call(name("numpy._core.numeric", "_frombuffer"), plain(EIGHT), F4, plain((2,)),
               text("A")), "T", "is not built from bytes"),
)  # fmt: skip

CASES = (*NUMEL, *VIEWS, *SHAPES, *BUILDERS, *VALUES, *NUMPY)

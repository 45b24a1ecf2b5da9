"""45 and 46: quantized, nested, meta and sparse tensors, and wrappers."""

from __future__ import annotations

import struct

import numpy as np

import ptfile
from tests.hostile.case import Case, Fails
from tests.hostile.cases_tensors import EIGHT, HUGE, TWO, UTILS, changed, refuses, t
from tests.hostile.pickle_assembler import (
    FALSE,
    NO_HOOKS,
    NONE,
    TRUE,
    call,
    dict_of,
    list_of,
    name,
    plain,
    storage,
    tensor,
    text,
    tuple_of,
)
from tests.hostile.pickle_case import read, refused


def later(number: int, variant: str, body: bytes, says: str, *storages: bytes) -> Case:
    """What only the bytes of indices or sizes say, which belong to no one place in the file."""
    case = refused(number, variant, body, "T", says, None, *storages, record=None).unread()
    answer = Fails("T", says, file=False)
    return case.except_for("a tensor that is looked at after loading knows no file", lazy=answer)


def longs(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


def table(key: int, *shape: int, kind: str = "LongStorage") -> bytes:
    """A contiguous tensor over a storage of its own."""
    count = int(np.prod(shape))
    stride = tuple(int(np.prod(shape[dim + 1 :])) for dim in range(len(shape)))
    return tensor(storage(kind, str(key), plain(count)), plain(shape), plain(stride))


QUANTIZED = name(UTILS, "_rebuild_qtensor")
QINT8 = storage("QInt8Storage", "0", plain(8))
PER_TENSOR, PER_CHANNEL = name("torch", "per_tensor_affine"), name("torch", "per_channel_affine")
SCALES = table(1, 2, kind="DoubleStorage")
ZEROS = table(2, 2)


def quantized(parameters: bytes, of: bytes = QINT8, size: bytes | None = None) -> bytes:
    size = plain((2, 4)) if size is None else size
    return call(QUANTIZED, of, plain(0), size, plain((4, 1)), parameters, FALSE, NO_HOOKS)


QUANTIZERS = (
    *(
    t(45, f"quantized, {variant}", quantized(tuple_of(*parameters)), says, EIGHT, longs(1, 1), longs(0, 0))
    for variant, parameters, says in (
        ("no scheme", (), "quantized in a way that PyTorch does not write"),
        ("an unknown scheme", (text("affine"), plain(1.0), plain(0)), "quantized in a way that PyTorch does not write"),
        ("a scale that is text", (PER_TENSOR, text("1"), plain(0)), "the scale is a str"),
        ("a zero point that is a float", (PER_TENSOR, plain(1.0), plain(0.5)), "the zero point is a float"),
        ("no zero point", (PER_TENSOR, plain(1.0)), "quantized in a way that PyTorch does not write"),
        ("an axis beyond", (PER_CHANNEL, SCALES, ZEROS, plain(2)), "quantized along axis 2"),
        ("a negative axis", (PER_CHANNEL, SCALES, ZEROS, plain(-1)), "quantized along axis -1"),
        ("an axis that is a float", (PER_CHANNEL, SCALES, ZEROS, plain(0.0)), "the axis is a float"),
        ("scales for another axis", (PER_CHANNEL, SCALES, ZEROS, plain(1)), "4 channels have scales of shape (2,)"),
        ("scales that are numbers", (PER_CHANNEL, plain(1.0), ZEROS, plain(0)), "the scales is a float"),
        ("scales that are integers", (PER_CHANNEL, ZEROS, ZEROS, plain(0)), "are of ptfile.int64"),
        ("scales that are texts", (PER_CHANNEL, plain(["a", "b"]), plain([0, 0]), plain(0)), "are not numbers"),
        ("zero points of another shape", (PER_CHANNEL, SCALES, table(2, 2, 1), plain(0)), "2 channels have scales"),
    )
    ),
    t(45, "quantized, a view outside", quantized(tuple_of(PER_TENSOR, plain(1.0), plain(0)), size=plain((3, 4))),
      "bytes into a storage of 8"),
    t(45, "quantized, floats", quantized(tuple_of(PER_TENSOR, plain(1.0), plain(0)), of=TWO), "cannot be of"),
)  # fmt: skip

NESTED = name(UTILS, "_rebuild_nested_tensor")


def nested(variant: str, sizes: tuple[int, ...], strides: tuple[int, ...], offsets: tuple[int, ...]) -> Case:
    """Two components in a buffer of 8 floats."""
    body = call(NESTED, table(0, 8, kind="FloatStorage"), table(1, 2, 2), table(2, 2, 2), table(3, 2))
    storages = bytes(32), longs(*sizes), longs(*strides), longs(*offsets)
    return later(45, f"nested, {variant}", body, "", *storages)


NESTED_SHAPES = (
    nested("a component beyond", (2, 2, 2, 3), (2, 1, 3, 1), (0, 4)),
    nested("an offset beyond", (2, 2, 2, 2), (2, 1, 2, 1), (0, 5)),
    nested("a negative size", (2, 2, -2, 2), (2, 1, 2, 1), (0, 4)),
    nested("a negative offset", (2, 2, 2, 2), (2, 1, 2, 1), (0, -4)),
    nested("a size that overflows", (2, 2, HUGE, 4), (2, 1, 4, 1), (0, 4)),
    nested("a negative stride", (2, 2, 2, 2), (2, 1, -2, 1), (0, 4)),
    t(45, "nested, tables of floats", call(NESTED, table(0, 8, kind="FloatStorage"), table(1, 2, 2, kind="DoubleStorage"),
      table(2, 2, 2), table(3, 2)), "three tables of int64", bytes(32), longs(2, 2, 2, 2), longs(2, 1, 2, 1), longs(0, 4)),
    t(45, "nested, tables of other shapes", call(NESTED, table(0, 8, kind="FloatStorage"), table(1, 2, 2), table(2, 2, 1),
      table(3, 2)), "a nested tensor has", bytes(32), longs(2, 2, 2, 2), longs(2, 1), longs(0, 4)),
)  # fmt: skip

JAGGED = name("torch.nested._internal.nested_tensor", "_rebuild_njt")


def jagged(variant: str, offsets: tuple[int, ...], says: str = "", at: int | None = None, **parts: bytes) -> Case:
    """Two components in 4 floats."""
    made = {
        "values": table(0, 4, kind="FloatStorage"), "offsets": table(1, len(offsets)), "lengths": NONE,
        "_ragged_idx": plain(1), "_metadata_cache": b"}", "requires_grad": FALSE, **parts,
    }  # fmt: skip
    body = call(JAGGED, dict_of(*(part for key, value in made.items() for part in (text(key), value))))
    storages = bytes(16), longs(*offsets)
    if at is None:
        return later(45, f"jagged, {variant}", body, says, *storages)
    return t(45, f"jagged, {variant}", body, says, *storages, at=at)


JAGGED_SHAPES = (
    jagged("an offset beyond", (0, 2, 5)),
    jagged("offsets that go back", (0, 3, 2)),
    jagged("a negative offset", (-1, 2, 4)),
    jagged("offsets that overflow", (0, HUGE, HUGE * 2 - 1)),
    jagged("no offsets", (), "do not belong together", -1),
    jagged("a dimension beyond", (0, 2, 4), "a ragged dimension", -1, _ragged_idx=plain(2)),
    jagged("another part", (0, 2, 4), "other parts", -1, more=NONE),
    jagged("lengths of floats", (0, 2), "no 1-D tensor of integers", -1, lengths=table(0, 4, kind="FloatStorage")),
)

FLOAT32 = name("torch", "float32")
META = name(UTILS, "_rebuild_meta_tensor_no_storage")
WRAPPER = name(UTILS, "_rebuild_wrapper_subclass")
DEVICE = call(name("torch", "device"), text("cpu"))
STRIDED = call(name("torch.serialization", "_get_layout"), text("torch.strided"))


def is_huge_meta(value: ptfile.Tensor) -> None:
    assert (value.device, value.shape) == ("meta", (1 << 30, 1 << 30))
    refuses(ptfile.TensorError, value.tolist)


def wrapper(*changes: tuple[int, bytes]) -> bytes:
    parts: tuple[bytes, ...] = (
        name("torch", "Tensor"),
        FLOAT32,
        plain((2,)),
        plain((1,)),
        plain(0),
        STRIDED,
        DEVICE,
        FALSE,
    )
    for place, value in changes:
        parts = changed(parts, place, value)
    return call(WRAPPER, *parts)


OTHERS = (
    read(45, "meta of 2**60 elements", call(META, FLOAT32, plain((1 << 30, 1 << 30)), plain((1 << 30, 1)), FALSE),
         is_huge_meta),
    t(45, "meta of 2**63 elements", call(META, FLOAT32, plain((1 << 31, 1 << 32)), plain((0, 0)), FALSE), ""),
    t(45, "a wrapper of a dtype that is text", wrapper((1, text("float32"))), "the dtype is a str"),
    t(45, "a wrapper of a size", wrapper((2, plain(2))), "the shape is not a tuple of integers"),
    t(45, "a wrapper of a negative size", wrapper((2, plain((-2,)))), ""),
    t(45, "a wrapper that requires_grad 1", wrapper((7, plain(1))), "requires_grad is a int"),
    read(45, "a wrapper of 2**60 elements", wrapper((2, plain((1 << 60,))))),
)  # fmt: skip

SPARSE = name(UTILS, "_rebuild_sparse_tensor")


def layout(kind: str) -> bytes:
    return call(name("torch.serialization", "_get_layout"), text(f"torch.{kind}"))


def coo(variant: str, indices: tuple[int, ...], shape: tuple[int, ...] = (3, 3), says: str = "lies outside") -> Case:
    """A COO tensor of two elements, whose indices lie."""
    parts = tuple_of(table(0, len(indices) // 2, 2), table(1, 2, kind="FloatStorage"), plain(shape))
    body = call(SPARSE, layout("sparse_coo"), parts)
    return later(46, f"coo, {variant}", body, says, longs(*indices), bytes(8))


def compressed(variant: str, pointers: tuple[int, ...], indices: tuple[int, ...], kind: str = "sparse_csr") -> Case:
    """A 3x3 tensor whose pointers or indices lie."""
    count = len(indices)
    parts = table(0, len(pointers)), table(1, count), table(2, count, kind="FloatStorage"), plain((3, 3))
    body = call(SPARSE, layout(kind), tuple_of(*parts))
    storages = longs(*pointers), longs(*indices), bytes(4 * count)
    says = "do not run from 0" if variant.startswith("pointers") else "lies outside"
    return later(46, f"{kind[-3:]}, {variant}", body, says, *storages)


def small_coo(*parts: bytes, kind: str = "sparse_coo") -> bytes:
    return call(SPARSE, layout(kind), tuple_of(*parts))


INDICES, ELEMENTS, SQUARE = table(0, 2, 2), table(1, 2, kind="FloatStorage"), plain((3, 3))
TWO_ELEMENTS = longs(0, 1, 0, 1), bytes(8)


def is_sparse(value: ptfile.SparseTensor) -> None:
    assert (value.shape, value.values().tolist()) == ((1 << 40, 1 << 20), [0, 0])
    for copy in (value.to_dense, value.tolist, value.numpy):
        refuses(ptfile.LimitError, copy)


SPARSE_TENSORS = (
    read(46, "coo, of 2**60 elements", small_coo(INDICES, ELEMENTS, plain((1 << 40, 1 << 20))), is_sparse, *TWO_ELEMENTS),
    coo("an index beyond", (0, 3, 0, 1)),
    coo("a negative index", (0, -1, 0, 1)),
    coo("an index of 2**62", (0, HUGE, 0, 1)),
    coo("an index into nothing", (0, 0, 0, 0), (0, 3)),
    *(
        compressed(variant, pointers, indices, kind)
        for kind in ("sparse_csr", "sparse_csc")
        for variant, pointers, indices in (
            ("pointers that go back", (0, 2, 1, 2), (0, 1)),
            ("pointers that do not begin at 0", (1, 1, 2, 2), (0, 1)),
            ("pointers that end too soon", (0, 1, 1, 1), (0, 1)),
            ("pointers that end too late", (0, 1, 2, 3), (0, 1)),
            ("pointers with a line too long", (0, 4, 4, 4), (0, 1, 2, 0)),
            ("pointers of 2**62", (0, HUGE, HUGE, 2), (0, 1)),
            ("an index beyond", (0, 1, 2, 2), (0, 3)),
            ("a negative index", (0, 1, 2, 2), (0, -1)),
        )
    ),
    t(46, "coo, no values", small_coo(INDICES, table(1, 1, kind="FloatStorage"), SQUARE), "do not fit",
      TWO_ELEMENTS[0], bytes(4)),
    t(46, "coo, more dimensions than its shape", small_coo(INDICES, ELEMENTS, plain((3,))), "do not fit", *TWO_ELEMENTS),
    t(46, "coo, a negative shape", small_coo(INDICES, ELEMENTS, plain((3, -3))), "not a tuple of counts", *TWO_ELEMENTS),
    t(46, "coo, a shape of bools", small_coo(INDICES, ELEMENTS, tuple_of(TRUE, TRUE)), "the shape", *TWO_ELEMENTS),
    t(46, "coo, indices of floats", small_coo(table(0, 2, 2, kind="DoubleStorage"), ELEMENTS, SQUARE), "not integers",
      *TWO_ELEMENTS),
    t(46, "coo, a flag that is a number", small_coo(INDICES, ELEMENTS, SQUARE, plain(1)), "is_coalesced is a int",
      *TWO_ELEMENTS),
    t(46, "coo, parts in a list", call(SPARSE, layout("sparse_coo"), list_of(INDICES, ELEMENTS, SQUARE)), "is a list",
      *TWO_ELEMENTS),
    t(46, "coo, too few parts", small_coo(INDICES, ELEMENTS), "is not made of 2 parts", *TWO_ELEMENTS),
    t(46, "strided", small_coo(INDICES, ELEMENTS, SQUARE, kind="strided"), "is not made of 3 parts", *TWO_ELEMENTS),
    t(46, "csr, pointers for another shape", small_coo(table(0, 2), table(1, 1), table(2, 1, kind="FloatStorage"), SQUARE,
      kind="sparse_csr"), "the pointers", longs(0, 1), longs(0), bytes(4)),
    t(46, "bsr, blocks that do not divide it", small_coo(table(0, 2), table(1, 1), table(2, 1, 2, 2, kind="FloatStorage"),
      SQUARE, kind="sparse_bsr"), "do not divide", longs(0, 1), longs(0), bytes(16)),
)  # fmt: skip

CASES = (*QUANTIZERS, *NESTED_SHAPES, *JAGGED_SHAPES, *OTHERS, *SPARSE_TENSORS)

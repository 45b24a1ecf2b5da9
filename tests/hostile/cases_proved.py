"""Cases of the list once more, in the phrases of which pickles are proved harmless: the proof itself is attacked.

Each is a pickle as a pickler writes it but for one thing. Those of `PROVED` get past the proof, to CPython's own
unpickler; those of `LEFT` do not, and must not.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from typing import Any

import ptfile
from tests.hostile.case import Case, Fails, Loads, PyTorchs
from tests.hostile.cases_tensors import EIGHT, has_rank_64, overlaps, refuses
from tests.hostile.pickle_assembler import FALSE, NONE, PROTO, STOP, TRUE, archive, integer, name
from tests.machine.test_keys import meeting

_PUT = b"q\xff"
"""Memo entries are numbered when the pickle is complete."""
ORDERED = name("collections", "OrderedDict")
HOOKS = ORDERED + b")R"
QUANTIZED = name("torch._utils", "_rebuild_qtensor")
V2, PARAMETER = name("torch._utils", "_rebuild_tensor_v2"), name("torch._utils", "_rebuild_parameter")


def pickled(body: bytes) -> bytes:
    """The whole pickle, with memo entries from 0 on."""
    first, *rest = body.split(_PUT)
    numbered = (_put(number) + part for number, part in enumerate(rest))
    return PROTO + first + b"".join(numbered) + STOP


def _put(number: int) -> bytes:
    return struct.pack("<cB", b"q", number) if number < 256 else struct.pack("<cI", b"r", number)


def text(value: str | bytes) -> bytes:
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(raw)) + raw + _PUT


def number(value: int) -> bytes:
    if 0 <= value < 1 << 16:
        return struct.pack("<cB", b"K", value) if value < 256 else struct.pack("<cH", b"M", value)
    return struct.pack("<ci", b"J", value) if -(1 << 31) <= value < 1 << 31 else integer(value)


def sizes(*values: int) -> bytes:
    marks = {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}
    body = b"".join(map(number, values))
    return body + marks[len(values)] if len(values) in marks else b"(" + body + b"t"


def tensor(
    shape: tuple[int, ...] = (2,),
    stride: tuple[int, ...] = (1,),
    offset: int = 0,
    numel: int = 2,
    key: str = "0",
    kind: bytes = name("torch", "FloatStorage"),
    location: str = "cpu",
    grad: bytes = FALSE,
    function: bytes = V2,
) -> bytes:
    """One phrase."""
    identity = text("storage") + kind + text(key) + text(location) + number(numel)
    arguments = number(offset) + sizes(*shape) + sizes(*stride) + grad + HOOKS
    return function + b"((" + identity + b"tQ" + arguments + b"tR"


def loads(case_number: int, variant: str, body: bytes, check: Callable[[Any], None] | None = None) -> Case:
    return Case(case_number, f"phrases: {variant}", lambda: archive(pickled(body), EIGHT), Loads(check))


def fails(case_number: int, variant: str, body: bytes, letters: str, says: str, **more: Any) -> Case:
    record = more.pop("record", "data.pkl")
    outcome = Fails(letters, says, record, more.pop("offset", None), more)
    return Case(case_number, f"phrases: {variant}", lambda: archive(pickled(body), EIGHT), outcome)


def in_any_case(case: Case) -> Case:
    return case.except_for("it is wrong in any case", inert=case.expected, inspect=case.expected)


def is_equal(expected: Any) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        assert repr(value) == repr(expected), value

    return check


def has_keys(expected: list[Any]) -> Callable[[Any], None]:
    def check(value: dict[Any, Any]) -> None:
        assert list(value) == expected

    return check


def is_expanded(value: ptfile.Tensor) -> None:
    assert value.numel() == ((1 << 31) - 1) ** 2
    for copy in (value.clone, value.contiguous, value.tolist):
        refuses(ptfile.LimitError, copy)


def has_device(value: ptfile.Tensor) -> None:
    assert value.device == "../x"


def has_metadata(value: Any) -> None:
    assert (list(value), vars(value)) == ([], {"_metadata": 2})


def is_one(value: Any) -> None:
    """One tuple, wherever it is."""
    assert len({id(part) for part in value}) == 1


SMALL_COLLIDING = meeting(11)[:1_000]
COLLIDING = meeting(12)
LONG_TUPLE = b"(" + b"K\1" * 16 + b"t" + _PUT
METADATA = b"}" + text("_metadata") + b"K\1sb}h\0K\2sb"
BYTES, BOOLS = name("torch", "ByteStorage"), name("torch", "BoolStorage")
A_DICT = is_equal({"a": 1})

PROVED = (
    loads(5, "a name out of the memo", b"](" + V2 + _PUT + tensor(function=b"h\0")[2:] + b"e"),
    loads(15, "_metadata twice", HOOKS + METADATA, has_metadata),
    loads(21, "tuples on a hundred levels", NONE + b"\x85" * 100),
    loads(22, "numbers that meet", b"}(" + b"".join(number(key) + NONE for key in SMALL_COLLIDING) + b"u",
          has_keys(SMALL_COLLIDING)),
    loads(22, "numbers that meet, and texts", b"}(" + b"".join(number(key) + NONE for key in SMALL_COLLIDING)
          + b"".join(text(f"{place}") + NONE for place in range(300)) + b"u"),
    loads(22, "one number a thousand times", b"}(" + b"K\1N" * 999 + b"K\1K\1u", is_equal({1: 1})),
    loads(22, "a bool, an int and a float that are equal", b"}(K\1NG?\xf0" + bytes(6) + b"N\x88K\1u", is_equal({1: 1})),
    loads(22, "empty tuples as keys", b"}(" + b")N" * 100 + b"u", is_equal({(): None})),
    loads(23, "one tuple a thousand times", b"](" + LONG_TUPLE + b"h\0" * 1_000 + b"e", is_one),
    loads(24, "marks on ninety levels", b"(" * 90 + b"t" * 90),
    loads(26, "a memo entry as far as the pickle is long", b"]r\x20\1\0\0(" + NONE * 300 + b"e"),
    loads(31, "surrogates", text("\ud800")),
    loads(37, "a device that is none", tensor(location="../x"), has_device).except_for(
        "PyTorch knows no such device", torch=PyTorchs()
    ),
    loads(40, "expanded", tensor(((1 << 31) - 1,) * 2, (0, 0)), is_expanded),
    loads(41, "a window", tensor((2, 2), (1, 1), 0, 8, kind=BYTES), overlaps),
    loads(42, "64 dimensions", tensor((*(1,) * 63, 2), (1,) * 64), has_rank_64),
    loads(44, "bools that are neither 0 nor 1", tensor((8,), (1,), 0, 8, kind=BOOLS), is_equal(
        ptfile.tensor([False] + [True] * 7))),
    fails(21, "tuples on two thousand levels", NONE + b"\x85" * 2_000, "L", "nested too deep", limit="depth"),
    fails(24, "tuples on a hundred thousand levels", NONE + b"\x85" * 100_000, "L", "nested too deep", limit="depth"),
    *(
        fails(31, f"text {raw!r}", b"](" + text(raw) + b"e", "F", "text that is not UTF-8", offset=4)
        for raw in (b"\xff", b"\xc3", b"\xc0\x80", b"\xf5\x80\x80\x80")
    ),
    *(fails(34, repr(key), tensor(key=key), "F", "cannot be the key") for key in ("../x", "a\0b", "", "/etc/passwd", "é")),
    fails(35, "a key without a record", tensor(key="9"), "F", "no record data/9", record="data/9"),
    fails(36, "two dtypes", tensor() + tensor(kind=name("torch", "IntStorage")) + b"\x86", "T", "with two types or sizes"),
    fails(36, "two counts", tensor() + tensor(numel=1) + b"\x86", "T", "with two types or sizes"),
    *(
        fails(38, f"{numel} of 2", tensor(numel=numel), "T", "the record has 8 bytes", record="data/0")
        for numel in (0, 1, 3, (1 << 31) - 1, 1 << 40, (1 << 55) - 1)
    ),
    fails(38, "a negative count", tensor(numel=-1), "T", "which is not a count"),
    *(
        fails(39, variant, tensor(shape, stride, offset), "T", says)
        for variant, shape, stride, offset, says in (
            ("an offset beyond", (2,), (1,), 1, "bytes into a storage of 8"),
            ("an offset far beyond", (1,), (1,), (1 << 55) - 1, "bytes into a storage of 8"),
            ("a negative offset", (1,), (1,), -1, "offset"),
            ("a size beyond", (3,), (1,), 0, "bytes into a storage of 8"),
            ("a negative size", (-1,), (1,), 0, "sizes"),
            ("a negative stride", (2,), (-1,), 1, "strides"),
            ("sizes and strides that overflow", ((1 << 31) - 1,) * 3, ((1 << 31) - 1,) * 3, 0, ""),
            ("more sizes than strides", (1, 2), (1,), 0, "one stride for each size"),
        )
    ),
    fails(43, "integers with a gradient", tensor(kind=name("torch", "IntStorage"), grad=TRUE), "T", "require gradients"),
    fails(43, "a parameter with a gradient that is a number", PARAMETER + tensor() + b"K\1" + HOOKS + b"\x87R", "T",
          "requires_grad is a int"),
    fails(45, "a parameter of a parameter", PARAMETER + PARAMETER + tensor() + TRUE + HOOKS + b"\x87R" + TRUE + HOOKS
          + b"\x87R", "N", "not a plain strided tensor").except_for(
        "a record of what is not supported", inert=Loads(), inspect=Loads()),
)  # fmt: skip
"""Of these the proof knows nothing that would be wrong: what is, the builders find."""

NEST = NONE + b"\x85" * 10_000
HALVES = b")" + b"".join(_PUT + struct.pack("<cB", b"h", level) + b"\x86" for level in range(30))
SYSTEM = name("posix", "system")
LEFT = (
    fails(1, "another function for a tensor", tensor(function=SYSTEM), "U", "the pickle names posix.system"),
    fails(3, "INST in a dict", b"}(" + text("a") + b"(iposix\nsystem\nu", "U", "the pickle names posix.system"),
    fails(5, "a name that a text stands for", b"](" + text("a") + tensor(function=b"h\0") + b"e", "F", "a str"),
    fails(11, "a function as a value", b"](" + SYSTEM + b"e", "U", "the pickle names posix.system"),
    fails(13, "a second pickle", tensor() + STOP + tensor(), "F", "bytes follow the end"),
    in_any_case(fails(15, "another attribute", HOOKS + b"}" + text("__class__") + b"K\1sb", "U", "the attribute __class__")),
    fails(19, "items for a tensor", tensor() + b"(" + text("a") + b"K\1u", "F", "stores items in a Tensor"),
    fails(19, "items for a list", b"](" + text("a") + b"K\1u", "F", "stores items in a list"),
    fails(19, "values for a dict", b"}(" + text("a") + b"e", "F", "appends to a dict"),
    fails(19, "a state for a dict", b"}}" + text("_metadata") + b"K\1sb", "F", "gives a state to a dict"),
    fails(19, "a list as a state", HOOKS + b"]b", "F", "the state of a OrderedDict"),
    fails(20, "a list as a key", b"}(]K\1u", "F", "a list cannot be a key"),
    fails(20, "a dict as a key", b"}}K\1s", "F", "a dict cannot be a key"),
    fails(21, "a deep tuple as a key", b"}(" + NEST + b"K\1u", "F", "too large or too deep"),
    fails(21, "a tuple that shares its halves as a key", b"}" + HALVES + b"K\1s", "F", "too large or too deep"),
    fails(22, "more numbers that meet", b"}(" + b"".join(number(key) + NONE for key in COLLIDING) + b"u", "L",
          "chosen so that they meet"),
    fails(22, "the same in batches", b"}" + b"".join(
        b"(" + b"".join(number(key) + NONE for key in COLLIDING[start : start + 100]) + b"u"
        for start in range(0, len(COLLIDING), 100)), "L", "chosen so that they meet"),
    fails(22, "numbers with one hash", b"}(" + b"".join(integer(place * ((1 << 61) - 1)) + NONE for place in range(1, 99))
          + b"u", "L", "chosen so that they meet"),
    fails(24, "marks on two thousand levels", b"(" * 2_000 + b"t" * 2_000, "L", "nested too deep"),
    loads(25, "a list in itself", b"]q\0h\0a"),
    loads(26, "a memo entry far away", b"]r\xff\xff\xff\xff(K\1e", is_equal([1])),
    loads(26, "one memo entry twice", b"X\1\0\0\0aq\0X\1\0\0\0bq\0h\0\x87", is_equal(("a", "b", "b"))),
    fails(26, "a memo entry before it is made", b"]h\1a", "F", "which it never made"),
    fails(27, "a text beyond the file", b"](X\xff\0\0\0abc", "F", "before the end of an opcode's argument"),
    loads(29, "an integer of 255 bytes", b"\x8a\xff" + bytes(254) + b"\1"),
    fails(32, "a key without a value", b"}(" + text("a") + b"u", "F", "a key without a value"),
    fails(32, "an open mark", b"](K\1", "F", "open mark"),
    fails(32, "two values", tensor() + tensor(), "F", "2 values on its stack"),
    fails(32, "no mark", b"}K\1K\2u", "F", "a mark that it never made"),
    fails(33, "another class for the storage", tensor(kind=ORDERED), "F", "does not name a storage class"),
    fails(33, "an unknown class for the storage", tensor(kind=name("torch", "NoStorage")), "U", "torch.NoStorage").except_for(
        "an id with a record in it is none", **dict.fromkeys(("inert", "inspect"), Fails("F", "does not name a storage class"))),
    fails(42, "65 dimensions", tensor((1,) * 65, (1,) * 65), "T", "at most 64 dimensions"),
    fails(43, "a text for the sizes", tensor().replace(sizes(2), text("2"), 1), "T", "is not a tuple of integers"),
    fails(43, "hooks that are a list", tensor().replace(HOOKS, b"]"), "T", "the hooks of a tensor"),
    fails(45, "quantized", tensor((8,), numel=8, kind=name("torch", "QInt8Storage"), function=QUANTIZED), "T",
          "takes 7 arguments"),
)  # fmt: skip
"""The machine in plain Python runs these, and says what is wrong."""

CASES = tuple(itertools.chain(PROVED, LEFT))

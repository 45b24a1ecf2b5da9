"""26 to 37: opcodes and arguments that no pickler writes, and persistent ids."""

from __future__ import annotations

from typing import Any

import ptfile
from tests.hostile.case import Case, Fails, PyTorchs
from tests.hostile.cases_pickles import FRACTION, HALVES, ONE, ORDERED, f
from tests.hostile.pickle_assembler import (
    NONE,
    archive,
    call,
    integer,
    name,
    plain,
    storage,
    tensor,
    text,
    tuple_of,
)
from tests.hostile.pickle_case import read, refused


def is_list(value: Any) -> None:
    assert value == []


MEMO = (
    read(26, "LONG_BINPUT", b"]r\xff\xff\xff\xff0j\xff\xff\xff\xff", is_list),
    read(26, "PUT", b"]p999999999999999999\n0g999999999999999999\n", is_list),
    read(26, "far apart", b"]" + b"".join(b"r" + (number << 22).to_bytes(4, "little") for number in range(1000)), is_list),
    f(26, "PUT of a negative number", b"]p-1\n", "the negative number -1", b"p"),
    f(26, "PUT of text", b"]pabc\n", "not a decimal number", b"p"),
    f(26, "PUT of a million digits", b"]p" + b"9" * 1_000_000 + b"\n", "1000000 digits", b"p"),
    f(26, "GET of nothing", b"g999999999999999999\n", "memo entry 999999999999999999", 0 - 20),
    f(26, "LONG_BINGET of nothing", b"j\xff\xff\xff\xff", "memo entry 4294967295", -5),
)  # fmt: skip

CUT = "before the end of an opcode's argument"
MOST8 = (1 << 64) - 1
LENGTHS = (
    *(
        f(27, f"{variant} {length}", code + length.to_bytes(width, "little"), says, code)
        for variant, code, width, lengths, says in (
            ("BINUNICODE8", b"\x8d", 8, (1 << 62, MOST8, 2), CUT),
            ("BINBYTES8", b"\x8e", 8, (1 << 62, MOST8, 2), CUT),
            ("BYTEARRAY8", b"\x96", 8, (1 << 62, MOST8, 1 << 40), CUT),
            ("BINUNICODE", b"X", 4, (0xFFFFFFFF,), CUT),
            ("BINBYTES", b"B", 4, (0xFFFFFFFF,), CUT),
            ("BINSTRING", b"T", 4, (0x7FFFFFFF,), CUT),
            ("LONG4", b"\x8b", 4, (0x7FFFFFFF,), CUT),
            ("LONG1", b"\x8a", 1, (255,), CUT),
            ("FRAME", b"\x95", 8, (1 << 62, MOST8, 2), "behind the pickle"),
        )
        for length in lengths
    ),
    f(28, "LONG4", b"\x8b\xff\xff\xff\xff", "the negative length -1", 0 - 5),
    f(28, "BINSTRING", b"T\xff\xff\xff\xff", "the negative length -1", 0 - 5),
    f(28, "LONG4 lowest", b"\x8b\0\0\0\x80", "the negative length -2147483648", 0 - 5),
    f(28, "BINSTRING lowest", b"T\0\0\0\x80", "the negative length -2147483648", 0 - 5),
)

NINES = b"9" * 1_000_000
NUMBERS = (
    *(
        f(29, f"{variant} {line!r}", code + line + b"\n", says, code + line)
        for variant, code, says, lines in (
            ("INT", b"I", "not a decimal number", (b"", b"abc", b"1.5", b"0x10", b"1L", b"-", b"\xd9\xa3")),
            ("LONG", b"L", "not a decimal number", (b"", b"L", b"12xL", b"1LL")),
            ("FLOAT", b"F", "not a number", (b"", b"1.x", b"1,5", b"0x1p3")),
        )
        for line in lines
    ),
    *(
        refused(29, f"{variant} of a million digits", code + NINES + b"\n", "FL", "digits", code + b"99")
        for variant, code in (("INT", b"I"), ("LONG", b"L"), ("FLOAT", b"F"))
    ),
    f(29, "a Fraction of a million digits", call(FRACTION, text("9" * 1_000_000)), "1000000 digits"),
    f(29, "a timedelta out of range", call(name("datetime", "timedelta"), integer(1 << 99), ONE, ONE), "cannot be"),
)  # fmt: skip

FRAMES = (
    f(30, "inside text", b"\x95\x03" + bytes(7) + text("abc"), "a frame ends inside the opcode BINUNICODE", b"X"),
    f(30, "inside a name", b"\x95\x04" + bytes(7) + ORDERED, "a frame ends inside the opcode GLOBAL", b"c"),
    f(30, "inside an integer", b"\x95\x02" + bytes(7) + b"NJ\1\0\0\0", "inside the opcode BININT", b"J"),
    f(30, "in a frame", b"\x95\x0c" + bytes(7) + b"\x95\x02" + bytes(7) + b"N0", "begins inside another", 0 - 11),
)


def is_surrogate(value: Any) -> None:
    assert value == "\ud800"


UTF8 = (
    *(
        f(31, f"{variant} {data!r}", code + bytes([len(data)]) + rest + data, "text that is not UTF-8", code)
        for variant, code, rest in (("SHORT_BINUNICODE", b"\x8c", b""), ("BINUNICODE", b"X", bytes(3)))
        for data in (b"\xff", b"\xc3", b"\xe2\x82", b"\xc0\x80", b"\xf5\x80\x80\x80")
    ),
    f(31, "a name", b"c\xff\nx\n", "text that is not UTF-8", b"c"),
    f(31, "INST", b"(ix\n\xff\n", "text that is not UTF-8", b"i"),
    f(31, "PERSID", b"P\xff\n", "text that is not UTF-8", b"P"),
    f(31, "an escape", b"V\\ud8\n", "text with a wrong escape", b"V"),
    f(31, "an escape of a Python 2 string", b"S'\\xq'\n", "a wrong escape", b"S"),
    f(31, "a Python 2 string without quotes", b"Sabc\n", "not a quoted string", b"S"),
    f(31, "a Python 2 string", b"U\x01\xe9", "Give the encoding that it has", b"U"),
    read(31, "a surrogate", b"X\x03\0\0\0\xed\xa0\x80", is_surrogate),
    read(31, "a surrogate in an escape", b"V\\ud800\n", is_surrogate),
)

EMPTY, NO_MARK = "from its stack, where there is none", "a mark that it never made"


def raw(variant: str, data: bytes, says: str, offset: int) -> Case:
    """All bytes of a pickle."""
    return Case(32, variant, lambda: archive(data), Fails("F", says, "data.pkl", offset))


STRUCTURE = (
    *(
        f(32, f"nothing for {variant}", body, EMPTY, 0 - len(body) + at)
        for variant, body, at in (
            ("TUPLE1", b"\x85", 0), ("TUPLE2", b"\x86", 0), ("TUPLE3", b"\x87", 0), ("APPEND", b"a", 0),
            ("SETITEM", b"s", 0), ("REDUCE", b"R", 0), ("BUILD", b"b", 0), ("NEWOBJ", b"\x81", 0),
            ("NEWOBJ_EX", b"\x92", 0), ("STACK_GLOBAL", b"\x93", 0), ("BINPERSID", b"Q", 0),
            ("the second of TUPLE2", b"N\x86", 1), ("the third of TUPLE3", b"NN\x87", 2), ("the value of SETITEM", b"Ns", 1),
            ("the target of REDUCE", b")R", 1), ("the target of NEWOBJ", b")\x81", 1),
            ("the module of STACK_GLOBAL", b"N\x93", 1),
        )
    ),
    *(
        f(32, f"no top for {variant}", body, "looks at the top of its stack", 0 - len(body) + at)
        for variant, body, at in (
            ("DUP", b"2", 0), ("PUT", b"p0\n", 0), ("BINPUT", b"q\0", 0), ("LONG_BINPUT", b"r\0\0\0\0", 0),
            ("MEMOIZE", b"\x94", 0), ("APPEND", b"Na", 1), ("SETITEM", b"NNs", 2), ("BUILD", b"Nb", 1),
            ("APPENDS", b"(Ne", 2), ("SETITEMS", b"(NNu", 3), ("ADDITEMS", b"(N\x90", 2),
        )
    ),
    *(
        f(32, f"no mark for {variant}", b"N" + body, NO_MARK, 0 - len(body))
        for variant, body in (
            ("TUPLE", b"t"), ("LIST", b"l"), ("DICT", b"d"), ("APPENDS", b"e"), ("SETITEMS", b"u"), ("ADDITEMS", b"\x90"),
            ("FROZENSET", b"\x91"), ("OBJ", b"o"), ("POP_MARK", b"1"), ("INST", b"icollections\nOrderedDict\n"),
        )
    ),
    f(32, "a POP too many", b"0", NO_MARK),
    f(32, "a mark between", b"N(\x85", EMPTY),
    f(32, "OBJ of nothing", b"(o", "an object of no class"),
    f(32, "an open mark", b"N(", "ends with an open mark", 0),
    f(32, "an open mark below", b"(N", "ends with an open mark", 0),
    f(32, "two values", b"NN", "ends with 2 values", 0),
    f(32, "no value", b"", "ends with 0 values", 0),
    f(32, "SETITEMS of three", b"}(NNNu", "a key without a value"),
    f(32, "DICT of one", b"(Nd", "a key without a value"),
    f(32, "no such opcode", b"\xff", "0xff is no pickle opcode"),
    f(32, "a NUL", b"\0", "0x00 is no pickle opcode"),
    f(32, "an entry of the memo that is not there", b"h\x07", "memo entry 7", -2),
    refused(32, "a buffer outside", b"\x97", "N", "keeps buffers outside itself"),
    f(32, "a name of numbers", ONE + ONE + b"\x93", "a name that is not text"),
    f(32, "arguments in a list", ORDERED + b"]R", "a list where a tuple of arguments belongs").except_for(
        "to PyTorch a list of arguments is as good", torch=PyTorchs()
    ),
    f(32, "arguments of NEWOBJ in a list", ORDERED + b"]\x81", "a list where a tuple of arguments belongs"),
    f(32, "keywords in a list", ORDERED + b")]\x92", "keyword arguments that are no dict"),
    f(32, "a call of a number", ONE + b")R", "calls a int, which is not a name"),
    f(32, "a call of a tuple that is hard to hash", HALVES + b")R", "calls a tuple, which is not a name"),
    f(32, "an instance of a number", ONE + b")\x81", "calls a int, which is not a name"),
    raw("empty", b"", "the pickle has no end (STOP)", 0),
    raw("no STOP", b"\x80\x02N", "the pickle has no end (STOP)", 3),
    raw("only PROTO", b"\x80", "ends 1 bytes before the end", 0),
    raw("a name that has no end", b"\x80\x02cposix\nsystem", "ends inside a line of text", 2),
    raw("PROTO 255", b"\x80\xffN.", "not a pickle of protocol 0 to 5", 0),
    raw("PROTO 6", b"\x80\x06N.", "not a pickle of protocol 0 to 5", 0),
    raw("PROTO in the middle", b"\x80\x02N\x80\x02.", "at this place", 3),
    raw("PROTO twice", b"\x80\x02\x80\x02N.", "at this place", 2),
    raw("zeros", bytes(1000), "0x00 is no pickle opcode", 0),
)  # fmt: skip

# persistent ids


def storage_id(*parts: bytes) -> bytes:
    return tuple_of(*parts) + b"Q"


KIND, CLASS, KEY, CPU = text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu")
FORM = "a persistent id is not of the form"
IDS = (
    f(33, "a number", ONE + b"Q", FORM),
    f(33, "text", text("0") + b"Q", FORM),
    f(33, "None", b"NQ", FORM),
    f(33, "PERSID", b"P0\n", FORM, b"P"),
    f(33, "an empty tuple", b")Q", FORM),
    f(33, "too short", storage_id(KIND, CLASS, KEY, CPU), FORM),
    f(33, "too long", storage_id(KIND, CLASS, KEY, CPU, ONE, NONE), FORM),
    f(33, "not storage", storage_id(text("module"), CLASS, KEY, CPU, ONE), FORM),
    f(33, "a class that is text", storage_id(KIND, text("FloatStorage"), KEY, CPU, ONE), "name a storage class"),
    f(33, "a class that is a dtype", storage_id(KIND, name("torch", "float32"), KEY, CPU, ONE), "a storage class"),
    f(33, "a class of another thing", storage_id(KIND, name("torch", "device"), KEY, CPU, ONE), "a storage class"),
    f(33, "a class that is Python's", storage_id(KIND, ORDERED, KEY, CPU, ONE), "name a storage class"),
    *(
        refused(33, f"a class that is {wanted}", storage_id(KIND, name(module, kind), KEY, CPU, ONE), "U",
                f"names {wanted}, which is no storage", name=wanted).except_for(
            "the name itself is known", **dict.fromkeys(("inert", "inspect"), Fails("U", "no storage", "data.pkl"))
        )
        for module, kind, wanted in (
            ("torch", "Tensor", "torch.Tensor"), ("torch._C", "Generator", "torch._C.Generator"),
            ("torch._utils", "_rebuild_tensor_v2", "torch._utils._rebuild_tensor_v2"),
        )
    ),
    refused(33, "a class outside the table", storage_id(KIND, name("posix", "system"), KEY, CPU, ONE), "U",
            "names posix.system", b"c", name="posix.system").except_for(
        "an inert name is no storage class",
        **dict.fromkeys(("inert", "inspect"), Fails("F", "name a storage class", "data.pkl"))
    ),
    f(33, "a location that is no text", storage_id(KIND, CLASS, KEY, ONE, ONE), "a location that is no text"),
    *(
        f(34, repr(key)[:12], storage_id(KIND, CLASS, text(key), CPU, ONE), "cannot be the key of a storage")
        for key in ("../x", "0\0", "/etc/passwd", "", "a" * 65, "é", "0\n", "a/b", "..", " 0", "\ud800")
    ),
    *(
        f(34, variant, storage_id(KIND, CLASS, key, CPU, ONE), "cannot be the key of a storage")
        for variant, key in (("a number", plain(0)), ("None", NONE), ("bytes", b"C\x010"), ("a tuple", b")"))
    ),
    *(
        refused(35, key, storage_id(KIND, CLASS, text(key), CPU, ONE), "F", f"no record data/{key}", None,
                record=f"data/{key}")
        for key in ("0", "7", "_", "a" * 64)
    ),
    *(
        refused(36, variant, tuple_of(storage("FloatStorage", "0", ONE), other), "T", "with two types or sizes", -2,
                bytes(4))
        for variant, other in (
            ("two dtypes", storage("IntStorage", "0", ONE)),
            ("a dtype and bytes", storage_id(KIND, name("torch.storage", "UntypedStorage"), KEY, CPU, plain(4))),
            ("two counts", storage("FloatStorage", "0", plain(2))),
            ("a count of 0", storage("FloatStorage", "0", plain(0))),
        )
    ),
)  # fmt: skip


def odd_location(location: str) -> Case:
    def check(value: ptfile.Tensor) -> None:
        assert (value.device, value.tolist()) == (location, [1.0])

    of = storage_id(KIND, CLASS, KEY, text(location), ONE)
    body = tensor(of, plain((1,)), plain((1,)))
    case = read(37, repr(location)[:20], body, check, b"\0\0\x80\x3f")
    return case.except_for("PyTorch knows no such device", torch=PyTorchs())


LOCATIONS = tuple(
    odd_location(location)
    for location in ("", "cuda:99", "no device", "🦆", "cpu\n", "../x", "c" * 1_000_000, "\ud800")
)

CASES = (*MEMO, *LENGTHS, *NUMBERS, *FRAMES, *UTF8, *STRUCTURE, *IDS, *LOCATIONS)

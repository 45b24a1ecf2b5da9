"""1 to 18: pickles that want something called."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import Any

from tests.hostile.case import Case, Fails, Loads
from tests.hostile.pickle_assembler import (
    NO_HOOKS,
    NONE,
    call,
    dict_of,
    integer,
    list_of,
    name,
    plain,
    storage,
    text,
    tuple_of,
)
from tests.hostile.pickle_case import read, refused

SYSTEM = name("posix", "system")
RUN = call(SYSTEM, text("echo"))
SAYS = "the pickle names posix.system"
ORDERED = name("collections", "OrderedDict")
PARAMETER = storage("FloatStorage", "0", plain(1)), plain(0), plain((1,)), plain((1,)), b"\x89", NO_HOOKS


def system(number: int, variant: str, body: bytes, at: bytes | int) -> Case:
    """A pickle that wants `posix.system`."""
    return refused(number, variant, body, "U", SAYS, at, name="posix.system")


def names(number: int, *wanted: str) -> tuple[Case, ...]:
    """A GLOBAL of each name (module and name with a space between), called."""
    cases = []
    for both in wanted:
        module, _, function = both.partition(" ")
        body = call(name(module, function), text("x"))
        dotted = f"{module}.{function}"
        cases.append(refused(number, dotted, body, "U", f"the pickle names {dotted}", 0 - len(body), name=dotted))
    return tuple(cases)


def called(number: int, variant: str, body: bytes, says: str, wanted: str, *storages: bytes, at: int = -1) -> Case:
    """Calls that a builder refuses, or that have none."""
    return refused(number, variant, body, "U", says, at, *storages, name=wanted)


# how a name can be said

GLOBAL = (
    *names(
        1,
        "posix system", "nt system", "os popen", "subprocess Popen", "builtins eval", "builtins exec",
        "builtins __import__", "builtins open", "builtins map", "builtins type", "builtins object", "importlib import_module",
        "runpy _run_code", "pickle loads", "operator attrgetter", "functools partial", "types CodeType", "ctypes CDLL",
        "numpy load", "numpy zeros", "torch load", "torch.hub load", "torch.storage _load_from_bytes",
        "torch._utils _import_dotted_name", "torch.jit._pickle build_intlist", "ptfile load", "ptfile.torch load",
        "collections namedtuple", "collections UserDict", " eval", "builtins ", "é system",
    ),
)  # fmt: skip

STACK_GLOBAL = (
    system(2, "short", b"\x8c\x05posix\x8c\x06system\x93" + tuple_of(text("echo")) + b"R", b"\x93"),
    system(2, "long", text("posix") + text("system") + b"\x93" + tuple_of(text("echo")) + b"R", b"\x93"),
    system(2, "as an argument", ORDERED + tuple_of(text("posix") + text("system") + b"\x93") + b"R", b"\x93"),
)

INST_OBJ = (
    system(3, "called", b"(" + text("echo") + b"iposix\nsystem\n", b"iposix"),
    system(3, "without arguments", b"(iposix\nsystem\n", b"iposix"),
    system(3, "dropped", b"(" + text("echo") + b"iposix\nsystem\n0N", b"iposix"),
    system(4, "called", b"(" + SYSTEM + text("echo") + b"o", b"cposix"),
    system(4, "dropped", b"(" + SYSTEM + text("echo") + b"o0N", b"cposix"),
    system(4, "dropped to the mark", b"((" + SYSTEM + text("echo") + b"o1N", b"cposix"),
    called(4, "no call", b"(" + name("torch", "Tensor") + b"o", "calls torch.Tensor", "torch.Tensor").except_for(
        "PyTorch makes an empty tensor", torch=Loads()
    ),
)

MEMO = (
    system(
        5,
        "both",
        text("posix") + b"q\x00" + text("system") + b"q\x01" + b"00h\x00h\x01\x93)R",
        b"\x93",
    ),
    system(5, "the module", text("posix") + b"\x940h\x00" + text("system") + b"\x93)R", b"\x93"),
    system(5, "the name", text("system") + b"r\xff\xff\xff\xff0" + text("posix") + b"j\xff\xff\xff\xff\x93)R", b"\x93"),
    system(5, "a text twice", text("system") + text("posix") + b"p9\n00g9\n" + text("system") + b"\x93)R", b"\x93"),
    system(5, "a GLOBAL kept and called later", SYSTEM + b"q\x000h\x00)R", b"cposix"),
)

STRINGS = (
    system(6, "STRING", b"S'posix'\nS'system'\n\x93)R", b"\x93"),
    system(6, "BINSTRING", b"T\x05\0\0\0posixT\x06\0\0\0system\x93)R", b"\x93"),
    system(6, "SHORT_BINSTRING", b"U\x05posixU\x06system\x93)R", b"\x93"),
    system(6, "UNICODE", b"Vposix\nVs\\u0079stem\n\x93)R", b"\x93"),
)

DOTTED = names(
    7,
    "collections OrderedDict.fromkeys",
    "collections OrderedDict.__init__.__globals__",
    "collections abc.sys.modules",
    "torch os.system",
    "torch._utils torch.hub.load",
    "torch._utils torch.load",
    "builtins set.__class__",
    "numpy dtype.type",
    "datetime sys.modules",
)

# Python 3 calls them eval, loads, getoutput, reduce, map, _reconstructor.
PYTHON2 = (
    *names(
        8,
        "__builtin__ eval",
        "__builtin__ apply",
        "__builtin__ file",
        "cPickle loads",
        "commands getoutput",
        "__builtin__ reduce",
        "itertools imap",
        "copy_reg _reconstructor",
        "os system",
    ),
    read(8, "a set", call(name("__builtin__", "set"), list_of(plain(1))), lambda value: equals(value, {1})),
)

EXTENSIONS = tuple(
    called(9, variant, body, "uses extension code", f"copyreg extension {code}", at=at).except_for(
        "no name is known that a record could have", inert=Fails("U", says), inspect=Fails("U", says)
    )
    for variant, body, code, at, says in (
        ("EXT1", b"\x82\x01", 1, -2, "extension code 1"),
        ("EXT2", b"\x83\x01\x01", 257, -3, "extension code 257"),
        ("EXT4", b"\x84\x01\0\0\x01", 16777217, -5, "extension code 16777217"),
        ("EXT4 negative", b"\x84\xff\xff\xff\xff", -1, -5, "extension code -1"),
        ("EXT1 zero, called", b"\x82\x00)R", 0, -4, "extension code 0"),
    )
)

NEW = (
    system(10, "a name outside the table", SYSTEM + b")}\x92", b"cposix"),
    called(10, "a tensor", name("torch", "Tensor") + tuple_of(integer(1 << 40)) + b"}\x92", "an instance", "torch.Tensor"),
    called(
        10,
        "a known class with keywords",
        name("argparse", "Namespace") + b")" + dict_of(text("a"), plain(1)) + b"\x92",
        "an instance of argparse.Namespace",
        "argparse.Namespace",
    ),
    called(10, "a dict", name("builtins", "dict") + b")}\x92", "an instance of builtins.dict", "builtins.dict"),
    called(10, "NEWOBJ of an array", name("numpy", "ndarray") + plain((9,)) + b"\x81", "numpy.ndarray", "numpy.ndarray"),
)  # fmt: skip

UNUSED = (
    system(11, "dropped", SYSTEM + b"0N", b"cposix"),
    system(11, "in a list", list_of(SYSTEM), b"cposix"),
    system(11, "by STACK_GLOBAL", text("posix") + text("system") + b"\x930N", b"\x93"),
    system(11, "behind a value", plain(1) + b"0" + SYSTEM, b"cposix"),
)

GARBAGE = Fails("F", "is no pickle opcode", "data.pkl", 2 + len(RUN))
CUT = Fails("F", "ends 3 bytes before the end of", "data.pkl", 2 + len(RUN))
FIRST_FAULT = "inert ways go on to the garbage"
THEN = (
    system(12, "no opcode", RUN + b"\xff", b"cposix").except_for(FIRST_FAULT, inert=GARBAGE, inspect=GARBAGE),
    # STOP follows, the one byte of the four that is there.
    system(12, "cut off", RUN + b"X", b"cposix").except_for(FIRST_FAULT, inert=CUT, inspect=CUT),
    system(12, "bytes after STOP", RUN + b".garbage", b"cposix").except_for(
        FIRST_FAULT,
        **dict.fromkeys(("inert", "inspect"), Fails("F", "bytes follow the end", "data.pkl", 3 + len(RUN))),
    ),
)

STOPPED = tuple(
    refused(13, variant, plain(1) + b"." + more, "F", f"{len(more) + 1} bytes follow the end", -len(more))
    for variant, more in (("a byte", b"\0"), ("a second pickle", b"\x80\x02" + RUN), ("a pickle's end", b"."))
)

FROM_TYPE = name("torch._tensor", "_rebuild_from_type_v2")
TENSOR = name("torch", "Tensor")
BUILDERS = tuple(
    called(14, variant, call(FROM_TYPE, builder, TENSOR, plain(()), b"}"), says, wanted)
    for variant, builder, says, wanted in (
        ("a name", name("builtins", "getattr"), "built by builtins.getattr", "builtins.getattr"),
        ("itself", FROM_TYPE, "built by torch._tensor", "torch._tensor._rebuild_from_type_v2"),
        ("a class", ORDERED, "which is no builder of tensors", "a type"),
        ("text", text("eval"), "built by 'eval'", "'eval'"),
        ("a storage", name("torch", "FloatStorage"), "built by torch.FloatStorage", "torch.FloatStorage"),
        ("nothing", NONE, "built by None", "None"),
    )
)

# what calls are given


def equals(value: Any, expected: Any) -> None:
    assert value == expected, value


def hides(number: int, variant: str, body: bytes, says: str, wanted: str) -> Case:
    """A state that would change what an object does. There is nothing unknown in it that could be a record."""
    case = called(number, variant, body, says, wanted)
    return case.except_for("it is wrong in any case", inert=case.expected, inspect=case.expected)


def stays(value: Any) -> None:
    assert type(value) is OrderedDict
    assert (list(value.items()), vars(value)) == ([], {"_metadata": 1, "version": 2})


ARGUMENTS = tuple_of(storage("FloatStorage", "0", plain(1)), plain(0), plain((1,)), plain((1,)), b"\x89", NO_HOOKS)
STATE = (
    hides(15, "dunder", NO_HOOKS + plain({"__class__": 1}) + b"b", "the attribute __class__", "__class__"),
    hides(15, "a method", NO_HOOKS + plain({"items": 1}) + b"b", "the attribute items", "items"),
    hides(15, "a key that is no text", NO_HOOKS + plain({7: 1}) + b"b", "has an attribute called 7", "7"),
    hides(15, "a tuple as key", NO_HOOKS + plain({("a",): 1}) + b"b", "an attribute called a tuple", "a tuple"),
    read(15, "kept as attributes", NO_HOOKS + plain({"_metadata": 1, "version": 2}) + b"b", stays),
    *(
        called(
            15,
            f"{key!r} of a tensor",
            call(FROM_TYPE, name("torch._utils", "_rebuild_tensor_v2"), TENSOR, ARGUMENTS, state),
            says,
            wanted,
            b"abcd",
        )
        for key, state, says, wanted in (
            ("__class__", plain({"__class__": 1}), "the attribute __class__", "__class__"),
            (7, plain({7: 1}), "has an attribute called 7", "7"),
            ("slots", plain((None, {"__dict__": {}})), "the attribute __dict__", "__dict__"),
        )
    ),
    hides(
        15,
        "dunder of a namespace",
        name("argparse", "Namespace") + b")\x81" + plain({"__init__": 1}) + b"b",
        "the attribute __init__",
        "__init__",
    ),
    hides(
        15,
        "dunder of a SimpleNamespace",
        call(name("types", "SimpleNamespace")) + plain({"__dict__": 1}) + b"b",
        "the attribute __dict__",
        "__dict__",
    ),
)

HUGE = integer(1 << 40)
ALLOCATE = tuple(
    called(16, f"{module}.{function}", call(name(module, function), *arguments), says, wanted)
    for module, function, arguments, says, wanted in (
        ("torch.storage", "UntypedStorage", (HUGE,), "calls torch.storage.UntypedStorage", "torch.storage.UntypedStorage"),
        ("torch", "UntypedStorage", (HUGE,), "calls torch.UntypedStorage", "torch.UntypedStorage"),
        ("torch", "FloatStorage", (HUGE,), "calls torch.FloatStorage", "torch.FloatStorage"),
        ("torch", "Tensor", (HUGE,), "calls torch.Tensor", "torch.Tensor"),
        ("torch.nn.parameter", "Parameter", (HUGE,), "calls torch.nn.parameter.Parameter", "torch.nn.parameter.Parameter"),
        ("builtins", "bytearray", (HUGE,), "calls builtins.bytearray", "builtins.bytearray"),
        ("builtins", "bytes", (HUGE,), "calls builtins.bytes", "builtins.bytes"),
        ("builtins", "list", (call(name("builtins", "range"), plain(0), HUGE, plain(1)),), "calls builtins.list",
         "builtins.list"),
        ("numpy", "ndarray", (tuple_of(HUGE),), "calls numpy.ndarray", "numpy.ndarray"),
    )
)  # fmt: skip

ENCODE = name("_codecs", "encode")
NOT_LATIN1 = tuple(
    called(17, variant, call(ENCODE, *arguments), "the pickle calls _codecs.encode", "_codecs.encode")
    for variant, arguments in (
        ("rot13", (text("x"), text("rot13"))),
        ("utf-8", (text("x"), text("utf-8"))),
        ("another spelling", (text("x"), text("latin-1"))),
        ("bytes", (call(ENCODE, text("x"), text("latin1")), text("latin1"))),
        ("compression", (text("x"), text("zlib_codec"))),
        ("one argument", (text("x"),)),
        ("an error handler", (text("x"), text("latin1"), text("ignore"))),
        ("no latin1", (text("€"), text("latin1"))),
        ("nothing", ()),
    )
)

COUNTER = name("collections", "Counter")
COUNTS = "a Counter"
COUNTERS = (
    refused(18, "by a call", call(COUNTER, plain({"a": 1.5})), "F", COUNTS),
    refused(18, "a bool", call(COUNTER, plain({"a": True})), "F", COUNTS),
    refused(18, "no dict", call(COUNTER, plain(["a", "a"])), "F", COUNTS),
    refused(18, "an item", call(COUNTER) + text("a") + NONE + b"s", "F", COUNTS),
    refused(18, "items", call(COUNTER) + b"(" + text("a") + plain(1) + text("b") + plain([]) + b"u", "F", COUNTS),
)

CASES = (
    *GLOBAL, *STACK_GLOBAL, *INST_OBJ, *MEMO, *STRINGS, *DOTTED, *PYTHON2, *EXTENSIONS, *NEW, *UNUSED, *THEN, *STOPPED,
    *BUILDERS, *STATE, *ALLOCATE, *NOT_LATIN1, *COUNTERS,
)  # fmt: skip

assert pickle.STOP == b"."  # what `checkpoint` puts behind a body

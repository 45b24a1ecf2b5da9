"""19 to 25: pickles that build what cannot be, and pickles that build too much."""

from __future__ import annotations

from typing import Any

from tests.hostile.case import Case, Fails, Loads, PyTorchs
from tests.hostile.pickle_assembler import (
    NONE,
    call,
    checkpoint,
    dict_of,
    doubling,
    integer,
    list_of,
    name,
    plain,
    storage,
    tensor,
    text,
)
from tests.hostile.pickle_case import read, refused

ORDERED, COUNTER, DEFAULT, DEQUE = (
    name("collections", kind) for kind in ("OrderedDict", "Counter", "defaultdict", "deque")
)
ONE = plain(1)
SET = b"\x8f"
FLOAT = tensor(storage("FloatStorage", "0", ONE), plain((1,)), plain((1,)))
UNKNOWN = name("a", "b")
"""A name that only inert ways read."""


def f(number: int, variant: str, body: bytes, says: str, at: bytes | int | None = -1, *storages: bytes) -> Case:
    return refused(number, variant, body, "F", says, at, *storages)


DEPTH_LIMIT = {"limit": "depth"}


def deep(number: int, variant: str, body: bytes, offset: int | None = None) -> Case:
    """Nesting that is a limit error, wherever that is seen."""
    return Case(number, variant, lambda: checkpoint(body), Fails("L", "deep", "data.pkl", offset, DEPTH_LIMIT))


def unknown(number: int, variant: str, body: bytes, inert: Loads | Fails) -> Case:
    """A pickle with an unknown name, which only some ways go beyond."""
    case = refused(number, variant, body, "U", "the pickle names a.b", UNKNOWN, name="a.b")
    return case.except_for("the others stop at the name", inert=inert, inspect=inert)


# opcodes on what they do not go with

TYPES = (
    f(19, "SETITEM on a list", b"]" + ONE + ONE + b"s", "stores items in a list"),
    f(19, "SETITEM on None", NONE + ONE + ONE + b"s", "stores items in a NoneType"),
    f(19, "SETITEM on a tensor", FLOAT + ONE + ONE + b"s", "stores items in a Tensor", -1, bytes(4)),
    f(19, "SETITEM on a name", ORDERED + ONE + ONE + b"s", "stores items in a type"),
    f(19, "SETITEMS on an int", ONE + b"(" + ONE + ONE + b"u", "stores items in a int"),
    f(19, "SETITEMS on a deque", call(DEQUE) + b"(" + ONE + ONE + b"u", "stores items in a deque"),
    f(19, "APPEND on a dict", b"}" + ONE + b"a", "appends to a dict"),
    f(19, "APPEND on a set", SET + ONE + b"a", "appends to a set"),
    f(19, "APPENDS on a tuple", b")(" + ONE + b"e", "appends to a tuple"),
    f(19, "APPENDS on text", text("a") + b"(" + text("b") + b"e", "appends to a str"),
    f(19, "APPENDS on bytes", b"\x96" + bytes(8) + b"(" + ONE + b"e", "appends to a bytearray"),
    f(19, "APPENDS on an array", call(name("array", "array"), text("i"), b"]") + b"(" + ONE + b"e", "to a array"),
    f(19, "ADDITEMS on a list", b"](" + ONE + b"\x90", "adds elements to a list"),
    f(19, "ADDITEMS on a dict", b"}(" + ONE + b"\x90", "adds elements to a dict"),
    f(19, "ADDITEMS on a frozenset", b"(\x91(" + ONE + b"\x90", "adds elements to a frozenset"),
    f(19, "BUILD on a list", b"]" + b"}b", "gives a state to a list"),
    f(19, "BUILD on an int", ONE + b"}b", "gives a state to a int"),
    f(19, "BUILD on a dict", b"}}b", "gives a state to a dict"),
    f(19, "BUILD on a Counter", call(COUNTER) + b"}b", "gives a state to a Counter"),
    f(19, "BUILD on a name", ORDERED + b"}b", "gives a state to a type"),
    f(19, "BUILD on a tensor", FLOAT + b"}b", "gives a state to a Tensor", -1, bytes(4)),
    f(19, "BUILD on a storage", storage("FloatStorage", "0", ONE) + b"}b", "a state to a TypedStorage", -1, bytes(4)),
    f(19, "BUILD with a list", call(ORDERED) + b"]b", "the state of a OrderedDict"),
    f(19, "BUILD with text", name("argparse", "Namespace") + b")\x81" + text("a") + b"b", "the state of a Namespace"),
    f(19, "BUILD of a UUID", name("uuid", "UUID") + b")\x81" + dict_of(text("int"), integer(1 << 128)) + b"b", "a UUID"),
    f(19, "BUILD of a generator", call(name("torch._C", "Generator"), call(name("torch", "device"), text("cpu")))
      + plain((1, 2, 3)) + b"b", "the state of a torch.Generator"),
)  # fmt: skip

LISTS = "cannot be a key"
READS_KEYS = "where a file is only looked into, tensors may be keys"
KEYS = (
    f(20, "a list", b"}" + b"]" + ONE + b"s", f"a list {LISTS}"),
    f(20, "a dict, by DICT", b"(}" + ONE + b"d", f"a dict {LISTS}"),
    f(20, "a set in a set", SET + b"(" + SET + b"\x90", f"a set {LISTS}"),
    f(20, "a list in a tuple", b"}" + plain(([],)) + ONE + b"s", f"a list {LISTS}"),
    f(20, "a list in a frozenset", b"(]\x91", f"a list {LISTS}"),
    f(20, "a bytearray", b"}\x96" + bytes(8) + ONE + b"s", f"a bytearray {LISTS}"),
    f(20, "an OrderedDict", b"}" + call(ORDERED) + ONE + b"s", f"a OrderedDict {LISTS}"),
    f(20, "an array", b"}" + call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), plain((0,)),
      plain(b"b")) + ONE + b"s", f"a ndarray {LISTS}"),
    f(20, "a list of an OrderedDict", call(ORDERED, list_of(list_of(b"]", ONE))), f"a list {LISTS}"),
    f(20, "a list of a set", call(name("builtins", "set"), list_of(b"]")), f"a list {LISTS}"),
    *(
        f(20, variant, body, f"a Tensor {LISTS}", -1, bytes(4)).except_for(READS_KEYS, inert=Loads(), inspect=Loads())
        for variant, body in (
            ("a tensor", b"}" + FLOAT + ONE + b"s"),
            ("a tensor in a tuple", b"}" + FLOAT + b"\x85" + ONE + b"s"),
            ("a tensor in a set", SET + b"(" + FLOAT + b"\x90"),
        )
    ),
)  # fmt: skip

NEST = b")" + b"\x85" * 10_000
HALVES = b")" + b"2\x86" * 30
FROZEN = doubling(30, b"\x85\x91")
SLOW_KEYS = (
    *(
        f(21, f"{variant} {place}", before + key + after, "a key of a dict is too large or too deep")
        for variant, key in (("deep", NEST), ("shared", HALVES))
        for place, before, after in (
            ("in a dict", b"}", ONE + b"s"),
            ("of a dict", b"(", ONE + b"d"),
            ("in a set", SET + b"(", b"\x90"),
            ("in a frozenset", b"(", b"\x91"),
            ("in an OrderedDict", call(ORDERED), ONE + b"s"),
            ("of an OrderedDict", ORDERED + b"(((", ONE + b"lltR"),
            ("in a Counter", call(COUNTER), ONE + b"s"),
            ("in a defaultdict", call(DEFAULT), ONE + b"s"),
            ("of a set", name("builtins", "set") + b"((", b"ltR"),
        )
    ),
    f(21, "shared wide tuples", b"}" + doubling(4, b"2" * 50 + b"t") + ONE + b"s", "too large or too deep"),
    Case(21, "shared frozensets", lambda: checkpoint(FROZEN), Fails("F", "too large or too deep", "data.pkl")),
    *(
        f(21, f"state that is a {variant} key", call(ORDERED) + b"}" + key + ONE + b"sb", "too large or too deep", -2)
        for variant, key in (("deep", NEST), ("shared", HALVES))
    ),
)

MODULUS = (1 << 61) - 1
"""sys.hash_info.modulus: multiples of it all have the hash 0."""
COLLIDING = [integer(number * MODULUS) for number in range(1, 10_001)]
PAIRS = b"".join(key + NONE for key in COLLIDING)
SINGLES = b"".join(COLLIDING)
COUNTS = b"".join(key + ONE for key in COLLIDING)
FRACTION = name("fractions", "Fraction")


def collides(variant: str, body: bytes) -> Case:
    return Case(22, variant, lambda: checkpoint(body), Fails("L", "", "data.pkl"))


COLLISIONS = (
    collides("in a dict", b"}(" + PAIRS + b"u"),
    collides("of a dict", b"(" + PAIRS + b"d"),
    collides("one by one", b"}" + b"".join(key + b"Ns" for key in COLLIDING)),
    collides("in a set", SET + b"(" + SINGLES + b"\x90"),
    collides("in a frozenset", b"(" + SINGLES + b"\x91"),
    collides("of a set", call(name("builtins", "set"), list_of(SINGLES))),
    collides("in an OrderedDict", call(ORDERED) + b"(" + PAIRS + b"u"),
    collides("in a Counter", call(COUNTER) + b"(" + COUNTS + b"u"),
    collides("in a defaultdict", call(DEFAULT) + b"(" + PAIRS + b"u"),
    collides("in tuples", b"}(" + b"".join(key + b"\x85N" for key in COLLIDING) + b"u"),
    collides("as Decimals", b"}(" + b"".join(call(name("decimal", "Decimal"), text(str(number * MODULUS))) + NONE
             for number in range(1, 10_001)) + b"u"),
    collides("as Fractions", b"}(" + b"".join(call(FRACTION, key, ONE) + NONE for key in COLLIDING[:2_000]) + b"u"),
)  # fmt: skip

# size and depth


def laughs(variant: str, body: bytes) -> Case:
    """Python itself writes such a value out, and compares it, as if nothing in it were shared."""
    return Case(23, variant, lambda: checkpoint(body), Fails("L", "names its parts", "data.pkl", None, SHARED_LIMIT))


SHARED_LIMIT = {"limit": "shared"}
LAUGHS = (
    laughs("lists", doubling(30, b"l")),
    laughs("tuples", doubling(30, b"t")),
    laughs("a thousand times a thousand times a thousand", doubling(3, b"2" * 998 + b"l")),
    read(23, "ten levels", doubling(10, b"l")),
)

DEPTH = 100_000
DEPTH_OF_OBJECTS = 20_000
"""Of what takes many bytes a level."""
NAMESPACE = call(name("types", "SimpleNamespace"))
LINKED = b"]2" + b"]q\x01a0h\x01" * DEPTH + b"0"
"""A list, to which a list is appended, to which a list is appended ..."""
TOO_DEEP = Fails("L", "nests too deeply", None, None, DEPTH_LIMIT)
"""For those who tell the paths to all that is inside."""
PATHS = "a path would be too long"
NESTED_STATES = read(24, "states", (NAMESPACE + b"}" + text("a")) * DEPTH_OF_OBJECTS + NONE + b"sb" * DEPTH_OF_OBJECTS)
DEEP = (
    deep(24, "lists, by marks", b"(" * DEPTH + b"l" * DEPTH, 2 + 1000),
    deep(24, "tuples, by marks", b"(" * DEPTH + b"t" * DEPTH, 2 + 1000),
    deep(24, "dicts, by marks", (b"(" + ONE) * DEPTH + NONE + b"d" * DEPTH, 2 + 3 * 1000),
    deep(24, "lists, by APPEND", b"]" * DEPTH + b"a" * (DEPTH - 1)),
    deep(24, "lists, from the outside", LINKED),
    deep(24, "tuples", b")" + b"\x85" * DEPTH),
    deep(24, "dicts", (b"}" + ONE) * DEPTH_OF_OBJECTS + NONE + b"s" * DEPTH_OF_OBJECTS),
    deep(24, "deques", call(DEQUE) * 10_000 + b"a" * 9_999),
    deep(24, "OrderedDicts", (call(ORDERED) + ONE) * DEPTH_OF_OBJECTS + NONE + b"s" * DEPTH_OF_OBJECTS),
    deep(24, "defaultdicts", (call(DEFAULT) + ONE) * DEPTH_OF_OBJECTS + NONE + b"s" * DEPTH_OF_OBJECTS),
    deep(24, "calls", DEQUE * 10_000 + b")" + b"\x85\x85R" * 10_000),
    # What is between these containers is nothing that Python itself walks through.
    NESTED_STATES.except_for(f"{PATHS}; PyTorch knows no such class", inspect=TOO_DEEP, lazy=TOO_DEEP, torch=PyTorchs()),
    unknown(24, "calls of what is unknown", UNKNOWN * DEPTH_OF_OBJECTS + b")" + b"R\x85" * (DEPTH_OF_OBJECTS - 1) + b"R", Loads()).except_for(PATHS, inspect=TOO_DEEP),
    unknown(24, "items", (UNKNOWN + b")R") * DEPTH_OF_OBJECTS + b"a" * (DEPTH_OF_OBJECTS - 1), Loads()).except_for(PATHS, inspect=TOO_DEEP),
    unknown(24, "states of records", (UNKNOWN + b")\x81}" + text("a")) * DEPTH_OF_OBJECTS + NONE + b"sb" * DEPTH_OF_OBJECTS, Loads()).except_for(PATHS, inspect=TOO_DEEP),
)  # fmt: skip


def is_in(value: Any, inside: Any) -> None:
    assert inside is value


ITSELF = (
    read(25, "a list", b"]q\x00h\x00a", lambda value: is_in(value, value[0])),
    read(25, "a list in a tuple", b"]q\x00h\x00\x85a", lambda value: is_in(value, value[0][0])),
    read(25, "a dict", b"}q\x00" + text("a") + b"h\x00s", lambda value: is_in(value, value["a"])),
    read(25, "a deque", call(DEQUE) + b"q\x00h\x00a", lambda value: is_in(value, value[0])),
    read(25, "an OrderedDict", call(ORDERED) + b"q\x00" + ONE + b"h\x00s", lambda value: is_in(value, value[1])),
    read(25, "a state", NAMESPACE + b"q\x00}" + text("a") + b"h\x00sb", lambda value: is_in(value, value.a)),
    read(25, "two lists in each other", b"]q\x00]q\x01h\x00aa", lambda value: is_in(value, value[0][0])),
    unknown(25, "a record in its state", UNKNOWN + b")\x81q\x00}" + text("a") + b"h\x00sb", Loads()),
    unknown(25, "a record in its items", UNKNOWN + b")Rq\x00h\x00a", Loads()),
    f(25, "a dict as its own key", b"}q\x00h\x00" + ONE + b"s", "a dict cannot be a key"),
    f(25, "a list as its own key", b"}]q\x00h\x00a" + ONE + b"s", "a list cannot be a key"),
    f(25, "its own state", call(ORDERED) + b"q\x00h\x00b", "the state of a OrderedDict"),
)

CASES = (*TYPES, *KEYS, *SLOW_KEYS, *COLLISIONS, *LAUGHS, *DEEP, *ITSELF)

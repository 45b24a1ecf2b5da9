"""Opcodes for values: plain ones, PyTorch's, numpy's, and those that mean harm."""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from tests.hostile.pickle_assembler import NONE, call, name, plain, storage, tuple_of

from ptfile.formats.vocabulary import PLAIN, policy
from ptfile.tensors import dtypes

OPCODES: tuple[Any, ...] = tuple(opcode for opcode in pickletools.opcodes if opcode.name not in ("STOP", "FRAME"))

NUMBERS = (
    0, 1, 2, 3, 4, 8, 16, 24, 63, 64, 65, 255, 256, 1000, 65_535, 65_536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
    1 << 32, 1 << 60, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 1 << 200, -1, -2, -8, -(1 << 31), -(1 << 63),
    -(1 << 63) - 1,
)  # fmt: skip
TEXTS = (
    "", "a", "0", "1", "2", "storage", "cpu", "cuda:0", "meta", "latin1", "utf-8", "__class__", "__dict__", "weight",
    "_metadata", "conj", "neg", "dtype", "O8", "V8", "f4", "S3", "U2", "M8", "<", "|", ">", "ns", "torch.strided",
    "../x", "a\0b", "\ud800", "é", "x" * 300, "little", "data", "_parameters", "_buffers", "_modules", "training",
    "__reduce__", "int",
)  # fmt: skip
HOSTILE = (
    ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"),
    ("builtins", "__import__"), ("builtins", "open"), ("__builtin__", "eval"), ("subprocess", "Popen"), ("a", "b.c"),
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("builtins", "object"), ("torch", "load"), ("", ""),
    ("torch.hub", "load"), ("numpy", "load"), ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("pickle", "loads"),
    ("runpy", "_run_code"), ("importlib", "import_module"), ("functools", "partial"), ("operator", "attrgetter"),
    ("torch", "Tensor.__class__"), ("types", "CodeType"),
)  # fmt: skip
KNOWN: tuple[tuple[str, str], ...] = tuple(policy("inert", PLAIN)._names)
SIZES = (0, 4, 8, 24, 64)
"""Bytes of the storages `0` to `4` that pickles can ask for, where a target has no file around them."""


def any_value(rng: Random, depth: int) -> bytes:
    """Opcodes that leave one value on the stack, if they run at all."""
    if depth <= 0:
        return rng.choice(_LEAVES)(rng)
    return rng.choice(_VALUES)(rng, depth - 1)


def any_name(rng: Random) -> bytes:
    """A global: one that ptfile knows, as a rule."""
    module, attribute = rng.choice(HOSTILE) if rng.random() < 0.1 else rng.choice(KNOWN)
    if rng.random() < 0.1:
        return plain(module) + plain(attribute) + b"\x93"
    return name(module, attribute)


def argument(rng: Random, kind: str) -> bytes:
    """The bytes of an opcode's argument, of a kind that `pickletools` names."""
    number = rng.choice(NUMBERS)
    text = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
    wrong = rng.choice((0, 0, 0, 0, 0, 1, -1, 1000))
    fixed = _FIXED.get(kind)
    if fixed:
        return struct.pack(fixed, float(number) if fixed[-1] == "d" else _wrapped(number, fixed))
    counted = _COUNTED.get(kind)
    if counted:
        return struct.pack(counted, _wrapped(len(text) + wrong, counted)) + text
    lines = {
        "decimalnl_short": b"%d\n" % number,
        "decimalnl_long": b"%dL\n" % number,
        "floatnl": rng.choice((b"1.5\n", b"nan\n", b"-inf\n", b"1e400\n", b"1_0\n", b" 1\n", b"x\n", b"\n")),
        "stringnl": b"'" + text.replace(b"\n", b"") + rng.choice((b"'\n", b"\n", b'"\n', b"\\x4\n", b"\\\n")),
        "stringnl_noescape": text.replace(b"\n", b"") + b"\n",
        "stringnl_noescape_pair": name(*rng.choice(KNOWN + HOSTILE))[1:],
        "unicodestringnl": text.replace(b"\n", b"") + rng.choice((b"\n", b"\\u12\n", b"\\ud800\n")),
    }
    return lines.get(kind, text)


def _wrapped(number: int, layout: str) -> int:
    bits = struct.calcsize(layout) * 8
    number &= (1 << bits) - 1
    return number - (1 << bits) if layout[-1].islower() and number >> (bits - 1) else number


_FIXED = {"uint1": "<B", "uint2": "<H", "int4": "<i", "uint4": "<I", "uint8": "<Q", "float8": ">d"}
_COUNTED = {
    "string1": "<B", "string4": "<i", "bytes1": "<B", "bytes4": "<I", "bytes8": "<Q", "bytearray8": "<Q",
    "unicodestring1": "<B", "unicodestring4": "<I", "unicodestring8": "<Q", "long1": "<B", "long4": "<i",
}  # fmt: skip


# plain values


def _number(rng: Random) -> bytes:
    number = rng.choice(NUMBERS) if rng.random() < 0.5 else rng.randrange(10)
    return plain(number) if rng.random() < 0.9 else b"I%d\n" % number


def _text(rng: Random) -> bytes:
    text = rng.choice(TEXTS)
    encoded = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        return b"T" + struct.pack("<i", len(encoded)) + encoded
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _plain(rng: Random) -> bytes:
    return rng.choice((NONE, b"\x88", b"\x89", b")", b"]", b"}", b"\x8f", plain(1.5), plain(float("nan")), b"C\x02ab"))


def _memo(rng: Random) -> bytes:
    return rng.choice((b"h", b"N0h")) + bytes([rng.choice((0, 1, 2, 7))])


def _ints(rng: Random, count: int | None = None) -> bytes:
    count = rng.randrange(4) if count is None else count
    small = rng.random() < 0.8
    return tuple_of(*(plain(rng.randrange(5) if small else rng.choice(NUMBERS)) for _ in range(count)))


# containers


def _list(rng: Random, depth: int) -> bytes:
    items = b"".join(any_value(rng, depth) for _ in range(rng.randrange(4)))
    return rng.choice((b"](" + items + b"e", b"(" + items + b"l"))


def _tuple(rng: Random, depth: int) -> bytes:
    return tuple_of(*(any_value(rng, depth) for _ in range(rng.randrange(4))))


def _pairs(rng: Random, depth: int) -> bytes:
    return b"".join(
        (any_value(rng, 0 if rng.random() < 0.9 else depth)) + any_value(rng, depth) for _ in range(rng.randrange(3))
    )


def _dict(rng: Random, depth: int) -> bytes:
    ordered = call(name("collections", "OrderedDict")) + b"("
    return rng.choice((b"}(", ordered)) + _pairs(rng, depth) + b"u"


def _set(rng: Random, depth: int) -> bytes:
    items = b"".join(any_value(rng, rng.choice((0, 0, depth))) for _ in range(rng.randrange(4)))
    return rng.choice((b"\x8f(" + items + b"\x90", b"(" + items + b"\x91"))


def _kept(rng: Random, depth: int) -> bytes:
    """A value in the memo, and once more."""
    number = bytes([rng.randrange(8)])
    return b"(" + any_value(rng, depth) + b"q" + number + any_value(rng, depth) + b"h" + number + b"t"


def _inside_itself(rng: Random, depth: int) -> bytes:
    number = bytes([rng.randrange(8)])
    return b"]q" + number + any_value(rng, depth) + b"ah" + number + b"a"


# calls


def _known_call(rng: Random, depth: int) -> bytes:
    arguments = tuple_of(*(any_value(rng, depth) for _ in range(rng.randrange(5))))
    return any_name(rng) + arguments + rng.choice((b"R", b"R", b"\x81", b"}\x92"))


def _with_state(rng: Random, depth: int) -> bytes:
    return any_value(rng, depth) + any_value(rng, depth) + b"b"


def _ordered_with_attributes(rng: Random, depth: int) -> bytes:
    return call(name("collections", "OrderedDict")) + b"}" + _text(rng) + any_value(rng, depth) + b"sb"


def _python(rng: Random, _: int) -> bytes:
    import argparse
    import datetime
    import decimal
    import uuid
    from collections import Counter, defaultdict, deque

    values: tuple[Any, ...] = (
        Counter("aab"), defaultdict(list, a=[1]), deque([1, 2], 3), {1, 2}, frozenset({"x"}), bytearray(b"ab"), b"\xff",
        1j, range(3), slice(1, None, 2), ..., datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.date(2020, 1, 2),
        decimal.Decimal("1.5"), datetime.timedelta(1, 2, 3), uuid.UUID(int=5), argparse.Namespace(a=1), 1 << 100,
    )  # fmt: skip
    data = pickle.dumps(rng.choice(values), rng.choice((2, 2, 4)))
    return data[2:-1] if data[2] != 0x95 else data[11:-1]


# tensors


def storage_of(rng: Random, kind: str | None = None, *, untyped: bool = False) -> tuple[bytes, int]:
    """The persistent id of one of the storages, and how many elements it has."""
    number = rng.randrange(len(SIZES))
    if untyped:
        kinds = (plain("storage"), name("torch.storage", "UntypedStorage"), plain(str(number)), plain("cpu"))
        return tuple_of(*kinds, plain(SIZES[number])) + b"Q", SIZES[number]
    kind = kind or rng.choice(tuple(dtypes.BY_STORAGE_CLASS))
    numel = SIZES[number] // dtypes.BY_STORAGE_CLASS[kind].itemsize
    told = numel if rng.random() < 0.95 else rng.choice(NUMBERS)
    return storage(kind, str(number), plain(told)), numel


def _view(rng: Random, numel: int) -> tuple[bytes, bytes, bytes]:
    """Offset, shape and stride: inside, as a rule."""
    if rng.random() < 0.2:
        return _number(rng), _ints(rng), _ints(rng)
    offset = rng.randrange(numel + 1)
    left = numel - offset
    rows = rng.choice((1, 2, max(left, 1)))
    return plain(offset), plain((left // rows, rows)), plain((rows, 1))


def tensor_v2(rng: Random, kind: str | None = None) -> bytes:
    made, numel = storage_of(rng, kind)
    hooks = call(name("collections", "OrderedDict"))
    extra = (b"}" + plain("conj") + b"\x88s",) if rng.random() < 0.05 else ()
    grad = b"\x88" if kind == "FloatStorage" or rng.random() < 0.1 else b"\x89"
    return call(name("torch._utils", "_rebuild_tensor_v2"), made, *_view(rng, numel), grad, hooks, *extra)


def _tensor(rng: Random, depth: int) -> bytes:
    hooks = call(name("collections", "OrderedDict"))
    kind = rng.randrange(9)
    parts: tuple[bytes, ...]
    if kind == 0:
        made, nbytes = storage_of(rng, untyped=True)
        dtype = name("torch", rng.choice(tuple(dtypes.BY_NAME)))
        parts = (made, *_view(rng, nbytes), b"\x89", hooks, dtype)
        return call(name("torch._utils", "_rebuild_tensor_v3"), *parts)
    if kind == 1:
        return call(name("torch._utils", "_rebuild_parameter"), tensor_v2(rng, "FloatStorage"), b"\x88", hooks)
    if kind == 2:
        layout = call(name("torch.serialization", "_get_layout"), plain("torch.sparse_coo"))
        parts = (tensor_v2(rng, "LongStorage"), tensor_v2(rng), call(name("torch", "Size"), _ints(rng, 2)), b"\x89")
        return call(name("torch._utils", "_rebuild_sparse_tensor"), layout, tuple_of(*parts))
    if kind == 3:
        name_of = rng.choice(("csr", "csc", "bsr", "bsc"))
        layout = call(name("torch.serialization", "_get_layout"), plain(f"torch.sparse_{name_of}"))
        parts = (tensor_v2(rng, "LongStorage"), tensor_v2(rng, "LongStorage"), tensor_v2(rng), _ints(rng, 2))
        return call(name("torch._utils", "_rebuild_sparse_tensor"), layout, tuple_of(*parts))
    if kind == 4:
        made, numel = storage_of(rng, rng.choice(("QInt8Storage", "QUInt8Storage", "QInt32Storage", "QUInt4x2Storage")))
        scale = tuple_of(name("torch", "per_tensor_affine"), plain(0.5), plain(1))
        channels = tuple_of(name("torch", "per_channel_affine"), tensor_v2(rng), tensor_v2(rng), plain(0))
        parts = (made, *_view(rng, numel), rng.choice((scale, channels)), b"\x89", hooks)
        return call(name("torch._utils", "_rebuild_qtensor"), *parts)
    if kind == 5:
        tables = [tensor_v2(rng, "LongStorage") for _ in range(3)]
        return call(name("torch._utils", "_rebuild_nested_tensor"), tensor_v2(rng), *tables)
    if kind == 6:
        dtype = name("torch", rng.choice(("float32", "int64", "bool")))
        rank = rng.randrange(3)
        sizes = (_ints(rng, rank), _ints(rng, rank if rng.random() < 0.9 else None))
        return call(name("torch._utils", "_rebuild_meta_tensor_no_storage"), dtype, *sizes, b"\x89")
    if kind == 7:
        made, numel = storage_of(rng)
        of_type = (name("torch._utils", "_rebuild_tensor_v2"), name("torch", "Tensor"))
        arguments = tuple_of(made, *_view(rng, numel), b"\x89", hooks)
        return call(name("torch._tensor", "_rebuild_from_type_v2"), *of_type, arguments, any_value(rng, depth))
    made, numel = storage_of(rng)
    return rng.choice((made, call(name("torch._utils", "_rebuild_tensor"), made, *_view(rng, numel))))


# numpy


def _dtype(rng: Random) -> bytes:
    code = rng.choice(("f4", "i8", "b1", "U2", "S3", "M8", "V8", "c16", "O8", "f2", "u1", "m8"))
    made = call(name("numpy", "dtype"), plain(code), b"\x89", b"\x88")
    order = rng.choice("<|>")
    state = (3, order, None, None, None, -1, -1, rng.choice((0, 0, 0, 8, 63)))
    return made + plain(state) + b"b" if rng.random() < 0.7 else made


def _array(rng: Random, _: int) -> bytes:
    module = rng.choice(("numpy._core.multiarray", "numpy.core.multiarray"))
    data = plain(bytes(rng.randrange(rng.choice((2, 256))) for _ in range(rng.choice((0, 4, 8, 16, 24)))))
    if rng.random() < 0.4:
        return call(name(module, "scalar"), _dtype(rng), data)
    made = call(name(module, "_reconstruct"), name("numpy", "ndarray"), plain((0,)), plain(b"b"))
    in_fortran_order = rng.choice((b"\x88", b"\x89"))
    return made + tuple_of(plain(1), _ints(rng, rng.randrange(3)), _dtype(rng), in_fortran_order, data) + b"b"


_LEAVES: tuple[Callable[[Random], bytes], ...] = (
    _number, _number, _number, _text, _text, _text, _plain, _plain, _plain, any_name, any_name, _memo,
)  # fmt: skip
_VALUES: tuple[Callable[[Random, int], bytes], ...] = (
    _list,
    _tuple,
    _dict,
    _dict,
    _set,
    _kept,
    _inside_itself,
    _known_call,
    _known_call,
    _with_state,
    _ordered_with_attributes,
    _python,
    _tensor,
    _tensor,
    _tensor,
    _array,
    lambda rng, _: rng.choice(_LEAVES)(rng),
)

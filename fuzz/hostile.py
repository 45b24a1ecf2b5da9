"""Pickles written by hand to do harm, by what they try: without PROTO and STOP."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tests.hostile.pickle_assembler import NONE, call, keep, kept, name, plain, storage, tuple_of

_HOOKS = call(name("collections", "OrderedDict"))
_V2 = name("torch._utils", "_rebuild_tensor_v2")


def tensor(
    made: bytes, offset: object = 0, shape: object = (4,), stride: object = (1,), grad: bytes = b"\x89"
) -> bytes:
    """`_rebuild_tensor_v2` of these."""
    return call(_V2, made, plain(offset), plain(shape), plain(stride), grad, _HOOKS)


def _lists(depth: int) -> bytes:
    body = b"]"
    for number in range(depth):
        body += b"r" + number.to_bytes(4, "little") + b"0](" + kept(number) * 2 + b"e"
    return body


def bodies() -> Mapping[str, bytes]:
    """The pickles. Storages 0 to 4 have 0, 4, 8, 24 and 64 bytes."""
    system = name("os", "system")
    bytes24 = storage("ByteStorage", "3", plain(24))
    longs = storage("LongStorage", "3", plain(3))
    return {
        "call": system + tuple_of(plain("true")) + b"R",
        "call of posix": name("posix", "system") + tuple_of(plain("true")) + b"R",
        "name never used": system + b"0N",
        "name alone": system,
        "stack global": plain("os") + plain("system") + b"\x93",
        "inst": b"(" + plain("true") + b"ios\nsystem\n",
        "obj": b"(" + system + plain("true") + b"o",
        "obj popped": b"(" + system + plain("true") + b"o0N",
        "new object": system + b")\x81",
        "new object with keywords": system + b")}\x92",
        "extension": b"\x82\x01",
        "dotted": name("torch._utils", "_rebuild_tensor_v2.__globals__"),
        "python 2 name": name("__builtin__", "eval") + tuple_of(plain("1")) + b"R",
        "getattr": call(name("builtins", "getattr"), plain("a"), plain("upper")),
        "bytearray of a size": call(name("builtins", "bytearray"), plain(1 << 40)),
        "storage of a size": call(name("torch", "FloatStorage"), plain(1 << 20)),
        "untyped storage of a size": call(name("torch.storage", "UntypedStorage"), plain(1 << 20)),
        "tensor of a size": call(name("torch", "Tensor"), plain(1 << 20)),
        "builder that is none": call(name("torch._tensor", "_rebuild_from_type_v2"), system, NONE, plain(()), NONE),
        "encode with another codec": call(name("_codecs", "encode"), plain("a"), plain("rot13")),
        "bytearray with a codec": call(name("builtins", "bytearray"), plain("a"), plain("buffers")),
        "device with a number": call(name("torch", "device"), plain("cuda:1")),
        "encode to latin1": call(name("_codecs", "encode"), plain("é"), plain("latin1")),
        "ordered dict with a dunder": _HOOKS + b"}" + plain("__class__") + b"Nsb",
        "ordered dict with attributes": _HOOKS + b"}" + plain("_metadata") + b"Nsb",
        "item of a list": b"]NNs",
        "append to a dict": b"}Na",
        "element of a list": b"](N\x90",
        "state of a number": b"K\x01Nb",
        "list as a key": b"}]Ns",
        "tensor as a key": b"}" + tensor(bytes24) + b"Ns",
        "deep key": b"})" + b"\x85" * 10_000 + b"Ns",
        "shared key": b"})" + b"2\x86" * 30 + b"Ns",
        "laughs": _lists(30),
        "deep list": b"]" * 2_000 + b"a" * 1_999,
        "marks": b"(" * 2_000 + b"l" * 2_000,
        "list in itself": b"]q\0h\0a",
        "tuple in itself": b"]q\0(h\0tq\x010h\0h\x01a",
        "memo of a large number": b"Nr\xff\xff\xff\x7f",
        "memo that was never made": b"h\x07",
        "text beyond the end": b"X\xff\xff\xff\x7fa",
        "long beyond the end": b"\x8b\xff\xff\xff\x7fa",
        "frame beyond the end": b"\x95" + struct.pack("<Q", 1 << 40) + b"N",
        "negative length": b"\x8b\xff\xff\xff\xff",
        "many digits": b"I" + b"9" * 5_000 + b"\n",
        "digits that are none": b"Ix\n",
        "text that is no UTF-8": b"X\x01\0\0\0\xff",
        "surrogates": b"X\x03\0\0\0\xed\xa0\x80",
        "empty stack": b"0",
        "no mark": b"t",
        "open mark": b"(N",
        "leftovers": b"NN",
        "odd items": b"}(Nu",
        "proto inside": b"\x80\x02N",
        "proto 255": b"\x80\xff",
        "id that is no tuple": b"NQ",
        "id that is short": plain(("storage",)) + b"Q",
        "id of another kind": plain(("module", 1, "0", "cpu", 1)) + b"Q",
        "id of a system": tuple_of(plain("storage"), system, plain("0"), plain("cpu"), plain(0)) + b"Q",
        "key outside": storage("FloatStorage", "../x", plain(1)),
        "key without a record": storage("FloatStorage", "9", plain(1)),
        "two dtypes": tuple_of(storage("FloatStorage", "2", plain(2)), storage("LongStorage", "2", plain(1))),
        "two sizes": tuple_of(storage("ByteStorage", "2", plain(8)), storage("ByteStorage", "2", plain(4))),
        "odd location": tuple_of(plain("storage"), name("torch", "ByteStorage"), plain("1"), plain("x"), plain(4))
        + b"Q",
        "numel too large": storage("ByteStorage", "1", plain(5)),
        "numel too small": storage("ByteStorage", "1", plain(3)),
        "numel negative": storage("ByteStorage", "1", plain(-1)),
        "numel a bool": storage("ByteStorage", "1", b"\x88"),
        "numel a float": storage("ByteStorage", "1", plain(4.0)),
        "good tensor": tensor(bytes24),
        "offset outside": tensor(bytes24, offset=24),
        "offset negative": tensor(bytes24, offset=-1),
        "sizes outside": tensor(bytes24, shape=(25,)),
        "sizes negative": tensor(bytes24, shape=(-1,)),
        "strides outside": tensor(bytes24, shape=(2,), stride=(24,)),
        "strides negative": tensor(bytes24, offset=4, shape=(2,), stride=(-1,)),
        "lengths": tensor(bytes24, shape=(2, 2)),
        "overflow": tensor(bytes24, shape=(1 << 62, 4), stride=(0, 0)),
        "stride 0": tensor(bytes24, shape=(1 << 40,), stride=(0,)),
        "overlap": tensor(bytes24, shape=(2, 2), stride=(1, 1)),
        "rank 65": tensor(bytes24, shape=(1,) * 65, stride=(1,) * 65),
        "rank 64": tensor(bytes24, shape=(1,) * 64, stride=(1,) * 64),
        "empty behind the end": tensor(bytes24, offset=100, shape=(0,)),
        "empty and huge": tensor(bytes24, shape=(1 << 60, 0), stride=(1, 1)),
        "float as a size": tensor(bytes24, shape=(1.0,)),
        "gradients of integers": tensor(longs, shape=(3,), grad=b"\x88"),
        "flag that is false": call(
            _V2,
            storage("ComplexFloatStorage", "3", plain(3)),
            plain(0),
            plain((3,)),
            plain((1,)),
            b"\x89",
            _HOOKS,
            plain({"conj": False}),
        ),
        "bools of other bytes": tensor(storage("BoolStorage", "3", plain(24)), shape=(24,)),
        "meta of 2**60": call(
            name("torch._utils", "_rebuild_meta_tensor_no_storage"),
            name("torch", "int8"),
            plain((1 << 60,)),
            plain((1,)),
            b"\x89",
        ),
        "counter of text": call(name("collections", "Counter"), b"}" + plain("a") + plain("b") + b"s"),
        "kept and dropped": plain(1) + keep(5) + kept(5),
    }

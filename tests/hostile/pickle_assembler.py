"""Pickles put together opcode by opcode, to say what no pickler says."""

from __future__ import annotations

import io
import pickle
from typing import Any

import ptfile
from tests.hostile.zip_builder import Entry, Zip

PROTO = b"\x80\x02"
NONE = b"N"
FALSE, TRUE = b"\x89", b"\x88"
STOP = b"."


def name(module: str, function: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{function}\n".encode()


def plain(value: Any) -> bytes:
    """A value of Python's own, without what is around a pickle of it. It uses the memo from 0 on."""
    return pickle.dumps(value, 2)[2:-1]


def text(value: str) -> bytes:
    """BINUNICODE, without the memo."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def integer(value: int) -> bytes:
    """LONG1 or LONG4."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data if len(data) < 256 else b"\x8b" + len(data).to_bytes(4, "little") + data


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def list_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"l"


def dict_of(*parts: bytes) -> bytes:
    """Keys and values in turn."""
    return b"(" + b"".join(parts) + b"d"


def doubling(depth: int, join: bytes) -> bytes:
    """What holds twice what holds twice ...; `join` makes one of two values and a mark below them."""
    body = b")"
    for number in range(depth):
        body += keep(number) + b"(" + kept(number) * 2 + join
    return body


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + tuple_of(*arguments) + b"R"


def keep(number: int) -> bytes:
    """LONG_BINPUT and POP: into the memo, off the stack."""
    return b"r" + number.to_bytes(4, "little") + b"0"


def kept(number: int) -> bytes:
    """LONG_BINGET."""
    return b"j" + number.to_bytes(4, "little")


def storage(kind: str, key: str, numel: bytes) -> bytes:
    """The persistent id of a storage."""
    return tuple_of(plain("storage"), name("torch", kind), plain(key), plain("cpu"), numel) + b"Q"


NO_HOOKS = call(name("collections", "OrderedDict"))


def tensor(of: bytes, shape: bytes, stride: bytes, offset: bytes = plain(0), *more: bytes) -> bytes:
    """A strided tensor over a storage."""
    parts = (of, offset, shape, stride, FALSE, NO_HOOKS, *more)
    return call(name("torch._utils", "_rebuild_tensor_v2"), *parts)


def checkpoint(body: bytes, *storages: bytes) -> bytes:
    """A zip-format file with this pickle (without PROTO and STOP) and these storages."""
    return archive(PROTO + body + STOP, *storages)


def archive(pickled: bytes, *storages: bytes) -> bytes:
    """A zip-format file with this pickle and these storages."""
    entries = [Entry(b"a/data.pkl", pickled), Entry(b"a/version", b"3\n")]
    entries += [Entry(f"a/data/{number}".encode(), data) for number, data in enumerate(storages)]
    return Zip(entries).build()


def load(body: bytes, *storages: bytes, **options: Any) -> Any:
    return ptfile.load(io.BytesIO(checkpoint(body, *storages)), **options)

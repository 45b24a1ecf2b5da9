"""Pickles put together opcode by opcode, to say what no pickler says."""

from __future__ import annotations

import io
import pickle
from typing import Any

import ptfile
from tests.hostile.zip_builder import Entry, Zip

PROTO = b"\x80\x02"
NONE = b"N"
STOP = b"."


def name(module: str, function: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{function}\n".encode()


def plain(value: Any) -> bytes:
    """A value of Python's own, without what is around a pickle of it. It uses the memo from 0 on."""
    return pickle.dumps(value, 2)[2:-1]


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


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


def checkpoint(body: bytes, *storages: bytes) -> bytes:
    """A zip-format file with this pickle (without PROTO and STOP) and these storages."""
    entries = [Entry(b"a/data.pkl", PROTO + body + STOP), Entry(b"a/version", b"3\n")]
    entries += [Entry(f"a/data/{number}".encode(), data) for number, data in enumerate(storages)]
    return Zip(entries).build()


def load(body: bytes, *storages: bytes, **options: Any) -> Any:
    return ptfile.load(io.BytesIO(checkpoint(body, *storages)), **options)

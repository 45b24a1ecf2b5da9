"""Files of the formats before zip, built byte by byte: what PyTorch wrote, and what nobody should have."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

MAGIC = 0x1950A86A20F9469CFC6C
SYS_INFO = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


@dataclass(frozen=True)
class Name:
    """A global."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """What a pickle calls, and with what."""

    function: Name
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class New:
    """An instance made without a call, with a state."""

    kind: Any
    state: Any


@dataclass(frozen=True)
class Id:
    """A persistent id."""

    value: Any


@dataclass(frozen=True)
class Python2:
    """A `str` of Python 2."""

    value: bytes


class _Pickler(pickle._Pickler):
    save: Callable[[Any], None]
    write: Callable[[bytes], object]

    def _name(self, name: Name) -> None:
        self.write(f"c{name.module}\n{name.name}\n".encode())

    def _call(self, call: Call) -> None:
        self.save(call.function)
        self.save(call.arguments)
        self.write(pickle.REDUCE)

    def _new(self, new: New) -> None:
        self.save(new.kind)
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.save(new.state)
        self.write(pickle.BUILD)

    def _id(self, persistent_id: Id) -> None:
        self.save(persistent_id.value)
        self.write(pickle.BINPERSID)

    def _python2(self, text: Python2) -> None:
        self.write(pickle.SHORT_BINSTRING + bytes([len(text.value)]) + text.value)

    dispatch: ClassVar[dict[type, Callable[..., None]]] = {
        **pickle._Pickler.dispatch,
        Name: _name,
        Call: _call,
        New: _new,
        Id: _id,
        Python2: _python2,
    }


def pickled(value: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def storage(key: Any, numel: Any, kind: str = "FloatStorage", location: Any = "cpu", view: Any = None) -> Id:
    """The persistent id of a storage in the legacy format."""
    return Id(("storage", Name("torch", kind), key, location, numel, view))


def tensor(of: Id, shape: tuple[int, ...], stride: tuple[int, ...] = (1,), offset: int = 0) -> Call:
    """A tensor as PyTorch up to 0.3 wrote it."""
    return Call(Name("torch._utils", "_rebuild_tensor"), (of, offset, shape, stride))


def floats(*values: float) -> bytes:
    """Elements behind their count."""
    return struct.pack(f"<q{len(values)}f", len(values), *values)


def legacy(
    value: Any,
    keys: Any = (),
    elements: bytes = b"",
    *,
    magic: Any = MAGIC,
    version: Any = 1001,
    sys_info: Any = SYS_INFO,
    protocol: int = 2,
) -> bytes:
    """A file of the legacy format."""
    keys = list(keys) if isinstance(keys, tuple) else keys
    return b"".join(pickled(part, protocol) for part in (magic, version, sys_info, value, keys)) + elements


def tar(members: Mapping[str, bytes]) -> bytes:
    """A tar file, with the float times for which Python writes extended headers, as PyTorch had them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1.5
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()

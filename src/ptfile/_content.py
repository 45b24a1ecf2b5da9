"""What a loaded value says, taken apart: kinds and parts, without what depends on how and where it was saved.

A table for each kind of object that loading can make. `docs/digest.md` says the same in words; a change here makes
other digests, and has to change the version in front of them.
"""

from __future__ import annotations

import argparse
import array
import datetime
import decimal
import fractions
import pathlib
import struct
import types
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ptfile._lazy import np
from ptfile.errors import UnsupportedError
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import Global, InertName
from ptfile.tensors import dtypes
from ptfile.tensors.constants import Device, Layout, MemoryFormat, QScheme, Size
from ptfile.tensors.dtypes import DType
from ptfile.tensors.generator import Generator
from ptfile.tensors.nested import JaggedTensor, NestedTensor, WrapperTensor
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.quantized import PerTensor, QuantizedTensor
from ptfile.tensors.sparse import SparseCompressedTensor, SparseTensor
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Elements:
    """The elements of a tensor, as one part of it."""

    tensor: Tensor | QuantizedTensor


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """A value that has others inside."""

    kind: str
    parts: Iterable[Any]
    ordered: bool = True


# values without parts


def atom(value: Any) -> bytes | None:
    """The kind and the content of a value that has no parts; None for one that has."""
    kind = type(value)
    encode = _ATOMS.get(kind)
    if encode is not None:
        return encode(value)
    if kind is InertRecord:  # before `isinstance`, to which it says that it is something else
        return None
    if isinstance(value, pathlib.PurePath):
        return f"{kind.__name__}:{value}".encode(errors="surrogatepass")
    if isinstance(value, np.dtype):
        return f"numpy.dtype:{dtype_text(value)}".encode(errors="surrogatepass")
    if isinstance(value, type):
        return f"name:{value.__module__}.{value.__qualname__}".encode()
    return None


def _text(value: str) -> bytes:
    return b"str:" + value.encode(errors="surrogatepass")


def _integer(value: int) -> bytes:
    return b"int:" + value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _name(value: Global | InertName) -> bytes:
    return f"name:{value}".encode(errors="surrogatepass")


def _constant(value: Any) -> bytes:
    return f"{type(value).__name__}:{value.name}".encode()


def _written(value: Any) -> bytes:
    """By what Python writes for it, which says all of it."""
    return f"{type(value).__name__}:{value!r}".encode(errors="surrogatepass")


_ATOMS: Mapping[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"None:",
    bool: lambda value: b"bool:1" if value else b"bool:0",
    int: _integer,
    float: lambda value: b"float:" + struct.pack("<d", value),
    complex: lambda value: b"complex:" + struct.pack("<dd", value.real, value.imag),
    str: _text,
    bytes: lambda value: b"bytes:" + value,
    bytearray: lambda value: b"bytearray:" + value,
    type(...): _written,
    type(NotImplemented): _written,
    range: lambda value: f"range:{value.start:x},{value.stop:x},{value.step:x}".encode(),
    datetime.datetime: _written,
    datetime.date: _written,
    datetime.time: _written,
    datetime.timedelta: lambda value: f"timedelta:{value.days},{value.seconds},{value.microseconds}".encode(),
    datetime.timezone: _written,
    decimal.Decimal: lambda value: f"Decimal:{value}".encode(),
    fractions.Fraction: lambda value: f"Fraction:{value.numerator:x}/{value.denominator:x}".encode(),
    uuid.UUID: lambda value: b"UUID:" + value.bytes,
    Global: _name,
    InertName: _name,
    DType: _constant,
    Layout: _constant,
    MemoryFormat: _constant,
    QScheme: _constant,
    Device: lambda value: f"Device:{value}".encode(errors="surrogatepass"),
}


def dtype_text(dtype: np.dtype[Any]) -> str:
    """A numpy dtype, whichever byte order it has."""
    if dtype.names is None:
        return str(dtype.newbyteorder("<").str)
    fields = [(name, dtype_text(dtype[name]), dtype.fields[name][1]) for name in dtype.names] if dtype.fields else []
    return repr((fields, dtype.itemsize))


# values with parts


def parts(value: Any) -> Parts:
    """The parts of a value that has some. Raises UnsupportedError for a kind of object that loading does not make."""
    take_apart = _PARTS.get(type(value))
    if take_apart is not None:
        return take_apart(value)
    if type(value) is not InertRecord and isinstance(value, np.ndarray):
        return _numpy_array(value)
    if type(value) is not InertRecord and isinstance(value, np.generic):
        return Parts("numpy scalar", (np.asarray(value),))
    raise UnsupportedError(f"there is no rule for what a {type(value).__name__} says")


def _mapping(value: Mapping[Any, Any]) -> Parts:
    """Its pairs in their order, and its attributes, if it has any."""
    attributes = getattr(value, "__dict__", None)
    first = [value.default_factory] if isinstance(value, defaultdict) else []
    pairs = chain.from_iterable(value.items())
    return Parts(type(value).__name__, chain(first, [len(value)], pairs, [attributes] if attributes else []))


def _sequence(value: Any) -> Parts:
    return Parts(type(value).__name__, chain([len(value)], value))


def _set(value: Any) -> Parts:
    return Parts(type(value).__name__, value, ordered=False)


def _namespace(value: Any) -> Parts:
    return Parts(type(value).__name__, (vars(value),))


def _numpy_array(value: np.ndarray[Any, Any]) -> Parts:
    """Dtype, shape, and elements row by row: little-endian bytes, or one array for each field, or objects."""
    head = (dtype_text(value.dtype), value.shape)
    if value.dtype.names is not None:
        return Parts("ndarray", chain(head, (value[name] for name in value.dtype.names)))
    if value.dtype.hasobject:
        return Parts("ndarray", chain(head, value.reshape(-1)))
    little_endian = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return Parts("ndarray", (*head, Raw(little_endian.tobytes())))


def _record(record: InertRecord) -> Parts:
    target, how, arguments, keywords = _made_by(record)
    state = record.inert_state if record.inert_has_state else None
    filled = (state, [*record.inert_items], [*record.inert_pairs], record.inert_setter)
    return Parts("object", (target, how, arguments, keywords, *filled))


def _made_by(record: InertRecord) -> tuple[Any, str, tuple[Any, ...], dict[str, Any]]:
    """Class or function, `new` or `call`, arguments: what later protocols say by an opcode, earlier ones by a call."""
    target, arguments, keywords = record.inert_target, record.inert_arguments, record.inert_keywords
    name = str(target) if isinstance(target, Global | InertName) else ""
    if name in _in_copyreg("__newobj__") and arguments:
        return arguments[0], "new", arguments[1:], keywords
    if name in _in_copyreg("_reconstructor") and len(arguments) == 3 and arguments[2] is None:
        return arguments[0], "new", (), keywords
    return target, record.inert_how, arguments, keywords


def _in_copyreg(function: str) -> tuple[str, str]:
    return f"copyreg.{function}", f"copy_reg.{function}"  # Python 2's name, which protocols up to 2 write


# tensors


def _side(tensor: Attributed) -> Iterator[Any]:
    """The class of a subclass, and the attributes; nothing for the tensors that have neither."""
    side = tensor.python_side
    if isinstance(tensor, JaggedTensor):  # PyTorch gives it attributes of its own
        if tensor.attributes:
            yield from (None, tensor.attributes)
    elif side is not None:
        # Versions of PyTorch differ in what they write for no attributes.
        state = None if type(side.state) is dict and not side.state else side.state
        if side.kind is not None or state is not None:
            yield from (side.kind, state)


def _strided(tensor: Tensor) -> Parts:
    facts = (tensor.dtype, tensor.shape, tensor.requires_grad)
    elements = None if tensor.device == "meta" else Elements(tensor)
    return Parts(type(tensor).__name__, chain(facts, [elements], _side(tensor)))


def _quantized(tensor: QuantizedTensor) -> Parts:
    quantizer = tensor.quantizer
    if isinstance(quantizer, PerTensor):
        numbers: tuple[Any, ...] = (quantizer.scale, quantizer.zero_point)
    else:
        numbers = (quantizer.scales, quantizer.zero_points, quantizer.axis)
    elements = None if tensor.device == "meta" else Elements(tensor)
    facts = (tensor.dtype, tensor.shape, tensor.requires_grad, tensor.qscheme(), numbers)
    return Parts("QuantizedTensor", chain(facts, [elements], _side(tensor)))


def _sparse(tensor: SparseTensor) -> Parts:
    facts = (tensor.layout, tensor.shape, tensor.requires_grad)
    return Parts("SparseTensor", chain(facts, (tensor.indices(), tensor.values()), _side(tensor)))


def _compressed(tensor: SparseCompressedTensor) -> Parts:
    facts = (tensor.layout, tensor.shape, tensor.requires_grad)
    places = (tensor.compressed_indices(), tensor.plain_indices(), tensor.values())
    return Parts("SparseTensor", chain(facts, places, _side(tensor)))


def _components(tensor: NestedTensor | JaggedTensor) -> Parts:
    ragged = tensor.ragged_dim if isinstance(tensor, JaggedTensor) else None
    inside = [component.detach() for component in tensor.unbind()]
    return Parts("NestedTensor", chain((tensor.dtype, tensor.requires_grad, ragged, inside), _side(tensor)))


def _wrapper(tensor: WrapperTensor) -> Parts:
    facts = (tensor.saved_as[0], tensor.dtype, tensor.shape, tensor.layout, tensor.requires_grad)
    return Parts("WrapperTensor", chain(facts, _side(tensor)))


def _storage(storage: Storage | TypedStorage) -> Parts:
    dtype = storage.dtype if isinstance(storage, TypedStorage) else dtypes.uint8
    untyped = storage.storage if isinstance(storage, TypedStorage) else storage
    count = untyped.nbytes() // dtype.itemsize
    elements = None if untyped.device == "meta" else Elements(Tensor(untyped, dtype, 0, (count,), (1,)))
    return Parts("Storage", (dtype, count, elements))


def _generator(generator: Generator) -> Parts:
    return Parts("Generator", (generator.device, generator.seed, generator.offset, generator.state))


_PARTS: Mapping[type, Callable[[Any], Parts]] = {
    dict: _mapping,
    OrderedDict: _mapping,
    defaultdict: _mapping,
    Counter: _mapping,
    list: _sequence,
    tuple: _sequence,
    Size: _sequence,
    deque: lambda value: Parts("deque", chain([value.maxlen, len(value)], value)),
    set: _set,
    frozenset: _set,
    slice: lambda value: Parts("slice", (value.start, value.stop, value.step)),
    array.array: lambda value: Parts("array", (value.typecode, value.tolist())),
    argparse.Namespace: _namespace,
    types.SimpleNamespace: _namespace,
    InertRecord: _record,
    Tensor: _strided,
    Parameter: _strided,
    QuantizedTensor: _quantized,
    SparseTensor: _sparse,
    SparseCompressedTensor: _compressed,
    NestedTensor: _components,
    JaggedTensor: _components,
    WrapperTensor: _wrapper,
    Storage: _storage,
    TypedStorage: _storage,
    Generator: _generator,
}

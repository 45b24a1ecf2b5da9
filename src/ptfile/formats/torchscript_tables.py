"""TorchScript archives of PyTorch 1.0 to 1.2: a tree of modules in `model.json`, tensors in a table.

The tree is the message `torch.ModelDef` of caffe2/proto/torch.proto as protobuf writes it in JSON: integers of 64 bits
are strings. What is no tensor stands in `attributes.pkl` (1.1 and 1.2), which refers to the same table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ptfile.errors import FormatError, TensorError, UnsupportedError
from ptfile.formats.arguments import exactly
from ptfile.formats.pickles import PickleRunner, in_dialect
from ptfile.formats.storages import STORAGE_CLASSES, LoadedStorages, MapLocation
from ptfile.formats.torchscript_modules import PARTS, Declarations, add_constants
from ptfile.formats.torchscript_pickles import script_storages, table_dialect
from ptfile.formats.zip_records import ZipRecords
from ptfile.machine.decoder import decode
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import InertName
from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import DType
from ptfile.tensors.quantized import PerTensor, QuantizedTensor
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.tensor import Tensor

MODEL = "model.json"
_ATTRIBUTES = "attributes.pkl"
_TORCH = "__torch__"
_REPLACED = (("__main__", "TensorID"), ("__main__", "IntList"))
"""Classes of 1.1, as GLOBAL names them."""
_INTEGER_DIGITS = 20  # of 64 bits, and a sign

_DTYPES: Mapping[str, DType] = {
    "FLOAT": dtypes.float32,
    "INT32": dtypes.int32,
    "BYTE": dtypes.uint8,
    "BOOL": dtypes.bool,
    "UINT8": dtypes.uint8,
    "INT8": dtypes.int8,
    "INT16": dtypes.int16,
    "INT64": dtypes.int64,
    "FLOAT16": dtypes.float16,
    "DOUBLE": dtypes.float64,
}
"""caffe2.TensorProto.DataType, as far as PyTorch has tensors of it."""
_QUANTIZED: Mapping[DType, DType] = {
    dtypes.int8: dtypes.qint8,
    dtypes.uint8: dtypes.quint8,
    dtypes.int32: dtypes.qint32,
}


def read_tables(records: ZipRecords, runner: PickleRunner, map_location: MapLocation) -> InertRecord:
    """The root module, with submodules, parameters, buffers and attributes; tensors have read nothing yet."""
    model = _message(records.json(MODEL), "the model")
    table = _TensorTable(_tensors(records, _items(model, "tensors"), map_location))
    attributes: Any = ()
    if _ATTRIBUTES in records:
        storages = script_storages(LoadedStorages(_no_storage, None))
        runner = in_dialect(runner, table_dialect(table.get, Declarations(records, "libs/")), records.limits)
        attributes = records.pickle(_ATTRIBUTES, runner, storages, plain_calls)
        if type(attributes) not in (tuple, list):
            raise FormatError("the attributes are no tuple", record=_ATTRIBUTES)
    root = _modules(_message(model.get("mainModule"), "the main module"), table, attributes)
    # The code names them by their places in the table.
    add_constants(root, table.unused())
    return root


def plain_calls(data: bytes) -> bytes:
    """A pickle of PyTorch 1.1 or 1.2 as the opcodes mean it: those versions had two habits of their own.

    One byte integers had a sign. In 1.1 an object was made by NEWOBJ and then *replaced* by what BUILD gave it: the
    same as calling the class with that.
    """
    replaces = any(argument in _REPLACED for _, _, argument in decode(data))
    ends = (position for position, _, _ in islice(decode(data), 1, None))
    plain = bytearray()
    end, before = 0, ""
    for position, opcode, argument in decode(data):
        end = next(ends, position + 1)
        made = data[position:end]
        if opcode.name == "BININT1" and isinstance(argument, int) and argument > 127:
            made = b"J" + struct.pack("<i", argument - 256)
        elif replaces and opcode.name == "NEWOBJ" and before == "EMPTY_TUPLE":
            del plain[-1:]
            made = b""
        elif replaces and opcode.name == "BUILD":
            made = b"\x85R"  # TUPLE1, REDUCE
        plain += made
        before = opcode.name
    return bytes(plain) + data[end:]


class _TensorTable:
    """The tensors of an archive by number, and which of them something refers to."""

    def __init__(self, tensors: list[Tensor | QuantizedTensor]) -> None:
        self._tensors = tensors
        self._used: set[int] = set()

    def get(self, number: object) -> Tensor | QuantizedTensor:
        if type(number) is not int or not 0 <= number < len(self._tensors):
            raise FormatError(f"there is no tensor {number!r:.20} among {len(self._tensors)}")
        self._used.add(number)
        return self._tensors[number]

    def unused(self) -> Iterator[tuple[str, Tensor | QuantizedTensor]]:
        """Those left for the code, by its names for them."""
        for number, tensor in enumerate(self._tensors):
            if number not in self._used:
                yield f"c{number}", tensor


# tensors


def _tensors(records: ZipRecords, messages: list[Any], map_location: MapLocation) -> list[Tensor | QuantizedTensor]:
    names: list[str] = []
    numbers: dict[str, int] = {}

    def make(key: str, nbytes: int, dtype: DType | None) -> Storage:
        return records.storage(names[int(key)], nbytes, dtype)

    storages = LoadedStorages(make, map_location)
    tensors = []
    for message in messages:
        tensor = _message(message, "a tensor")
        name = exactly(_message(tensor.get("data"), "the data of a tensor").get("key"), str, "the record of a tensor")
        number = numbers.setdefault(name, len(names))
        if number == len(names):
            names.append(name)
        tensors.append(_tensor(tensor, records.size(name), str(number), storages))
    return tensors


def _tensor(message: dict[str, Any], nbytes: int, key: str, storages: LoadedStorages) -> Tensor | QuantizedTensor:
    kind = exactly(message.get("dataType"), str, "the dtype of a tensor")
    dtype = _DTYPES.get(kind)
    is_quantized = exactly(message.get("isQuantized", False), bool, "isQuantized")
    if is_quantized and dtype is not None:
        dtype = _QUANTIZED.get(dtype)
    if dtype is None:
        raise UnsupportedError(f"a tensor of {'quantized ' * is_quantized}{kind[:40]}, which PyTorch does not have")
    numel, rest = divmod(nbytes, dtype.itemsize)
    if rest:
        raise TensorError(f"a record of {nbytes} bytes is no whole number of elements of {dtype}")
    assert dtype.storage_class is not None  # all in the tables have one
    device = message.get("device", "cpu")
    storage = storages.load(("storage", STORAGE_CLASSES[dtype.storage_class], key, device, numel))
    assert isinstance(storage, TypedStorage)
    offset = _integer(message.get("offset", 0), "the offset")
    shape = tuple(_integer(size, "a size") for size in _items(message, "dims"))
    stride = tuple(_integer(step, "a stride") for step in _items(message, "strides"))
    grad = exactly(message.get("requiresGrad", False), bool, "requiresGrad")
    if is_quantized:
        zero_point = _integer(message.get("zeroPoint", 0), "the zero point")
        scale = message.get("scale", 0.0)
        quantizer = PerTensor(float(scale) if type(scale) is int else exactly(scale, float, "the scale"), zero_point)
        return QuantizedTensor(storage.storage, dtype, offset, shape, stride, quantizer, grad)
    return Tensor(storage.storage, dtype, offset, shape, stride, grad)


def _no_storage(key: str, _nbytes: int, _dtype: DType | None) -> Storage:
    raise FormatError(f"the attributes have a storage {key} of their own", record=_ATTRIBUTES)


# modules


def _modules(main: dict[str, Any], table: _TensorTable, attributes: tuple[Any, ...]) -> InertRecord:
    """The tree, walked without recursion: it may be deeper than Python's stack."""
    root = InertRecord(InertName(_TORCH, _name(main)), (), "new")
    waiting = [(main, root)]
    while waiting:
        message, record = waiting.pop()
        state = record.inert_state = _own_state(message, table, attributes)
        for item in _items(message, "submodules"):
            child = _message(item, "a submodule")
            name = _name(child)
            made = InertRecord(InertName(f"{record.inert_class}", name), (), "new")
            _add(state["_modules"], name, made)
            waiting.append((child, made))
    return root


def _own_state(message: dict[str, Any], table: _TensorTable, attributes: tuple[Any, ...]) -> dict[str, Any]:
    state: dict[str, Any] = {part: {} for part in PARTS}
    for item in _items(message, "parameters"):
        parameter = _message(item, "a parameter")
        is_buffer = exactly(parameter.get("isBuffer", False), bool, "isBuffer")
        tensor = table.get(_integer(parameter.get("tensorId"), "the number of a tensor"))
        _add(state["_buffers" if is_buffer else "_parameters"], _name(parameter), tensor)
    for item in _items(message, "attributes"):
        attribute = _message(item, "an attribute")
        name = _name(attribute)
        number = _integer(attribute.get("id"), "the number of an attribute")
        if name not in state["_buffers"]:  # buffers may be listed again
            _add(state, name, None if number < 0 else _attribute(attributes, number))
    if "getStateAttributeId" in message:
        # What the code of `__setstate__` would be given.
        number = _integer(message["getStateAttributeId"], "the number of a state")
        _add(state, "__getstate__", _attribute(attributes, number))
    return state


def _attribute(attributes: tuple[Any, ...], number: int) -> Any:
    if not 0 <= number < len(attributes):
        raise FormatError(f"there is no attribute {number} among {len(attributes)}", record=MODEL)
    return attributes[number]


def _add(target: dict[str, Any], name: str, value: object) -> None:
    if name in target:
        raise FormatError(f"a module has two attributes {name[:80]!r}", record=MODEL)
    target[name] = value


# JSON of protobuf


def _message(value: object, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise FormatError(f"{what} is no JSON object", record=MODEL)
    return value


def _items(message: dict[str, Any], name: str) -> list[Any]:
    value = message.get(name, [])
    if type(value) is not list:
        raise FormatError(f"{name} is no JSON list", record=MODEL)
    return value


def _name(message: dict[str, Any]) -> str:
    value = message.get("name", "")
    if type(value) is not str:
        raise FormatError("a name is no text", record=MODEL)
    return value


def _integer(value: object, what: str) -> int:
    if type(value) is int:
        return value
    if type(value) is str and len(value) <= _INTEGER_DIGITS and value.removeprefix("-").isascii():
        digits = value.removeprefix("-")
        if digits.isdigit():
            return int(value)
    raise FormatError(f"{what} is {value!r:.40}, which is no integer", record=MODEL)

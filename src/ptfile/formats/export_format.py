"""torch.export files (`.pt2`): the weights and constants of an exported program; the program itself is left alone.

2.1 to 2.8    `serialized_state_dict.pt` and `serialized_constants.pt`, which are files of torch.save themselves
              (2.1 called the first one `.json`), at the top of a plain zip file
2.9 and later `data/weights/` and `data/constants/`: raw bytes, and for each model a `…_config.json` that says
              which tensors lie in them (torch/export/pt2_archive/_package.py, PayloadConfig in schema.py)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import FormatError, TensorError, UnsupportedError, located
from ptfile.formats.opening import EXPORTED_PROGRAM
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.storages import STORAGE_CLASSES, UNTYPED_STORAGE, LoadedStorages, MapLocation
from ptfile.formats.torchscript_format import TorchScriptReader
from ptfile.formats.zip_format import ZipFormatReader
from ptfile.formats.zip_records import ZipRecords
from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import DType
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.tensor import Tensor

_T = TypeVar("_T")

_MODEL = re.compile(r"models/(.+)\.json")
_SAVED = {
    "state_dict": ("serialized_state_dict.pt", "serialized_state_dict.json"),
    "constants": ("serialized_constants.pt", "serialized_constants.json"),
}
_STRIDED = 7  # Layout.Strided in torch/_export/serde/schema.py
_DTYPES: Mapping[int, DType] = {
    1: dtypes.uint8,
    2: dtypes.int8,
    3: dtypes.int16,
    4: dtypes.int32,
    5: dtypes.int64,
    6: dtypes.float16,
    7: dtypes.float32,
    8: dtypes.float64,
    9: dtypes.complex32,
    10: dtypes.complex64,
    11: dtypes.complex128,
    12: dtypes.bool,
    13: dtypes.bfloat16,
    28: dtypes.uint16,
    29: dtypes.float8_e4m3fn,
    30: dtypes.float8_e5m2,
    31: dtypes.float8_e4m3fnuz,
    32: dtypes.float8_e5m2fnuz,
    33: dtypes.float8_e8m0fnu,
    34: dtypes.uint32,
    35: dtypes.uint64,
}
"""ScalarType in torch/_export/serde/schema.py."""


class ExportReader:
    """An exported program, open. Its value is `{"state_dict": {name: tensor}, "constants": {name: value}}`.

    A file with several programs, or one that is not called `model`, gives such a dict for each by its name.
    """

    format = "export"

    def __init__(self, records: ZipRecords) -> None:
        self._records = records
        self._inner: list[ZipFormatReader | ZipRecords] = []

    def load(self, runner: PickleRunner, map_location: MapLocation) -> dict[str, Any]:
        """The weights and constants, with storages that have read nothing yet.

        Raises FormatError, TensorError for sizes that the bytes contradict, UnsafeError, LimitError; UnsupportedError
        for packages of compiled code.
        """
        records = self._records
        with located(file=records.source.name):
            if EXPORTED_PROGRAM in records:
                return {part: self._saved_part(names, runner, map_location) for part, names in _SAVED.items()}
            models = [found[1] for name in records.names if (found := _MODEL.fullmatch(name))]
            if not models:
                fix = "Load it with torch._inductor.aoti_load_package"
                raise UnsupportedError("a package without exported programs, of compiled code perhaps", fix=fix)
            folders = {part: _Folder(self, part, runner, map_location) for part in ("weights", "constants")}
            programs = {
                model: {"state_dict": folders["weights"].load(model), "constants": folders["constants"].load(model)}
                for model in models
            }
            return programs["model"] if models == ["model"] else programs

    def storages(self) -> Sequence[Storage]:
        """The storages that the value asked for; those of files inside the file last."""
        return [storage for records in (self._records, *self._inner) for storage in records.storages()]

    def announce(self) -> None:
        """Say to a source far away that they are all going to be read, in that order."""
        for records in (self._records, *self._inner):
            records.announce()

    def fill(self) -> None:
        """Read them all, in that order."""
        self._records.fill()
        for inner in self._inner:
            inner.fill()

    def about(self) -> dict[str, str]:
        """What the file says about itself."""
        return self._records.about()

    def _saved_part(self, names: tuple[str, ...], runner: PickleRunner, map_location: MapLocation) -> dict[str, Any]:
        """The dict in the first of these records; 2.1 had no constants, and nothing is written for None."""
        name = next((name for name in names if name in self._records and self._records.size(name)), None)
        return {} if name is None else self.saved_dict(name, runner, map_location)

    def saved_dict(self, name: str, runner: PickleRunner, map_location: MapLocation) -> dict[str, Any]:
        """The dict that torch.save wrote into a record. Raises FormatError if it is something else."""
        value = self.saved(name, runner, map_location)
        if not isinstance(value, dict):
            raise FormatError(f"it holds a {type(value).__name__} instead of a dict of tensors", record=name)
        return value

    def saved(self, name: str, runner: PickleRunner, map_location: MapLocation) -> Any:
        """What torch.save wrote into a record."""
        reader = ZipFormatReader(self._zip_inside(name))
        self._inner.append(reader)
        return reader.load(runner, map_location)

    def _zip_inside(self, name: str) -> ZipRecords:
        limits = self._records.limits
        return ZipRecords(ZipReader(self._records.part(name), limits), limits)

    def script_object(self, name: str, runner: PickleRunner, map_location: MapLocation) -> Any:
        """An object of TorchScript, which PyTorch wrote into a record by its pickler in C++."""
        inner = self._zip_inside(name)
        self._inner.append(inner)
        return TorchScriptReader(inner).load(runner, map_location)


class _Folder:
    """`data/weights/` or `data/constants/`: raw bytes, and what lies in them."""

    def __init__(self, reader: ExportReader, part: str, runner: PickleRunner, map_location: MapLocation) -> None:
        self._reader = reader
        self._records = reader._records  # noqa: SLF001  (its other half)
        self._part = part
        self._runner = runner
        self._map_location = map_location
        self._storages = LoadedStorages(self._make, map_location)
        self._objects: dict[str, Any] = {}  # by the names of their records: a config may name one any number of times

    def load(self, model: str) -> dict[str, Any]:
        """The tensors and other values of a model, by name."""
        old = self._place(f"{model}.pt")
        if old in self._records:
            return self._reader.saved_dict(old, self._runner, self._map_location)
        name = self._place(f"{model}_{self._part}_config.json")
        with located(record=name):
            config = _field(self._records.json(name), "config", dict)
            return {key: self._value(_field(config, key, dict)) for key in config}

    def _value(self, meta: dict[str, Any]) -> Any:
        path = _field(meta, "path_name", str)
        if not _field(meta, "use_pickle", bool):
            return self._tensor(path, _field(meta, "tensor_meta", dict), is_param=_field(meta, "is_param", bool))
        if path not in self._objects:
            self._objects[path] = self._object(path)
        return self._objects[path]

    def _object(self, path: str) -> Any:
        name = self._place(path)
        if path.startswith("custom_obj_"):
            return self._reader.script_object(name, self._runner, self._map_location)
        if path.startswith("opaque_obj_"):
            return self._records.pickle(name, self._runner, _no_storage)
        return self._reader.saved(name, self._runner, self._map_location)

    def _tensor(self, path: str, meta: dict[str, Any], *, is_param: bool) -> Tensor:
        code, layout = _field(meta, "dtype", int), _field(meta, "layout", int)
        dtype = _DTYPES.get(code)
        if dtype is None or layout != _STRIDED:
            raise UnsupportedError(f"a tensor of dtype {code} and layout {layout} in torch.export's numbers")
        numel, rest = divmod(self._records.size(self._place(path)), dtype.itemsize)
        if rest:
            raise TensorError(f"the bytes of {path} are no whole number of elements of {dtype}")
        storage = self._storage(path, dtype, _device(_field(meta, "device", dict)), numel)
        shape = tuple(_number(size) for size in _field(meta, "sizes", list))
        stride = tuple(_number(step) for step in _field(meta, "strides", list))
        offset = _number(meta.get("storage_offset"))
        grad = _field(meta, "requires_grad", bool)
        tensor = Tensor(storage, dtype, offset, shape, stride, grad and not is_param)
        return Parameter(tensor, grad) if is_param else tensor

    def _storage(self, key: str, dtype: DType, device: str, numel: int) -> Storage:
        if dtype.storage_class is None:
            storage = self._storages.load(("storage", UNTYPED_STORAGE, key, device, numel * dtype.itemsize))
        else:
            storage = self._storages.load(("storage", STORAGE_CLASSES[dtype.storage_class], key, device, numel))
        return storage.storage if isinstance(storage, TypedStorage) else storage

    def _make(self, key: str, nbytes: int, dtype: DType | None) -> Storage:
        return self._records.storage(self._place(key), nbytes, dtype)

    def _place(self, name: str) -> str:
        return f"data/{self._part}/{name}"


def _no_storage(_persistent_id: object) -> object:
    raise FormatError("a plain pickle refers to a storage")


def _field(message: dict[str, Any], name: str, kind: type[_T]) -> _T:
    """A field of a JSON object. Raises FormatError if it is missing or of another type."""
    value = message.get(name) if type(message) is dict else None
    if type(value) is not kind:
        raise FormatError(f"{name} is no {kind.__name__}")
    return value


def _number(value: object) -> int:
    """SymInt: weights have no symbolic sizes."""
    if type(value) is dict and value.keys() == {"as_int"} and type(value["as_int"]) is int:
        return value["as_int"]
    raise FormatError(f"a size, a stride or an offset is {value!r:.60} instead of an integer")


def _device(message: dict[str, Any]) -> str:
    kind, index = _field(message, "type", str), message.get("index")
    if index is None:
        return kind
    return f"{kind}:{_field(message, 'index', int)}"

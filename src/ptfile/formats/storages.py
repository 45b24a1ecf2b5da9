"""Persistent ids: how a storage is named in a pickle and found again in the file.

`("storage", <class>, key, location, numel)`: the class says how wide an element is, the key names the record,
`location` is the device tag and `numel` counts elements of the class (bytes for `torch.storage.UntypedStorage`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ptfile._types import Buffer
from ptfile.errors import FormatError, TensorError, UnsafeError, UnsupportedError, brief
from ptfile.machine.names import Global
from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage, TypedStorage

MapLocation: TypeAlias = "Callable[[Storage, str], Storage | None] | Mapping[str, str] | str | None"
"""Where loaded storages go, as in PyTorch: one device tag for all, a mapping from tag to tag, or a function of the
storage and its tag that returns a storage (or None: leave it)."""

UNTYPED_STORAGE = Global("torch.storage", "UntypedStorage")
STORAGE_CLASSES: Mapping[str, Global] = {name: Global("torch", name) for name in dtypes.BY_STORAGE_CLASS}
DTYPES = {id(name): dtypes.BY_STORAGE_CLASS[short] for short, name in STORAGE_CLASSES.items()}
"""By identity, since there is one object for each name: to compare names takes longer than all else."""
KEY = re.compile(r"[0-9A-Za-z_]{1,64}")
_TEXT = re.compile(
    r"\('storage', <class 'torch(?:\.storage)?\.(?P<name>[A-Z]\w{1,20}Storage)'>, "
    r"'(?P<key>\w{1,64})', '(?P<location>[\w:]{1,100})', (?P<numel>\d{1,19})\)"
)
"""A persistent id in a pickle of protocol 0, which has room only for text. PyTorch writes it and cannot read it."""


class StoragesToSave(Protocol):
    """What a format asks of the storages that a pickler meets, be they ptfile's or a framework's."""

    @property
    def storages(self) -> Sequence[Any]:
        """In the order of first meeting; their keys are their numbers. Each has `nbytes()`."""

    def persistent_id(self, obj: Any) -> Any:
        """What stands in the pickle for a storage; None for any other object."""

    def payload(self, storage: Any) -> Buffer:
        """The bytes of a storage."""

    def forget(self) -> None:
        """Begin anew: the pickle is given up."""


class SavedStorages:
    """The storages that a pickler meets, in the order of first meeting; each gets the next number as its key."""

    def __init__(self) -> None:
        self._foreign = _torch_storage_classes()
        self._kinds = _OWN_KINDS | self._foreign
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.storages: list[Storage] = []
        self._keys: dict[int, str] = {}
        self._dtype: DType | None = None
        """What all storages so far are saved as."""
        self._dtypes: dict[int, DType] = {}
        """By place in memory, as soon as there are two."""

    def persistent_id(self, obj: object) -> tuple[str, Global, str, str, int] | None:
        """What stands in the pickle for a storage; None for any other object.

        Raises TensorError for memory that is saved as two dtypes, which PyTorch could not load.
        """
        # This is called for every single object that is saved.
        kind = type(obj)
        if kind not in self._kinds:
            return None
        if kind is TypedStorage:
            assert isinstance(obj, TypedStorage)
            return self.name(obj.storage, obj.dtype, obj.numel())
        if kind is Storage:
            assert isinstance(obj, Storage)
            return self.name(obj, None, obj.nbytes())
        if kind is type and obj.__module__.startswith("ptfile."):
            problem = f"the class {obj.__name__} itself has no name in PyTorch's format"  # type: ignore[attr-defined]
            raise UnsupportedError(problem, fix="Save the name as text")
        if kind in self._foreign:
            problem = "a torch.Tensor is not ptfile's to save"
            raise UnsupportedError(
                problem, fix="Save tensors of PyTorch with ptfile.torch.save or torch.save, or convert them first"
            )
        return None

    def payload(self, storage: Storage) -> Buffer:
        """The bytes of a storage, read now if they have not been."""
        return storage.data.data

    def name(self, storage: Storage, dtype: DType | None, numel: int) -> tuple[str, Global, str, str, int]:
        """The persistent id of a storage whose elements are of a dtype, or are bytes."""
        self._check_dtype(storage, dtype or dtypes.uint8)
        key = self._keys.get(id(storage))
        if key is None:
            key = self._keys[id(storage)] = str(len(self._keys))
            self.storages.append(storage)
        if dtype is None:
            return ("storage", UNTYPED_STORAGE, key, storage.device, numel)
        if dtype.storage_class is None:
            problem = f"a TypedStorage of {dtype} has no name in PyTorch's format"
            raise UnsupportedError(problem, fix="Save its untyped() storage, or a tensor")
        return ("storage", STORAGE_CLASSES[dtype.storage_class], key, storage.device, numel)

    def _check_dtype(self, storage: Storage, dtype: DType) -> None:
        if storage.nbytes() == 0:
            return
        if self._dtype is None:
            self._dtype = dtype
        if not self._dtypes:
            if dtype is self._dtype:  # as nearly always; to look at places takes as long as all the rest
                return
            self._dtypes = {_place(met): self._dtype for met in self.storages if met.nbytes()}
        if self._dtypes.setdefault(_place(storage), dtype) is not dtype:
            first = self._dtypes[_place(storage)]
            problem = f"the same memory is saved as {first} and as {dtype}, which PyTorch cannot load"
            raise TensorError(problem, fix="Clone one of the tensors first")


def _place(storage: Storage) -> int:
    """What storages in the same memory have in common. One that is not read shares its bytes with no other."""
    return storage.data_ptr() if storage.is_loaded else -id(storage)


_OWN_KINDS = frozenset({TypedStorage, Storage, type})


def _torch_storage_classes() -> frozenset[type]:
    torch = sys.modules.get("torch")  # if it was never imported, there can be none of its objects
    return frozenset() if torch is None else frozenset({torch.UntypedStorage, torch.TypedStorage})


_META = "meta"


def failing_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """A caller's function which, once it has failed, is not called again: it fails as it did.

    A pickle that was proved harmless, and then fails, is run again by the machine.
    """
    errors: list[Exception] = []

    def call(*arguments: Any) -> Any:
        if errors:
            raise errors[0]
        try:
            return function(*arguments)
        except Exception as error:
            errors.append(error)
            raise

    return call


class LoadedStorages:
    """The storages that a pickle asks for, each made once."""

    def __init__(self, make: Callable[[str, int, DType | None], Storage], map_location: MapLocation) -> None:
        """`make(key, nbytes, dtype)` gives a storage on `cpu`; dtype is None for untyped ones."""
        self._make = make
        self._map_location = failing_once(map_location) if callable(map_location) else map_location
        self._by_key: dict[str, tuple[Storage, DType | None]] = {}
        self._typed: dict[tuple[str, DType], TypedStorage] = {}

    def load(self, persistent_id: object) -> Storage | TypedStorage:
        """What a persistent id stands for."""
        dtype, key, location, numel = parse(persistent_id)
        storage = self.find(dtype, key, location, numel)
        if dtype is None:
            return storage
        typed = self._typed.get((key, dtype))
        if typed is None:
            typed = self._typed[key, dtype] = TypedStorage(storage, dtype)
        return typed

    def find(self, dtype: DType | None, key: str, location: str, numel: int) -> Storage:
        """The storage that the parts of a persistent id stand for, as `parse` gives them."""
        nbytes = numel * (dtype.itemsize if dtype else 1)
        known = self._by_key.get(key)
        if known is None:
            storage = self._make(key, nbytes, dtype)
            if self._map_location is None and location != _META:
                storage.device = location
                self._by_key[key] = storage, dtype
                return storage
            known = self._by_key[key] = (place(storage, location, self._map_location), dtype)
        storage, first_dtype = known
        # An untyped storage and one of uint8 are the same to PyTorch, as are all that hold nothing.
        same = (first_dtype or dtypes.uint8) is (dtype or dtypes.uint8)
        if storage.nbytes() != nbytes or not (same or nbytes == 0):
            raise TensorError(f"storage {key} is asked for with two types or sizes")
        return storage


def place(storage: Storage, location: str, target: MapLocation) -> Storage:
    """A storage that was just made, or what `map_location` says shall stand for it. `location`: the file's tag."""
    storage.device = location
    if callable(target):
        placed: object = target(storage, location)
        if placed is not None and not isinstance(placed, Storage):
            message = f"the map_location function returned a {type(placed).__name__}, not a storage or None"
            raise TypeError(message)
        if placed is not None and placed.nbytes() != storage.nbytes():
            problem = f"the map_location function returned {placed.nbytes()} bytes for a storage of {storage.nbytes()}"
            raise TensorError(problem)
        storage = storage if placed is None else placed
    elif isinstance(target, Mapping):
        storage.device = str(target.get(location, location))
    elif target is not None:
        storage.device = str(target)
    # The meta device has no memory: what goes there has a size and no bytes.
    return Storage.meta(storage.nbytes()) if storage.device == _META else storage


def parse(persistent_id: object) -> tuple[DType | None, str, str, int]:
    """The dtype of the elements (None: bytes), the key, the location and the number of elements."""
    text = _TEXT.fullmatch(persistent_id) if type(persistent_id) is str else None
    if text is not None:
        storage_class = STORAGE_CLASSES.get(text["name"], UNTYPED_STORAGE)
        persistent_id = ("storage", storage_class, text["key"], text["location"], int(text["numel"]))
    if type(persistent_id) is not tuple or len(persistent_id) != 5 or not _is_text(persistent_id[0], "storage"):
        raise FormatError("a persistent id is not of the form ('storage', class, key, location, numel)")
    _, storage_class, key, location, numel = persistent_id
    if not isinstance(storage_class, Global):
        raise FormatError("a persistent id does not name a storage class")
    if type(key) is not str or not KEY.fullmatch(key):
        raise FormatError(f"{brief(key)} cannot be the key of a storage")
    if type(location) is not str:
        raise FormatError("a persistent id has a location that is no text")
    if type(numel) is not int or not 0 <= numel < 1 << 63:
        raise TensorError(f"storage {key} has {brief(numel)} elements, which is not a count")
    return _dtype_of(storage_class), key, location, numel


def _is_text(value: object, text: str) -> bool:
    return type(value) is str and value == text  # what is no text may have an idea of its own of being equal


def _dtype_of(storage_class: Global) -> DType | None:
    known = DTYPES.get(id(storage_class))
    if known is not None:
        return known
    if storage_class == UNTYPED_STORAGE or str(storage_class) == "torch.UntypedStorage":
        return None
    is_known = storage_class.module in ("torch", "torch.cuda")  # the latter in very old files
    dtype = dtypes.BY_STORAGE_CLASS.get(storage_class.name) if is_known else None
    if dtype is None:
        raise UnsafeError(f"a persistent id names {storage_class}, which is no storage", name=str(storage_class))
    return dtype

"""The tar format: what `torch.save` of PyTorch 0.1 wrote. It is only read; PyTorch itself no longer writes it.

Four members: `sys_info`; `storages` and `tensors`, in which small pickles and raw numbers alternate; and `pickle`, the
object, whose persistent ids are the keys of tensors and storages in decimal.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from ptfile.containers.tar_reader import Member, read_members
from ptfile.errors import FormatError, UnsupportedError, located
from ptfile.formats.legacy_ids import view_of, with_source_code
from ptfile.formats.pickle_sequence import PickleSequence
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.ranges import Ranges, about, check_little_endian_machine, little_endian
from ptfile.formats.storages import STORAGE_CLASSES, LoadedStorages, MapLocation
from ptfile.limits import Limits
from ptfile.machine.names import Global
from ptfile.machine.policy import Meaning
from ptfile.sources import Source, announce
from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage, TypedStorage
from ptfile.tensors.tensor import Tensor

DIMENSIONS = struct.Struct("<i4x")
"""Their number; the four bytes behind it were never meant and can hold anything."""
MOST_DIMENSIONS = 64
COUNT_SIZE = 8
_KEY = re.compile(r"[0-9]{1,20}")

_TENSOR_CLASSES = {name.replace("Storage", "Tensor"): name for name in STORAGE_CLASSES}
_MODULES = ("torch", "torch.cuda")
NAMES = {(module, name): Meaning() for module in _MODULES for name in (*STORAGE_CLASSES, *_TENSOR_CLASSES)}
"""The classes of tensors and storages, as names: nothing else is in the small pickles but numbers and texts."""


class TarFormatReader:
    """A tar-format file, open."""

    format = "tar"

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._ranges = Ranges(source)
        self._objects: dict[int, Tensor | TypedStorage] = {}  # by key
        self._unread: list[Storage] = []
        self._roots: dict[int, tuple[Storage, int]] = {}  # of views, by the identity of their storage
        with located(file=source.name):
            check_little_endian_machine()
            self._members = read_members(source, limits)
            with located(record="sys_info"):
                sys_info = self._sequence("sys_info").next().plain()
                if not little_endian(sys_info):
                    raise UnsupportedError("a tar file written on a big-endian machine")
                self._about = about(sys_info)

    def load(self, runner: PickleRunner, map_location: MapLocation) -> Any:
        """The value, with storages that have read nothing yet."""
        return self.run(runner, map_location, self._persistent)

    def run(self, runner: PickleRunner, map_location: MapLocation, load_persistent: Callable[[Any], Any]) -> Any:
        """The value, with whatever `load_persistent` makes of persistent ids; `find` knows most of them."""
        with located(file=self._source.name):
            with located(record="storages"):
                self._load_storages(map_location)
            with located(record="tensors"):
                self._load_tensors()
            with located(record="pickle"):
                sequence = self._sequence("pickle")
                value = sequence.next().run(lambda data: runner.run(data, load_persistent))
                _check_end(sequence)
                return value

    def find(self, key: object) -> Tensor | TypedStorage:
        """The tensor or storage that a persistent id names. Raises FormatError."""
        if type(key) is bytes:  # text of Python 2 with encoding='bytes'
            key = key.decode("latin1")
        if type(key) is not str or not _KEY.fullmatch(key):
            raise FormatError("a persistent id is neither a key nor a class")
        found = self._objects.get(int(key))
        if found is None:
            raise FormatError(f"there is no tensor or storage with the key {key}")
        return found

    def root_of(self, storage: Storage) -> tuple[Storage, int]:
        """The storage that one is a view of, and where it begins in its bytes; itself if it is no view."""
        return self._roots.get(id(storage), (storage, 0))

    @property
    def end(self) -> int:
        """Where the object's pickle ends, from the start of the file."""
        member = self._member("pickle")
        return member.offset + member.size

    def storages(self) -> Sequence[Storage]:
        """All storages in the order of the file, and then those that show parts of them."""
        return self._unread

    def fill(self) -> None:
        """Read them all, in that order."""
        storages = self._member("storages")
        announce(self._source, [(storages.offset, storages.offset + storages.size)])
        for storage in self._unread:
            storage.load()

    def about(self) -> dict[str, str]:
        """What the file says about the machine that wrote it."""
        return dict(self._about)

    def _member(self, name: str) -> Member:
        if name not in self._members:
            raise FormatError(f"a tar file without {name}, so no checkpoint of PyTorch")
        return self._members[name]

    def _sequence(self, name: str) -> PickleSequence:
        member = self._member(name)
        return PickleSequence(self._source, self._limits, member.offset, member.offset + member.size)

    def _load_storages(self, map_location: MapLocation) -> None:
        sequence = self._sequence("storages")

        def make(_key: str, nbytes: int, dtype: DType | None) -> Storage:
            offset = sequence.position
            sequence.skip(nbytes)

            def read(start: int = 0, stop: int = nbytes) -> Any:
                with located(file=self._source.name, record="storages"):
                    return self._ranges.elements(offset + start, stop - start, dtype)

            storage = Storage.deferred(nbytes, read, fetch_range=read)
            self._unread.append(storage)
            return storage

        storages = LoadedStorages(make, map_location)
        for _ in range(_count(sequence)):
            entry = sequence.next().plain(NAMES)
            # The very first layout had no locations.
            with_location = (entry[0], "cpu", entry[1]) if _is_tuple(entry, 2) else entry
            if not _is_tuple(with_location, 3):
                raise FormatError("an entry is not (key, location, class)")
            key, location, kind = with_location
            numel = int.from_bytes(sequence.take(COUNT_SIZE), "little", signed=True)
            typed = storages.load(("storage", kind, str(_checked_key(key)), location, numel))
            assert isinstance(typed, TypedStorage)  # there were no untyped ones, and their name is not among NAMES
            self._add(key, typed)
        if sequence.rest:  # nor had it views
            self._load_views(sequence.next().plain())
        _check_end(sequence)

    def _load_views(self, views: object) -> None:
        if type(views) is not list or not all(_is_tuple(view, 4) for view in views):
            raise FormatError("the views are not a list of (key, key of the root, offset, size)")
        for key, root_key, offset, size in views:
            root = self._storage(root_key)
            storage = view_of(root, offset, size)
            self._roots[id(storage)] = (root.storage, offset * root.dtype.itemsize)
            self._add(_checked_key(key), TypedStorage(storage, root.dtype))
            self._unread.append(storage)

    def _load_tensors(self) -> None:
        sequence = self._sequence("tensors")
        for _ in range(_count(sequence)):
            entry = sequence.next().plain(NAMES)
            if not _is_tuple(entry, 3):
                raise FormatError("an entry is not (key, key of the storage, class)")
            key, storage_key, kind = entry
            if isinstance(storage_key, Global):  # the very first layout
                storage_key, kind = kind, storage_key
            storage = _empty(kind) if storage_key is None else self._storage(storage_key)
            self._add(_checked_key(key), _tensor(storage, sequence))
        _check_end(sequence)

    def _add(self, key: int, made: Tensor | TypedStorage) -> None:
        if key in self._objects:
            raise FormatError(f"the key {key} is there twice")
        self._objects[key] = made

    def _storage(self, key: object) -> TypedStorage:
        storage = self._objects.get(key) if type(key) is int else None
        if not isinstance(storage, TypedStorage):
            raise FormatError(f"there is no storage with the key {key!r:.80}")
        return storage

    def _persistent(self, persistent_id: object) -> Any:
        if _is_tuple(persistent_id, 3):
            return with_source_code(*persistent_id)  # type: ignore[misc]
        return self.find(persistent_id)


def _count(sequence: PickleSequence) -> int:
    count = sequence.next().plain()
    if type(count) is not int or count < 0:
        raise FormatError("it does not begin with a number of entries")
    return count


def _check_end(sequence: PickleSequence) -> None:
    if sequence.rest:
        raise FormatError(f"{sequence.rest} bytes follow the last entry")


def _is_tuple(value: object, length: int) -> bool:
    return type(value) is tuple and len(value) == length


def _checked_key(key: object) -> int:
    if type(key) is not int or not _KEY.fullmatch(str(key)):
        raise FormatError(f"{key!r:.80} cannot be the key of a tensor or storage")
    return key


def _empty(kind: object) -> TypedStorage:
    """The storage of a tensor that has none."""
    name = kind.name if isinstance(kind, Global) else ""
    if name not in _TENSOR_CLASSES:
        raise FormatError("the class of a tensor is not one")
    return TypedStorage(Storage(b""), dtypes.BY_STORAGE_CLASS[_TENSOR_CLASSES[name]])


def _tensor(storage: TypedStorage, sequence: PickleSequence) -> Tensor:
    (rank,) = DIMENSIONS.unpack(sequence.take(DIMENSIONS.size))
    if not 0 <= rank <= MOST_DIMENSIONS:
        raise FormatError(f"a tensor has {rank} dimensions")
    numbers = struct.unpack(f"<{2 * rank + 1}q", sequence.take(8 * (2 * rank + 1)))
    shape, stride, offset = numbers[:rank], numbers[rank:-1], numbers[-1]
    if not rank and not storage.nbytes():
        # PyTorch 0.1 had no tensors of one element and no dimension; this was how it said "empty".
        shape, stride, offset = (0,), (1,), 0
    return Tensor(storage.storage, storage.dtype, offset, shape, stride)

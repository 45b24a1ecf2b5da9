"""The legacy format: what `torch.save` wrote before PyTorch 1.6.

Four pickles (a magic number, the version, facts of the machine, the object), then one with the list of the storages'
keys, and per key the count of its elements and the elements. Any number of checkpoints may follow one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ptfile._lazy import np
from ptfile.containers.sniff import LEGACY_MAGIC
from ptfile.errors import FormatError, TensorError, UnsupportedError, located
from ptfile.formats.legacy_ids import LoadedIds
from ptfile.formats.pickle_sequence import CutPickle, PickleSequence
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.ranges import Ranges, about, check_little_endian_machine, little_endian
from ptfile.formats.storages import LoadedStorages, MapLocation
from ptfile.formats.vocabulary import torch_names
from ptfile.limits import Limits
from ptfile.machine.policy import Policy
from ptfile.machine.vm import Machine, Python2Text
from ptfile.sources import FileObjectSource, Source, StreamSource, announce
from ptfile.sources.base import cut_off
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

if TYPE_CHECKING:
    import numpy.typing as npt

PROTOCOL_VERSION = 1001
"""torch/serialization.py, PROTOCOL_VERSION."""
COUNT_SIZE = 8
"""Bytes of the number of elements before a storage."""
_STORAGE_NAMES = {name: meaning for name, meaning in torch_names().items() if name[1].endswith("Storage")}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a persistent id says about a storage."""

    nbytes: int
    dtype: DType | None


class UnknownVersionError(UnsupportedError):
    """A legacy file of a version that no PyTorch ever wrote."""

    def __init__(self, version: object) -> None:
        super().__init__(f"it has version {version!r:.40} of the legacy format; PyTorch reads 1001 only")
        self.version = version


class LegacyFormatReader:
    """A legacy file, open."""

    format = "legacy"

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._ranges = Ranges(source)
        self._pickles = PickleSequence(source, limits)
        self._asked: dict[str, _Asked] = {}
        self._storages: dict[str, Storage] = {}
        self._places: dict[str, int] | None = None  # known behind the object's pickle
        self._arrived: dict[str, npt.NDArray[np.uint8]] = {}  # off a stream, which cannot go back to them
        self._views: list[Storage] = []
        self._start = self._end = 0  # of the storages
        with located(file=source.name):
            check_little_endian_machine()
            self._is_little_endian = self._read_head()
            self._object: CutPickle = self._pickles.next()

    def load(self, runner: PickleRunner, map_location: MapLocation) -> Any:
        """The value, with storages that have read nothing yet."""
        ids = LoadedIds(LoadedStorages(self._deferred, map_location))
        value = self.run(runner, ids.load)
        self.keys()
        self._views = ids.views
        return value

    def storages(self) -> Sequence[Storage]:
        """All storages in the order of the file, and then those that show parts of them."""
        return [*(self._storages[key] for key in self.keys()), *self._views]

    def announce(self) -> None:
        """Say to a source far away that they are all going to be read, in that order."""
        self.keys()  # behind which they begin
        announce(self._source, [(self._start, self._end)])

    def fill(self) -> None:
        """Read them all, in that order, and leave a file object's position behind the checkpoint."""
        self.announce()
        for storage in self.storages():
            storage.load()
        self.leave(behind_storages=True)

    # for a framework, which makes storages of its own

    @property
    def size(self) -> int:
        """Bytes of the source: no storage has more."""
        return self._source.size

    @property
    def end(self) -> int:
        """Where the last storage ends, as far as it is known."""
        return self._end

    def run(self, runner: PickleRunner, load_persistent: Callable[[Any], Any]) -> Any:
        """The value, with whatever `load_persistent` makes of the persistent ids. It has to `ask` for each storage."""
        with located(file=self._source.name):
            return self._object.run(lambda data: runner.run(data, load_persistent))

    def ask(self, key: str, nbytes: int, dtype: DType | None) -> None:
        """Say that a persistent id names a storage; dtype is None for an untyped one.

        Raises UnsupportedError for what cannot be read rightly.
        """
        if not self._is_little_endian and nbytes and (dtype is None or dtype.is_complex):
            # Elements are little-endian in any file, since PyTorch swaps them; but it swaps complex numbers as if they
            # were integers, and untyped bytes not at all (THPStorage_writeFileRaw, torch/csrc/serialization.cpp).
            raise UnsupportedError(f"a storage of {dtype or 'untyped bytes'} written on a big-endian machine")
        self._asked[key] = _Asked(nbytes, dtype)

    def mentions(self, *names: bytes) -> bool:
        """Whether any of these stands in the object's pickle, as part of a name or of a text."""
        return any(name in self._object.data for name in names)

    def keys(self) -> Sequence[str]:
        """The keys of the storages that were asked for, in the order of the file. Raises FormatError."""
        with located(file=self._source.name):
            return list(self._find_places(self._asked))

    def read_into(self, key: str, target: npt.NDArray[np.uint8]) -> None:
        """Fill an array with the bytes of a storage. Those of a stream are there in the order of the keys.

        It may be called before the object's pickle is through: that is then run once more, for the places.
        """
        with located(file=self._source.name):
            place = self._place(key)
            if key in self._arrived:
                target[:] = self._arrived[key]
            else:
                self._ranges.read_into(place + COUNT_SIZE, target)

    def leave(self, *, behind_storages: bool) -> None:
        """Put a file object's position behind the checkpoint, or before the bytes of its storages."""
        if isinstance(self._source, FileObjectSource):
            self._source.leave_at(self._end if behind_storages else self._start)

    def about(self) -> dict[str, str]:
        """What the file says about the machine that wrote it."""
        return dict(self._about)

    def check_counts(self) -> None:
        """Hold the counts before all storages against what the pickle says, and read nothing else of them.

        Raises TensorError, and FormatError where the file ends before them. For after `load`.
        """
        assert self._places is not None
        announce(self._source, ((place, place + COUNT_SIZE) for place in self._places.values()))
        with located(file=self._source.name):
            for key, place in self._places.items():
                self._check_count(key, self._ranges.number(place, COUNT_SIZE), place)

    def _read_head(self) -> bool:
        """Check the first three pickles. Returns whether a little-endian machine wrote the file."""
        if self._pickles.next().plain() != LEGACY_MAGIC:
            raise FormatError("it does not begin with the magic number of the legacy format")
        version = self._pickles.next().plain()
        if version != PROTOCOL_VERSION:
            raise UnknownVersionError(version)
        sys_info = self._pickles.next().plain()
        is_little_endian = little_endian(sys_info)
        self._about = about(sys_info)
        return is_little_endian

    # storages

    def _deferred(self, key: str, nbytes: int, dtype: DType | None) -> Storage:
        self.ask(key, nbytes, dtype)
        storage = self._storages[key] = Storage.deferred(
            nbytes,
            lambda: self._read(key),
            fetch_range=None if isinstance(self._source, StreamSource) else partial(self._read, key),
            will_read=lambda runs: self._ranges.will_read(self._place(key) + COUNT_SIZE, runs),
        )
        return storage

    def _read(self, key: str, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8]:
        with located(file=self._source.name):
            place = self._place(key)
            if key in self._arrived:
                return self._arrived.pop(key)
            asked = self._asked[key]
            nbytes = (asked.nbytes if stop is None else stop) - start
            return self._ranges.elements(place + COUNT_SIZE + start, nbytes, asked.dtype)

    def _place(self, key: str) -> int:
        """Where the count of a storage's elements is, which is checked unless it has arrived."""
        places = self._places or self._look_ahead()
        if key not in places:
            raise FormatError(f"storage {key} is in the object's pickle and not in the list of keys")
        place = places[key]
        if key not in self._arrived:
            self._check_count(key, self._ranges.number(place, COUNT_SIZE), place)
        return place

    def _check_count(self, key: str, raw: bytes, place: int) -> None:
        asked = self._asked[key]
        expected = asked.nbytes // (asked.dtype.itemsize if asked.dtype else 1)
        counts = {int.from_bytes(raw, "little")}
        if not self._is_little_endian:  # big-endian up to PyTorch 1.0
            counts.add(int.from_bytes(raw, "big"))
        if expected not in counts:
            problem = f"storage {key} has {min(counts)} elements, and the pickle asks for {expected}"
            raise TensorError(problem, offset=place)

    def _look_ahead(self) -> dict[str, int]:
        """Where the storages are, for those who want their bytes before the object's pickle is through.

        Builders of some objects do (a nested tensor's sizes are a tensor), as may a `map_location` of the user's. The
        places follow from what all persistent ids say, so the pickle is run once more for these alone.
        """
        asked: dict[str, _Asked] = {}

        def note(key: str, nbytes: int, dtype: DType | None) -> Storage:
            asked[key] = _Asked(nbytes, dtype)
            return Storage.deferred(nbytes, None)

        ids = LoadedIds(LoadedStorages(note, None))
        policy = Policy(_STORAGE_NAMES, {}, unknown="inert")
        self._object.run(Machine(policy, ids.load, limits=self._limits, text=Python2Text("latin1")).run)
        self._asked = asked
        places = self._find_places(asked)
        if isinstance(self._source, StreamSource):
            for key in places:
                self._arrived[key] = self._read(key)
        return places

    def _find_places(self, asked: Mapping[str, _Asked]) -> dict[str, int]:
        if self._places is None:
            keys = self._pickles.next().plain()
            sizes = {key: storage.nbytes for key, storage in asked.items()}
            self._start = self._pickles.position
            self._places, self._end = lay_out(keys, sizes, self._start)
            if self._end > self._source.size:
                raise cut_off(self._source.name, self._source.size, self._end)
        return self._places


def lay_out(keys: object, sizes: Mapping[str, int], start: int) -> tuple[dict[str, int], int]:
    """Offsets of the storages' counts, in the order of the keys, and the end. Elements follow each count.

    Raises FormatError if the keys are not those of `sizes`, each once.

    >>> lay_out(["7", "8"], {"8": 4, "7": 24}, 100)
    ({'7': 100, '8': 132}, 144)
    """
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise FormatError("the list of the storages' keys is not one of texts")
    places: dict[str, int] = {}
    for key in keys:
        if key in places:
            raise FormatError(f"storage {key[:64]} is twice in the list of keys")
        if key not in sizes:
            raise FormatError(f"storage {key[:64]} is in the list of keys and not in the object's pickle")
        places[key] = start
        start += COUNT_SIZE + sizes[key]
    for key in sizes:
        if key not in places:
            raise FormatError(f"storage {key} is in the object's pickle and not in the list of keys")
    return places, start

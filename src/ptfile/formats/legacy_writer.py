"""Writing the legacy format: PyTorch's bytes, but for the names of the storages."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, TypeAlias

from ptfile._types import Buffer
from ptfile.containers.sniff import LEGACY_MAGIC
from ptfile.formats.legacy_reader import COUNT_SIZE, PROTOCOL_VERSION
from ptfile.formats.ranges import check_little_endian_machine
from ptfile.formats.reducers import REDUCERS, SHARED_WORD
from ptfile.formats.storages import SavedStorages, StoragesToSave
from ptfile.machine.encoder import Encoder, Reducer
from ptfile.machine.names import InertName
from ptfile.sinks import Sink

_TYPE_SIZES = {"short": 2, "int": 4, "long": 4}
"""torch/serialization.py: the sizes of `struct`'s standard layouts, on every machine."""
_SMALL = 64 << 10
"""A payload below this many bytes is cheaper to copy than to write on its own."""
_GATHER = 1 << 20
"""Small payloads are joined up to this many bytes before they are written."""

SourceCodeOf: TypeAlias = "Callable[[Any], tuple[Any, Any] | None]"
"""The file and the text of a class that is saved with them, when it is met first; None for any other object."""


def numbered_key(number: int) -> str:
    """The key of a storage: its number, in digits enough that the order of texts is that of numbers.

    >>> numbered_key(12)
    '00000012'
    """
    return f"{number:08d}"


class LegacySave:
    """A value pickled, ready to be written in the legacy format; nothing has been opened yet.

    What `pickle_module` raises for an object that it cannot pickle passes through.
    """

    def __init__(
        self,
        value: object,
        *,
        pickle_module: Any = pickle,
        pickle_protocol: int = 2,
        key: Callable[[int], str] = numbered_key,
        storages: StoragesToSave | None = None,
        reducers: Mapping[type, Reducer] | None = None,
        source_code_of: SourceCodeOf | None = None,
    ) -> None:
        """`key` names the storages by the order in which the pickler meets them. PyTorch's keys are addresses.

        `storages`, `reducers` and `source_code_of` say how the objects of a framework are saved; ptfile's own if not
        given.
        """
        check_little_endian_machine()
        storages = storages or SavedStorages()
        ids = _SavedIds(storages, key, source_code_of or _SourceCodeOfNames())
        encoder = Encoder(
            REDUCERS if reducers is None else reducers,
            ids.persistent_id,
            pickle_module=pickle_module,
            protocol=pickle_protocol,
            shared_word=SHARED_WORD if isinstance(storages, SavedStorages) else None,
        )
        buffer = io.BytesIO()

        def dump(plain: object) -> None:
            pickle_module.dump(plain, buffer, protocol=pickle_protocol)

        dump(LEGACY_MAGIC)
        dump(PROTOCOL_VERSION)
        little_endian = sys.byteorder == "little"
        dump({"protocol_version": PROTOCOL_VERSION, "little_endian": little_endian, "type_sizes": dict(_TYPE_SIZES)})
        buffer.writelines(encoder.encode(value))
        in_order = sorted(ids.storages, key=itemgetter(0))
        dump([key for key, _, _ in in_order])
        self._head = buffer.getvalue()
        self._size = len(self._head) + sum(COUNT_SIZE + storage.nbytes() for _, _, storage in in_order)
        self._numels = [numel for _, numel, _ in in_order]
        self.payloads: Iterable[Buffer] = map(storages.payload, [storage for _, _, storage in in_order])
        """The bytes of the storages, read when their turn comes. Others may be put in their place until then."""

    def write(self, sink: Sink) -> None:
        """Write it to a sink that has been entered. Once: the bytes of storages are not kept."""
        sink.expect(self._size)
        waiting = bytearray(self._head)
        payloads = iter(self.payloads)
        for numel in self._numels:
            payload = next(payloads)  # not by `zip`, which keeps what it gave
            waiting += numel.to_bytes(COUNT_SIZE, "little")
            if len(payload) < _SMALL:
                waiting += payload
            if len(waiting) >= _GATHER or len(payload) >= _SMALL:
                sink.write(waiting)
                waiting = bytearray()  # a new one: a sink may hold on to what it was given
            if len(payload) >= _SMALL:
                sink.write(payload)
            del payload  # before the next is asked for: it may be a copy that has to make room for it
        sink.write(waiting)


class _SavedIds:
    """The persistent ids of one pickle."""

    def __init__(self, saved: StoragesToSave, key: Callable[[int], str], source_code_of: SourceCodeOf) -> None:
        self._saved = saved
        self._key = key
        self._source_code_of = source_code_of
        self._numels: dict[int, int] = {}  # by number, as the elements were when the storage was first met

    @property
    def storages(self) -> list[tuple[str, int, Any]]:
        """The key, the number of elements and the storage of each, as they were met."""
        return [
            (self._key(number), self._numels[number], storage) for number, storage in enumerate(self._saved.storages)
        ]

    def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
        """What stands in the pickle for a storage, and for a class when it is met first; None for any other object."""
        source_code = self._source_code_of(obj)
        if source_code is not None:
            return ("module", obj, *source_code)
        found = self._saved.persistent_id(obj)
        if found is None:
            return None
        kind, storage_class, key, location, numel = found
        number = int(key)
        self._numels.setdefault(number, numel)
        # A new text each time, as PyTorch makes it: picklers write a text that they have met before as a reference.
        return (kind, storage_class, self._key(number), location, numel, None)


class _SourceCodeOfNames:
    """The source code of the classes that are kept as names."""

    def __init__(self) -> None:
        self._met: set[InertName] = set()

    def __call__(self, obj: object) -> tuple[Any, Any] | None:
        if type(obj) is not InertName or obj.source_code is None or obj in self._met:
            return None
        self._met.add(obj)
        return obj.source_code

"""Writing the legacy format: PyTorch's bytes, but for the names of the storages."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from typing import Any

from ptfile.containers.sniff import LEGACY_MAGIC
from ptfile.formats.legacy_reader import COUNT_SIZE, PROTOCOL_VERSION
from ptfile.formats.ranges import check_little_endian_machine
from ptfile.formats.storages import SavedStorages
from ptfile.formats.vocabulary import REDUCERS, SHARED_WORD
from ptfile.machine.encoder import Encoder
from ptfile.machine.names import InertName
from ptfile.sinks import Sink
from ptfile.tensors.storage import Storage

_TYPE_SIZES = {"short": 2, "int": 4, "long": 4}
"""torch/serialization.py: the sizes of `struct`'s standard layouts, on every machine."""


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
    ) -> None:
        """`key` names the storages by the order in which the pickler meets them. PyTorch's keys are addresses."""
        check_little_endian_machine()
        ids = _SavedIds(key)
        encoder = Encoder(
            REDUCERS,
            ids.persistent_id,
            pickle_module=pickle_module,
            protocol=pickle_protocol,
            shared_word=SHARED_WORD,
        )
        buffer = io.BytesIO()

        def dump(plain: object) -> None:
            pickle_module.dump(plain, buffer, protocol=pickle_protocol)

        dump(LEGACY_MAGIC)
        dump(PROTOCOL_VERSION)
        little_endian = sys.byteorder == "little"
        dump({"protocol_version": PROTOCOL_VERSION, "little_endian": little_endian, "type_sizes": dict(_TYPE_SIZES)})
        buffer.writelines(encoder.encode(value))
        self._in_order = sorted(ids.storages)
        dump([key for key, _, _ in self._in_order])
        self._head = buffer.getvalue()

    def write(self, sink: Sink) -> None:
        """Write it to a sink that has been entered."""
        sink.write(self._head)
        for _, numel, storage in self._in_order:
            sink.write(numel.to_bytes(COUNT_SIZE, "little"))
            sink.write(storage.data.data)


class _SavedIds:
    """The persistent ids of one pickle."""

    def __init__(self, key: Callable[[int], str]) -> None:
        self._saved = SavedStorages()
        self._key = key
        self._numels: dict[int, int] = {}  # by number, as the elements were when the storage was first met
        self._classes: set[InertName] = set()

    @property
    def storages(self) -> list[tuple[str, int, Storage]]:
        """The key, the number of elements and the storage of each, as they were met."""
        return [
            (self._key(number), self._numels[number], storage) for number, storage in enumerate(self._saved.storages)
        ]

    def persistent_id(self, obj: object) -> tuple[Any, ...] | None:
        """What stands in the pickle for a storage, and for a class when it is met first; None for any other object."""
        if type(obj) is InertName and obj.source_code is not None and obj not in self._classes:
            self._classes.add(obj)
            return ("module", obj, *obj.source_code)
        found = self._saved.persistent_id(obj)
        if found is None:
            return None
        kind, storage_class, key, location, numel = found
        number = int(key)
        self._numels.setdefault(number, numel)
        # A new text each time, as PyTorch makes it: picklers write a text that they have met before as a reference.
        return (kind, storage_class, self._key(number), location, numel, None)

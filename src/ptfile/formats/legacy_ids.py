"""Persistent ids of the legacy format: those of the zip format with one more item, and classes with their source."""

from __future__ import annotations

import re
from typing import Any

from ptfile.errors import FormatError, TensorError, brief
from ptfile.formats.storages import KEY, LoadedStorages
from ptfile.machine.names import InertName
from ptfile.tensors.storage import Storage, TypedStorage

_TEXT_WITHOUT_VIEW = re.compile(r"(\('storage', .{1,300}), None\)")
"""How protocol 0 writes the id of a storage."""
_LONGEST_TEXT = 100
"""Bytes of a key or of a device's tag that Python 2 wrote."""


class LoadedIds:
    """What the persistent ids of one pickle stand for."""

    def __init__(self, storages: LoadedStorages) -> None:
        self._storages = storages
        self._roots: set[str] = set()
        self._views: dict[str, tuple[Storage | TypedStorage, tuple[object, ...]]] = {}

    @property
    def views(self) -> list[Storage]:
        """The storages that show a part of another one."""
        made = [storage for storage, _ in self._views.values()]
        return [storage.storage if isinstance(storage, TypedStorage) else storage for storage in made]

    def load(self, persistent_id: object) -> Any:
        """What an id stands for: a storage, or the class that it names."""
        if type(persistent_id) is str and (text := _TEXT_WITHOUT_VIEW.fullmatch(persistent_id)):
            return self._storages.load(f"{text[1]})")
        if type(persistent_id) is tuple and persistent_id:
            kind = _text(persistent_id[0])
            if kind == "module" and len(persistent_id) == 4:
                return with_source_code(*persistent_id[1:])
            if kind == "storage" and len(persistent_id) == 6:
                return self._storage(*persistent_id[1:])
        raise FormatError("a persistent id is neither a storage (six items) nor a class (four)")

    def _storage(self, kind: object, key: object, location: object, numel: object, view: object) -> Any:
        key = _text(key)
        root = self._storages.load(("storage", kind, key, _text(location), numel))
        self._roots.add(str(key))
        is_both = str(key) in self._views
        if view is not None:
            if type(view) is not tuple or len(view) != 3:
                raise FormatError("the view of a storage is not (key, offset, size)")
            root = self._view(root, str(key), *view)
            is_both = is_both or _text(view[0]) in self._roots
        if is_both:
            raise FormatError("one key is that of a storage and of a view of one")
        return root

    def _view(self, root: Storage | TypedStorage, root_key: str, key: object, offset: object, size: object) -> Any:
        key = _text(key)
        if type(key) is not str or not KEY.fullmatch(key):
            raise FormatError(f"{brief(key)} cannot be the key of a storage's view")
        place = (root_key, offset, size)
        if key not in self._views:
            storage = view_of(root, offset, size)
            self._views[key] = (storage if isinstance(root, Storage) else TypedStorage(storage, root.dtype), place)
        view, first_place = self._views[key]
        if place != first_place:
            raise TensorError(f"the view {key[:64]} of a storage is asked for in two places")
        return view


def view_of(root: Storage | TypedStorage, offset: object, size: object) -> Storage:
    """A storage that shares memory with a part of another; the numbers count elements.

    Raises TensorError if it is not inside.
    """
    storage, itemsize = (root, 1) if isinstance(root, Storage) else (root.storage, root.dtype.itemsize)
    if type(offset) is not int or type(size) is not int or offset < 0 or size < 0:
        raise TensorError(f"the view of a storage has the offset {offset!r:.40} and the size {size!r:.40}")
    start, stop = offset * itemsize, (offset + size) * itemsize
    if stop > storage.nbytes():
        raise TensorError(f"the view of a storage ends at byte {stop} of {storage.nbytes()}")
    return Storage.deferred(
        stop - start,
        lambda: storage.data[start:stop],
        storage.device,
        fetch_range=lambda first, last: storage.peek(start + first, start + last),
    )


def with_source_code(name: Any, file: object, text: object) -> Any:
    """A class in a pickle, with the file and the text of its source code if it is kept as a name."""
    if not all(part is None or type(part) in (str, bytes) for part in (file, text)):
        raise FormatError("the source code of a class is not text")
    if isinstance(name, InertName):
        name.source_code = (file, text)
    return name


def _text(value: object) -> object:
    """Text of Python 2 stays bytes with encoding='bytes'; what is read here is ASCII."""
    if type(value) is bytes and len(value) <= _LONGEST_TEXT:
        return value.decode("latin1")
    return value

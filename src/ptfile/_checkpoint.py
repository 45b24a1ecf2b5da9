"""`ptfile.open`: a checkpoint whose tensors are read when they are used."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ptfile._collector import paused_collector
from ptfile._inspect import Summary, summarize
from ptfile._names import exact
from ptfile._selection import UnknownNameError, unknown
from ptfile._tree import Leaf, named, storage_of, walk
from ptfile._types import Path, Readable
from ptfile.errors import located
from ptfile.formats.opening import open_format
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.storages import MapLocation
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources import MemorySource, StreamSource, lasting_path, open_source
from ptfile.stores.urls import StorageOptions, is_url, secrets_in
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.storage import Storage

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.11 has it in `typing`

_DEFAULT_LIMITS = Limits()
_UTF8 = Python2Text()


class Checkpoint(Mapping[str, Any]):
    """An open checkpoint: a mapping from names such as `model.layer.0.weight` to tensors and plain values.

    The names are those of `ptfile ls`. A name may also be given in its exact form, which never depends on what else is
    in the file: `['model']['layer.0.weight']`.

    Nothing has been read but the pickle. A tensor reads its bytes when its elements are first looked at, which has to
    be before `close`, and a slice of a large one reads only its own (docs/open.md). Threads may share a checkpoint;
    pickled, it is opened again by its path where it is unpickled.
    """

    def __init__(
        self,
        f: Path | Readable,
        map_location: MapLocation = None,
        *,
        mmap: bool = False,
        unknown: Literal["error", "inert"] = "inert",
        text: Python2Text = _UTF8,
        limits: Limits = _DEFAULT_LIMITS,
        storage_options: StorageOptions = None,
    ) -> None:
        self._limits = limits
        source = open_source(f, mmap=mmap, may_stream=True, storage_options=storage_options)
        # What cannot seek is read to its end: names may be asked for in any order.
        self._source = MemorySource(source.rest(), source.name) if isinstance(source, StreamSource) else source
        try:
            with paused_collector():
                self._reader = open_format(self._source, limits)
                self.root: Any = self._reader.load(SafeRunner(limits, unknown, text), map_location)
            """The object tree, as `load` gives it, with tensors that have read nothing."""
        except BaseException:
            self._source.close()
            raise
        path = lasting_path(f)
        self._again: Callable[[], Checkpoint] | None = None
        self._secrets: list[str] = []
        """What in the URL or in the options is not to be in a pickle."""
        if path is not None:
            if is_url(path):
                self._secrets = secrets_in(path, storage_options)
            options: dict[str, Any] = {"mmap": mmap, "unknown": unknown, "text": text, "limits": limits}
            self._again = partial(Checkpoint, path, map_location, **options, storage_options=storage_options)

    # what is in it

    @property
    def format(self) -> str:
        """The file's format: `zip`, `legacy`, `tar`, `torchscript`, `package`, `export` or `safetensors`."""
        return self._reader.format

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """What the file says about itself, in its own words: the small records of a zip file by their names
        (`version`, `byteorder`, `.data/serialization_id`), the facts of the machine that wrote a legacy or tar file,
        the `__metadata__` of a safetensors file.

        It says nothing about the tree, and is not checked beyond the records' checksums.
        """
        with located(file=self._source.name):
            return MappingProxyType(self._reader.about())

    @cached_property
    def summary(self) -> Summary:
        """What `inspect` says about it: dtypes, shapes and sizes, and who shares a storage with whom."""
        return summarize(self._source.name, self._source.size, self.format, self._named)

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """The tensors of every kind with their names, in the order of the tree."""
        return ((name, value) for name, value in self.items() if isinstance(value, Attributed))

    def read(self) -> None:
        """Read all tensors now, in the order of the file. They are checked, and stay in memory after `close`."""
        self._reader.fill()

    def stream(self) -> Iterator[tuple[str, Any]]:
        """The same tensors in the order in which their bytes stand in the file, read and checked, and not kept.

        Each is a copy of its own that no one else holds, so that memory stays bounded, by the two largest storages, if
        each is dropped before the next but one is taken. Those that share a storage in the file share one here as well.
        (Of a mapping or a pipe, whose bytes are in memory already, they are no copies.)

        >>> import ptfile
        >>> ptfile.save({"b": ptfile.ones(2), "a": ptfile.arange(3)}, "model.pt")
        >>> with ptfile.open("model.pt") as checkpoint:
        ...     for name, tensor in checkpoint.stream():
        ...         print(name, tensor.tolist())
        b [1.0, 1.0]
        a [0, 1, 2]
        """
        places = {id(storage): place for place, storage in enumerate(self._reader.storages())}
        users = [(name, value, self._storages_of(value)) for name, value in self.tensors()]
        users.sort(key=lambda user: min((places[identity] for identity in user[2] if identity in places), default=-1))
        waiting = Counter(identity for _, _, storages in users for identity in storages)
        self._reader.announce()
        fresh: dict[int, Storage] = {}  # what stands for a storage while there are tensors that need it
        for name, value, storages in users:
            for identity, storage in storages.items():
                if identity not in fresh:
                    fresh[identity] = storage.fresh() if identity in places else storage
            yield name, copy.deepcopy(value, dict(fresh))
            for identity in storages:
                waiting[identity] -= 1
                if not waiting[identity]:
                    del fresh[identity]

    def _storages_of(self, tensor: Any) -> dict[int, Storage]:
        """The storages that a tensor needs, by their identity."""
        found = (storage_of(leaf.value) for leaf in walk(tensor, self._limits))
        return {id(storage): storage for storage in found if storage is not None}

    # the mapping

    @cached_property
    def _named(self) -> dict[str, Leaf]:
        with located(file=self._source.name), paused_collector():
            return named(self.root, self._limits)

    @cached_property
    def _leaves(self) -> dict[str, Any]:
        return {name: leaf.value for name, leaf in self._named.items() if not leaf.is_aside}

    @cached_property
    def _by_exact_name(self) -> dict[str, Any]:
        return {exact(leaf.path): leaf.value for leaf in reversed(self._named.values())}

    def __getitem__(self, name: str) -> Any:
        leaf = self._named.get(name)
        if leaf is not None and not leaf.is_aside:
            return leaf.value
        try:
            return self._by_exact_name[name]
        except KeyError:
            raise UnknownNameError(name, lambda: unknown(self, str(name))) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    # its life

    def close(self) -> None:
        """Close the file. What has been read stays; tensors that have not been cannot be read any more (OSError)."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[], Checkpoint], tuple[()]]:
        if self._again is None:
            message = f"a checkpoint in a {self._source.name} cannot be pickled: open it by its path"
            raise TypeError(message)
        if self._secrets:
            message = (
                f"{self._source.name} was opened with credentials ({', '.join(self._secrets)}), which a pickle would "
                "hold: leave them to the environment, or open it anew where it is wanted"
            )
            raise TypeError(message)
        return self._again, ()

    def __repr__(self) -> str:
        return f"<ptfile.Checkpoint {self._source.name!r}, {self.format} format>"


def open(
    f: Path | Readable,
    map_location: MapLocation = None,
    *,
    mmap: bool = False,
    unknown: Literal["error", "inert"] = "inert",
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Checkpoint:
    """Open a checkpoint to look into it, and to read from it only what is needed.

    The arguments mean what they mean in `load`; objects of unknown classes are inert records if nothing else is said.
    f: a path, a URL, or a binary file object. One that cannot seek, such as a pipe, is read to its end first.
    mmap: True maps the file (a path) into memory: no tensor is read but by looking at its elements, nor verified, and
        slices share the memory of the whole. Writing to it does not change the file.

    Raises what `load` raises, except what can only be seen in the tensors' bytes: that comes when they are read.

    >>> import io, ptfile
    >>> buffer = io.BytesIO()
    >>> ptfile.save({"layer": {"weight": ptfile.arange(6).reshape(2, 3)}, "epoch": 3}, buffer)
    >>> buffer.seek(0)
    0
    >>> with ptfile.open(buffer) as checkpoint:
    ...     print(list(checkpoint), checkpoint["layer.weight"][1].tolist())
    ['layer.weight', 'epoch'] [3, 4, 5]
    """
    options: dict[str, Any] = {"mmap": mmap, "unknown": unknown, "limits": limits, "storage_options": storage_options}
    return Checkpoint(f, map_location, text=Python2Text(encoding, errors), **options)

"""`ptfile.open`: a checkpoint whose tensors are read when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ptfile._collector import paused_collector
from ptfile._names import distinct
from ptfile._tree import walk
from ptfile._types import Path, Readable
from ptfile.errors import located
from ptfile.formats.opening import open_format
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.storages import MapLocation
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources import open_source
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.python_side import Attributed

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.11 has it in `typing`

_DEFAULT_LIMITS = Limits()
_UTF8 = Python2Text()


class Checkpoint(Mapping[str, Any]):
    """An open checkpoint: a mapping from names such as `model.layer.0.weight` to tensors and plain values.

    Nothing has been read but the pickle. A tensor reads its storage, and has its checksum verified, when its elements
    are first looked at, which has to be before `close`; what has been read stays. The names are those of `ptfile ls`.
    """

    def __init__(
        self,
        f: Path | Readable,
        map_location: MapLocation = None,
        *,
        unknown: Literal["error", "inert"] = "inert",
        text: Python2Text = _UTF8,
        limits: Limits = _DEFAULT_LIMITS,
        storage_options: StorageOptions = None,
    ) -> None:
        self._limits = limits
        self._source = open_source(f, mmap=False, storage_options=storage_options)
        try:
            reader = open_format(self._source, limits)
            self.format = reader.format
            """The name of the file's format, such as `zip`."""
            with paused_collector():
                self.root: Any = reader.load(SafeRunner(limits, unknown, text), map_location)
            """The object tree, as `load` gives it, with tensors that have read nothing."""
        except BaseException:
            self._source.close()
            raise

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """The tensors of every kind with their names, in the order of the tree."""
        return ((name, value) for name, value in self._leaves.items() if isinstance(value, Attributed))

    def close(self) -> None:
        """Close the file. Tensors that have not been read cannot be read any more."""
        self._source.close()

    @cached_property
    def _leaves(self) -> dict[str, Any]:
        with located(file=self._source.name):
            leaves = list(walk(self.root, self._limits))
        names = distinct([leaf.name for leaf in leaves], [leaf.path for leaf in leaves])
        return {name: leaf.value for name, leaf in zip(names, leaves, strict=True)}

    def __getitem__(self, name: str) -> Any:
        return self._leaves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ptfile.Checkpoint {self._source.name!r}, {self.format} format>"


def open(
    f: Path | Readable,
    map_location: MapLocation = None,
    *,
    unknown: Literal["error", "inert"] = "inert",
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Checkpoint:
    """Open a checkpoint to look into it, and to read from it only what is needed.

    The arguments mean what they mean in `load`; objects of unknown classes are inert records if nothing else is said.
    f: a path, a URL, or a binary file object that can seek.

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
    text = Python2Text(encoding, errors)
    return Checkpoint(f, map_location, unknown=unknown, text=text, limits=limits, storage_options=storage_options)

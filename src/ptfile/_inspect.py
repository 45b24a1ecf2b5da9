"""What is in a checkpoint, without its tensors' bytes: names, dtypes, shapes, sizes, and who shares a storage.

Only the container's directory and the pickle are read, so it costs the same for a file of ten gigabytes as for one of
ten kilobytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptfile._collector import paused_collector
from ptfile._tree import Leaf, named
from ptfile._types import Path as FilePath
from ptfile._types import Readable
from ptfile.errors import located
from ptfile.formats.opening import open_format
from ptfile.formats.pickles import SafeRunner
from ptfile.limits import Limits
from ptfile.machine.inert import InertRecord
from ptfile.machine.vm import Python2Text
from ptfile.sources import open_source
from ptfile.stores.urls import StorageOptions
from ptfile.tensors import strides
from ptfile.tensors.quantized import QuantizedTensor
from ptfile.tensors.reach import joined, reached
from ptfile.tensors.storage import Run, Storage, TypedStorage
from ptfile.tensors.tensor import Tensor

_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor, under one of its names."""

    name: str
    """Its place in the checkpoint (`ptfile._names` has the rules); empty if the checkpoint is this tensor."""
    dtype: str
    """PyTorch's name without `torch.`: `float32`."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """In elements, as is `offset`."""
    offset: int
    nbytes: int
    """Bytes of its elements, which is not the size of its storage."""
    device: str
    """The device tag: `cpu`, `cuda:0`."""
    requires_grad: bool
    storage: int
    """Index into `Summary.storages`."""

    @property
    def view(self) -> tuple[object, ...]:
        """Where its elements are: names of one view have the same."""
        return self.storage, self.dtype, self.offset, self.shape, self.stride


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """One run of bytes that tensors look at."""

    nbytes: int
    device: str
    names: tuple[str, ...]
    """Everything in the checkpoint that looks at it, in the order of the file."""
    unreached: int
    """Bytes outside the runs from each tensor's first element to its last. They are in the file all the same: a saved
    slice brings its whole storage, unless it is saved with `storages="reachable"`. Gaps inside a run, as in `x[::2]`,
    are not counted."""

    @property
    def is_shared(self) -> bool:
        """Whether there is more than one name for it."""
        return len(self.names) > 1


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """Something in the checkpoint that is no tensor: a number, a text, a list of numbers, an array."""

    name: str
    type: str
    """Name of its class."""
    value: Any
    """The value; `...` for a container inside itself, which is how Python writes that."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What `inspect` found."""

    file: str
    """The path, or the kind of object that the bytes came from."""
    nbytes: int
    """Bytes of the file."""
    format: str
    """The dialect: `zip`."""
    tensors: tuple[TensorInfo, ...]
    """In the order of the checkpoint; a tensor with two names is there twice."""
    storages: tuple[StorageInfo, ...]
    values: tuple[ValueInfo, ...]

    @property
    def elements(self) -> int:
        """Elements of all tensors (a model's number of parameters). Several names for one view count once."""
        shapes = {info.view: info.shape for info in self.tensors}
        return sum(strides.numel(shape) for shape in shapes.values())

    @property
    def storage_nbytes(self) -> int:
        """Bytes of all storages, each counted once."""
        return sum(storage.nbytes for storage in self.storages)

    @property
    def unreached(self) -> int:
        """Bytes of storages that no tensor reaches; see `StorageInfo.unreached`."""
        return sum(storage.unreached for storage in self.storages)

    def shares_with(self, tensor: TensorInfo) -> tuple[str, ...]:
        """The other names that look at the storage of a tensor."""
        return tuple(name for name in self.storages[tensor.storage].names if name != tensor.name)


def inspect(
    f: FilePath | Readable,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Summary:
    """What is in a checkpoint. Reads the container's directory and the pickle, and no byte of any tensor.

    f: a path, a URL, or a binary file object that can seek, which is read from where it stands.

    encoding, errors: how to read the strings of Python 2, as in `load`.
    storage_options: how to open the store that a URL is in (docs/remote.md).

    Objects of classes that ptfile does not know are looked into as inert records; nothing is imported or called.

    Raises what `ptfile.load` raises, except what can only be seen in the tensors' bytes; and LimitError for a tree that
    is too deep or has too much to name.

    >>> import io, ptfile
    >>> buffer = io.BytesIO()
    >>> ptfile.save({"weight": ptfile.zeros(3, 4), "epoch": 7}, buffer)
    >>> buffer.seek(0)
    0
    >>> summary = inspect(buffer)
    >>> summary.tensors[0].name, summary.tensors[0].shape, summary.values[0].value
    ('weight', (3, 4), 7)
    """
    opened = open_source(f, mmap=False, storage_options=storage_options)
    with paused_collector(), opened as source, located(file=source.name):
        reader = open_format(source, limits)
        # Objects of unknown classes are looked into as inert records: an untrusted file is what one wants to list.
        root = reader.load(SafeRunner(limits, "inert", Python2Text(encoding, errors)), None)
        return summarize(source.name, source.size, reader.format, named(root, limits))


# the summary


class _Storages:
    """The storages met so far, numbered; and for each the names and the runs of bytes that are looked at."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._storages: list[Storage] = []
        self._names: list[list[str]] = []
        self._runs: list[list[Run]] = []

    def number(self, storage: Storage, name: str, run: Run) -> int:
        """The number of a storage, of which the thing called `name` shows the bytes from `run[0]` to `run[1]`."""
        number = self._numbers.setdefault(id(storage), len(self._storages))
        if number == len(self._storages):
            self._storages.append(storage)
            self._names.append([])
            self._runs.append([])
        self._names[number].append(name)
        self._runs[number].append(run)
        return number

    def infos(self) -> tuple[StorageInfo, ...]:
        return tuple(
            StorageInfo(
                storage.nbytes(),
                storage.device,
                tuple(names),
                storage.nbytes() - sum(stop - start for start, stop in (joined(runs) if len(runs) > 1 else runs)),
            )
            for storage, names, runs in zip(self._storages, self._names, self._runs, strict=True)
        )


def summarize(file: str, nbytes: int, kind: str, leaves: Mapping[str, Leaf]) -> Summary:
    """What `inspect` says about a file of so many bytes and this format, with these leaves by name."""
    tensors: list[TensorInfo] = []
    values: list[ValueInfo] = []
    storages = _Storages()
    for name, leaf in leaves.items():
        value = leaf.value
        if isinstance(value, (Tensor, QuantizedTensor)):
            tensors.append(_tensor_info(name, value, storages))
            continue
        if isinstance(value, (Storage, TypedStorage)):
            storage = value.untyped() if isinstance(value, TypedStorage) else value
            storages.number(storage, name, (0, storage.nbytes()))
        if not leaf.is_aside:
            values.append(ValueInfo(name, _type_name(value), value))
    return Summary(file, nbytes, kind, tuple(tensors), storages.infos(), tuple(values))


def _tensor_info(name: str, tensor: Tensor | QuantizedTensor, storages: _Storages) -> TensorInfo:
    itemsize, storage = tensor.dtype.itemsize, tensor.untyped_storage()
    nbytes = tensor.numel() * itemsize
    if isinstance(tensor, QuantizedTensor):  # a byte may hold several elements
        nbytes = min(nbytes, storage.nbytes())
    return TensorInfo(
        name=name,
        dtype=tensor.dtype.name,
        shape=tensor.shape,
        stride=tensor.stride(),
        offset=tensor.storage_offset(),
        nbytes=nbytes,
        device=tensor.device,
        requires_grad=tensor.requires_grad,
        storage=storages.number(storage, name, reached(tensor)),
    )


def _type_name(value: object) -> str:
    return value.inert_class if type(value) is InertRecord else type(value).__name__

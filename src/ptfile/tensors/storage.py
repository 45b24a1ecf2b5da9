"""Storages: runs of untyped bytes that tensors look at.

A storage may know its size long before it has its bytes. That is what makes loading lazily, from a map of the file or
from afar one code path: the bytes come when something first looks at them.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ptfile._lazy import np
from ptfile.errors import TensorError, UnsupportedError
from ptfile.tensors import dtypes
from ptfile.tensors.blocks import NEAR
from ptfile.tensors.provider import Functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt
    import torch

    from ptfile._types import Buffer
    from ptfile.tensors.dtypes import DType
    from ptfile.tensors.provider import Origin, Provider

Bytes: TypeAlias = "npt.NDArray[np.uint8]"
"""A 1-D array of bytes."""
Run: TypeAlias = tuple[int, int]
"""The first of some bytes, counted from the start of a storage, and the one behind the last."""

_PIECE = 1 << 20
"""Bytes of a storage that are in memory at a time while it is gone through."""
_MAKING_A_LOCK = threading.RLock()
"""Held while a storage gets a lock of its own, which few of very many need, or bytes without one."""
if hasattr(os, "register_at_fork"):
    # A child would wait for ever for another thread's turn to end, which is not there.
    os.register_at_fork(
        before=_MAKING_A_LOCK.acquire, after_in_parent=_MAKING_A_LOCK.release, after_in_child=_MAKING_A_LOCK.release
    )

ALIGNMENT = 64
"""Of memory, in bytes: c10/core/alignment.h, gAlignment."""
_WORTH_ALIGNING = 4 << 10


class Storage:
    """A run of bytes with a device tag; torch's `UntypedStorage`.

    `data` is anything with the buffer protocol, or a numpy array. It is shared, not copied, if it lies in memory
    without gaps, and what is read-only stays read-only. `device` is where the bytes were or shall be (`cpu`, `cuda:0`);
    here they are always in main memory. The tag is kept as the very object given: equal and identical strings look
    different in a pickle.

    >>> import ptfile
    >>> storage = ptfile.UntypedStorage(bytearray(b"abc"))
    >>> storage.nbytes(), storage[0], storage.device
    (3, 97, 'cpu')
    """

    __slots__ = ("__weakref__", "_data", "_lock", "_nbytes", "_provider", "_torch", "device")

    def __init__(self, data: Buffer | npt.NDArray[Any], device: str = "cpu") -> None:
        flat = _flat(data)
        self._data: Bytes | None = flat
        self._nbytes = flat.size
        self._provider: Provider | None = None
        self._lock: threading.RLock | None = None
        self._torch: torch.UntypedStorage | None = None
        self.device = str(device)

    @classmethod
    def provided(cls, provider: Provider, nbytes: int, device: str = "cpu") -> Storage:
        """A storage of as many bytes, an int of 0 or more, which come from there when they are first needed."""
        self = cls.__new__(cls)
        self._data = None
        self._nbytes = nbytes
        self._provider = provider
        self._lock = None
        self._torch = None
        self.device = device
        return self

    @classmethod
    def deferred(
        cls,
        nbytes: int,
        fetch: Callable[[], Bytes] | None,
        device: str = "cpu",
        *,
        fetch_range: Callable[[int, int], Bytes] | None = None,
        will_read: Callable[[Iterable[Run]], None] | None = None,
        origin: Origin | None = None,
    ) -> Storage:
        """A storage whose bytes come later: `fetch()` is called once, when they are first needed.

        It returns a 1-D uint8 array of exactly `nbytes`. None stands for bytes that nobody may ask for.
        fetch_range: gives the bytes from `start` to `stop` alone, any number of times, for those who want no more.
        will_read: is told first of all the parts that somebody is going to fetch, in rising order.
        origin: gives all of them a piece at a time, for those who do not want to have them in memory.
        """
        if type(nbytes) is not int or nbytes < 0:
            raise TensorError(f"a storage has an int of 0 or more bytes, not {nbytes!r}")
        return cls.provided(Functions(fetch, fetch_range, will_read, origin), nbytes, str(device))

    @classmethod
    def meta(cls, nbytes: int) -> Storage:
        """A storage on PyTorch's `meta` device: a size without bytes."""

        def no_bytes() -> Bytes:
            raise TensorError("a tensor on the meta device has a shape and no elements", fix="Load it with its data")

        return cls.deferred(nbytes, no_bytes, "meta")

    @property
    def is_loaded(self) -> bool:
        """Whether the bytes are in memory."""
        return self._data is not None

    def load(self) -> None:
        """Have the bytes in memory, reading them if need be."""
        if self._data is None:
            # Two threads that first look at one storage must end with one array, or a write could miss the other's.
            with self._reading():
                if self._provider is not None:
                    self._keep(self._provider.read())

    def provide(self, data: Bytes) -> None:
        """Have the bytes, which somebody has read for it; they are ignored if it has its own."""
        if self._data is None:
            with self._reading():
                if self._data is None:
                    self._keep(data)

    def settle(self, data: Bytes) -> None:
        """The same in less time for bytes that are as many as they should be."""
        with _MAKING_A_LOCK:
            if self._lock is None:  # nobody reads them, or begins to
                if self._data is None:
                    self._data = data
                    self._provider = None
                return
        self.provide(data)

    def _reading(self) -> threading.RLock:
        """What a thread holds while it reads the bytes."""
        if self._lock is None:
            with _MAKING_A_LOCK:
                if self._lock is None:
                    self._lock = threading.RLock()
        return self._lock

    def _keep(self, data: Bytes) -> None:
        if data.dtype != np.uint8 or data.shape != (self._nbytes,):
            raise TensorError(
                f"a storage of {self._nbytes} bytes was given an array of {data.dtype} and shape {data.shape}",
            )
        self._data = np.ascontiguousarray(data)
        self._provider = None  # it may hold a file open

    @property
    def data(self) -> Bytes:
        """The bytes, as a 1-D uint8 array that shares their memory."""
        self.load()
        assert self._data is not None
        return self._data

    def peek(self, start: int, stop: int) -> Bytes:
        """The bytes from `start` to `stop`. Of a storage that has not been read only these are, and they are not kept.

        The checksum of a record is over all of it, so nothing verifies a part.
        """
        provider = self._provider
        if provider is None or not provider.has_parts:
            return self.data[start:stop]
        return provider.read_range(start, stop)

    @property
    def origin(self) -> Origin | None:
        """Where the bytes will come from; None if they are in memory, or if nothing is known of it."""
        provider = self._provider
        return None if provider is None else provider.origin

    def pieces(self) -> Iterator[Bytes]:
        """All bytes from front to back. A storage that has not been read stays so, and what can be checked is."""
        origin = self.origin
        if origin is not None:
            return origin.pieces()
        return (self.peek(start, min(start + _PIECE, self._nbytes)) for start in range(0, self._nbytes, _PIECE))

    def read(self) -> Bytes:
        """All bytes at once. A storage that has not been read stays so, and what can be checked is."""
        provider = self._provider
        return self.data if provider is None else provider.read()

    def is_read_in_parts(self, nbytes: int) -> bool:
        """Whether so many of its bytes are read without the others: it is in a file, large, and that is not all."""
        provider = self._provider
        return NEAR < self._nbytes > nbytes and provider is not None and provider.has_parts

    def fresh(self) -> Storage:
        """Another storage with these bytes, read now and checked; this one stays as it is, read or not."""
        provider = self._provider
        if provider is None:
            return Storage(self.data.copy(), self.device)
        data = provider.read_range(0, self._nbytes) if provider.has_parts else provider.read()
        return Storage(data, self.device)

    def will_peek(self, runs: Iterable[Run]) -> None:
        """Say that all of these runs of bytes are going to be looked at by `peek`, in rising order. It is a hint.

        Where each read is a journey, they are then fetched together.
        """
        provider = self._provider
        if provider is not None:
            provider.will_read(runs)

    def part(self, start: int, stop: int) -> Storage:
        """The bytes from `start` to `stop` as a storage: in the same memory, or not read either."""
        if self.is_loaded:
            return Storage(self.data[start:stop], self.device)

        def peek(first: int, last: int) -> Bytes:
            return self.peek(start + first, start + last)

        return Storage.deferred(stop - start, lambda: self.peek(start, stop), self.device, fetch_range=peek)

    def nbytes(self) -> int:
        return self._nbytes

    def size(self) -> int:
        """The same as `nbytes()`."""
        return self._nbytes

    def data_ptr(self) -> int:
        """Address of the first byte; 0 if there is none."""
        return int(self.data.ctypes.data) if self._nbytes else 0

    def tobytes(self) -> bytes:
        return self.data.tobytes()

    def tolist(self) -> list[int]:
        return list(self.data.tobytes())

    def torch(self) -> torch.UntypedStorage:
        """The same memory as a `torch.UntypedStorage` on the CPU: the same object each time.

        Bytes that are read-only are copied, because PyTorch knows no read-only memory.
        """
        if self._torch is None:
            torch = import_torch()
            if not self._nbytes:
                self._torch = torch.UntypedStorage(0, device="cpu")
            else:
                data = self.data if self.data.flags.writeable else self.data.copy()
                self._torch = torch.from_numpy(data).untyped_storage()
        return self._torch

    def __len__(self) -> int:
        return self._nbytes

    def __getitem__(self, index: int) -> int:
        return int(self.data[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self.data.tobytes())

    def __repr__(self) -> str:
        unread = "" if self.is_loaded else ", not read"
        return f"<ptfile.UntypedStorage of {self._nbytes} bytes, device={self.device!r}{unread}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.data, self.device))


UntypedStorage = Storage
"""PyTorch's name for it, which is the public one."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TypedStorage:
    """A storage that knows what its elements are: `torch.FloatStorage` and the like, which old files hold as values."""

    storage: Storage
    dtype: DType

    def __post_init__(self) -> None:
        if self.storage.nbytes() % self.dtype.itemsize:
            raise TensorError(f"{self.storage.nbytes()} bytes are no whole number of elements of {self.dtype}")

    def untyped(self) -> Storage:
        """The bytes."""
        return self.storage

    def numel(self) -> int:
        """How many elements there are."""
        return self.storage.nbytes() // self.dtype.itemsize

    def size(self) -> int:
        """The same as `numel()`."""
        return self.numel()

    def nbytes(self) -> int:
        return self.storage.nbytes()

    @property
    def device(self) -> str:
        return self.storage.device

    def tolist(self) -> list[Any]:
        """The elements as Python numbers. Raises UnsupportedError if numpy has no such elements."""
        return python_values(interpret(self.storage.data, self.dtype))  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return self.numel()

    def __getitem__(self, index: int) -> Any:
        return python_values(interpret(self.storage.data, self.dtype)[index])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __repr__(self) -> str:
        name = self.dtype.storage_class or "TypedStorage"
        unread = "" if self.storage.is_loaded else ", not read"
        return f"<ptfile.{name} of {self.numel()} elements, dtype={self.dtype}, device={self.device!r}{unread}>"


def empty_bytes(nbytes: int) -> Bytes:
    """Memory to read into. Where there is enough for that to matter it begins at a multiple of 64.

    So does PyTorch's, and JAX can share no other.
    """
    if nbytes < _WORTH_ALIGNING:
        return np.empty(nbytes, np.uint8)
    memory = np.empty(nbytes + ALIGNMENT - 1, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes]


def interpret(data: Bytes, dtype: DType) -> npt.NDArray[Any]:
    """A 1-D array of bytes as elements, in the same memory.

    Bytes that are no bool (other than 0 and 1) would be undefined behaviour in numpy: then it is a corrected copy,
    which is read-only so that nobody writes into it in vain.
    """
    if dtype is dtypes.bool and data.max(initial=0) > 1:
        corrected: npt.NDArray[Any] = np.not_equal(data, 0)
        corrected.flags.writeable = False
        return corrected
    elements: npt.NDArray[Any] = data.view(dtype.numpy)
    return elements


def python_values(array: npt.NDArray[Any] | np.generic) -> Any:
    """The elements as Python's own numbers, in lists as deep as the array has dimensions."""
    if not array.size:  # of whatever shape: numpy would count what other elements than bytes would take
        return np.empty(array.shape, np.bool_).tolist()
    if array.dtype.isbuiltin != 1:  # `tolist` of ml_dtypes' arrays keeps scalars of its own. All of them fit a float64.
        return array.astype(np.float64).tolist()
    return array.tolist()


def _flat(data: Buffer | npt.NDArray[Any]) -> Bytes:
    if not isinstance(data, np.ndarray):
        buffer = memoryview(data)
        if buffer.nbytes == 0:
            return np.zeros(0, np.uint8)
        return np.frombuffer(buffer if buffer.c_contiguous else buffer.tobytes(), np.uint8)
    if data.dtype.hasobject:
        raise TensorError(f"a storage holds plain bytes, not an array of {data.dtype}")
    return np.ascontiguousarray(data).view(np.ndarray).reshape(-1).view(np.uint8)


def import_torch() -> Any:
    """PyTorch, for those who ask for its objects. Raises UnsupportedError if it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError(
            "PyTorch is not installed, and `.torch()` makes its objects",
            fix="Install it (`pip install torch`), or use `.numpy()`",
        ) from error
    return torch

"""Safetensors files, opened as checkpoints are: a dict of tensors that have read nothing.

8 bytes with the length of a JSON header, the header, and the tensors' bytes in its order, without gaps
(https://github.com/huggingface/safetensors#format). The header is read and checked by the safetensors library; the
tensors' bytes are ranges of the source, so that they may be anywhere and of any dtype. They have no checksums.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ptfile._lazy import np
from ptfile.errors import FormatError, LimitError, UnsupportedError, located
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.ranges import Ranges, check_little_endian_machine
from ptfile.formats.storages import MapLocation, place
from ptfile.formats.zip_records import read_json
from ptfile.limits import Limits
from ptfile.sources import DistantSource, Source, announce
from ptfile.tensors import dtypes, strides
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Run, Storage
from ptfile.tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

LENGTH_SIZE = 8
_PIECE = 1 << 20
HALF_BYTES = "F4"
"""Its shapes count numbers, of which a byte holds two; PyTorch's count bytes."""
CODES: Mapping[str, DType] = {
    "U64": dtypes.uint64,
    "I64": dtypes.int64,
    "F64": dtypes.float64,
    "C64": dtypes.complex64,
    "F32": dtypes.float32,
    "U32": dtypes.uint32,
    "I32": dtypes.int32,
    "BF16": dtypes.bfloat16,
    "F16": dtypes.float16,
    "U16": dtypes.uint16,
    "I16": dtypes.int16,
    "F8_E5M2FNUZ": dtypes.float8_e5m2fnuz,
    "F8_E4M3FNUZ": dtypes.float8_e4m3fnuz,
    "F8_E8M0": dtypes.float8_e8m0fnu,
    "F8_E4M3": dtypes.float8_e4m3fn,
    "F8_E5M2": dtypes.float8_e5m2,
    "I8": dtypes.int8,
    "U8": dtypes.uint8,
    HALF_BYTES: dtypes.float4_e2m1fn_x2,
    "BOOL": dtypes.bool,
}
"""In the order in which the library puts the tensors of a file."""


class _Entry(NamedTuple):
    """A tensor, as the header describes it. (A tuple: there may be a hundred thousand.)"""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int
    """Of its first byte, from the start of the file."""
    nbytes: int


class _Elements(NamedTuple):
    """The elements of a tensor in a file. (A tuple, as `StoredBytes` is.)"""

    source: Source
    ranges: Ranges
    entry: _Entry
    crc: None = None

    @property
    def offset(self) -> int:
        return self.entry.offset

    def read(self) -> npt.NDArray[np.uint8]:
        return self.range(0, self.entry.nbytes)

    def range(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        with located(file=self.source.name):
            return self.ranges.elements(self.entry.offset + start, stop - start, self.entry.dtype)

    def will_read(self, runs: Iterable[Run]) -> None:
        self.ranges.will_read(self.entry.offset, runs)

    def pieces(self) -> Iterator[npt.NDArray[np.uint8]]:
        offset, nbytes = self.entry.offset, self.entry.nbytes
        with located(file=self.source.name):
            for start in range(0, nbytes, _PIECE):
                yield np.frombuffer(self.source.read(offset + start, min(_PIECE, nbytes - start)), np.uint8)


class SafetensorsReader:
    """A safetensors file, open. Its value is a dict of tensors by name, in the order of the file."""

    format = "safetensors"

    def __init__(self, source: Source, limits: Limits) -> None:
        """Raises FormatError for what the library refuses, UnsupportedError if it is missing, LimitError."""
        self._source = source
        self._ranges = Ranges(source)
        self._is_distant = isinstance(source, DistantSource)
        self._storages: list[Storage] = []
        with located(file=source.name):
            check_little_endian_machine()
            header = _header(source, limits)
            self._start = len(header)
            with _checked(header, source.size) as file:
                self._metadata: dict[str, str] = dict(file.metadata() or {})
                self._entries = list(_entries(file, self._start, source.size))
            read_json(header[LENGTH_SIZE:].decode(), limits)  # the library takes the last of two with one name

    def load(self, runner: PickleRunner, map_location: MapLocation) -> dict[str, Tensor]:  # noqa: ARG002  (no pickle)
        """The tensors, with storages that have read nothing yet."""
        loaded = {}
        with located(file=self._source.name):
            for entry in self._entries:
                storage = place(self._make(entry), "cpu", map_location)
                loaded[entry.name] = Tensor(storage, entry.dtype, 0, entry.shape, strides.contiguous(entry.shape))
        return loaded

    def storages(self) -> Sequence[Storage]:
        """The storages that the value asked for, in the order in which they stand in the file."""
        return self._storages

    def announce(self) -> None:
        """Say to a source far away that they are all going to be read, in that order."""
        announce(self._source, [(self._start, self._source.size)])

    def fill(self) -> None:
        """Read them all, in that order."""
        self.announce()
        for storage in self._storages:
            storage.load()

    def about(self) -> dict[str, str]:
        """The file's `__metadata__`."""
        return dict(self._metadata)

    def _make(self, entry: _Entry) -> Storage:
        elements = _Elements(self._source, self._ranges, entry)
        ahead = elements.will_read if self._is_distant else None
        storage = Storage.deferred(
            entry.nbytes, elements.read, fetch_range=elements.range, will_read=ahead, origin=elements
        )
        self._storages.append(storage)
        return storage


def _header(source: Source, limits: Limits) -> bytes:
    """The header with its length in front."""
    length = int.from_bytes(bytes(source.read(0, LENGTH_SIZE)), "little")
    if length > limits.pickle_size:
        raise LimitError("its header is too large", limit="pickle_size", allowed=limits.pickle_size, actual=length)
    return bytes(source.read(0, LENGTH_SIZE + length))


@contextmanager
def _checked(header: bytes, size: int) -> Iterator[Any]:
    """The library's view of a file with this header and of this size, wherever the rest of it is.

    The library opens files by their paths and looks at their headers and sizes. So it gets one with just these: the
    rest is a hole, which takes no space.
    """
    safe_open, refusal = _library()
    with _anonymous_file() as (file, path):
        file.write(header)
        file.truncate(size)
        file.flush()
        try:
            opened = safe_open(path, framework="numpy")
        except refusal as error:
            raise FormatError(f"it is no sound safetensors file: {error}") from error
        with opened:
            yield opened


@contextmanager
def _anonymous_file() -> Iterator[tuple[BinaryIO, str]]:
    """A file to write, and a path to open it by: in memory on Linux, else in the folder for such."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("safetensors"), "wb") as file:
            yield file, f"/proc/self/fd/{file.fileno()}"
    else:
        import tempfile

        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "header").open("wb") as file:
            yield file, file.name


def _library() -> tuple[Callable[..., Any], type[Exception]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        problem = "it is a safetensors file, and the library of that name is not installed"
        raise UnsupportedError(problem, fix="pip install 'ptfile[safetensors]'") from error
    return safe_open, SafetensorError


def _entries(file: Any, offset: int, size: int) -> Iterator[_Entry]:
    """The tensors in the order of the file, whose bytes the library has found to be without gaps from `offset` on."""
    for name in file.offset_keys():
        view = file.get_slice(name)
        code, shape = str(view.get_dtype()), tuple(view.get_shape())
        dtype = CODES.get(code)
        if dtype is None:
            raise UnsupportedError(f"{name[:80]}: elements of type {code}, which no tensor of PyTorch has")
        if code == HALF_BYTES:
            if not shape or shape[-1] % 2:
                raise UnsupportedError(f"{name[:80]}: rows that end in the middle of a byte")
            shape = (*shape[:-1], shape[-1] // 2)
        nbytes = strides.numel(shape) * dtype.itemsize
        yield _Entry(name, dtype, shape, offset, nbytes)
        offset += nbytes
    if offset != size:
        raise FormatError(f"its tensors end at byte {offset} of {size}")

"""`ptfile.convert`: a checkpoint as a file of another format, and back."""

# ruff: noqa: PTH122  (as in `sinks`, pathlib would lose what paths say)

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from isal import isal_zlib

from ptfile._collector import paused_collector
from ptfile._digest import Digester
from ptfile._types import Path, Readable
from ptfile.conversion import npz_format, safetensors_format
from ptfile.conversion.describing import describe
from ptfile.conversion.placing import Entry, View, is_plain, view_of
from ptfile.conversion.reading import read_tree
from ptfile.conversion.restoring import restore
from ptfile.errors import FormatError, located
from ptfile.formats.streamed import StreamedStorages, streamed_save
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sinks import FileSink, Sink, open_sink
from ptfile.sources import LocalSource, open_source
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.elements import element_bytes
from ptfile.tensors.quantized import QuantizedTensor
from ptfile.tensors.reach import reached
from ptfile.tensors.storage import Bytes, Storage
from ptfile.tensors.tensor import Tensor

Format: TypeAlias = Literal["pt", "safetensors", "npz"]
Progress: TypeAlias = "Callable[[int, int], None]"
"""Is told how many bytes are done, and how many there are to do."""

_DEFAULT_LIMITS = Limits()
SUFFIXES: Mapping[str, Format] = MappingProxyType(
    {".pt": "pt", ".pth": "pt", ".bin": "pt", ".ckpt": "pt", ".safetensors": "safetensors", ".npz": "npz"}
)
"""What the names of files end in."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `convert` has done."""

    file: str
    """The file that was read."""
    format: str
    """Its format, as `ptfile.open` has it; or `safetensors`, or `npz`."""
    out: str
    """The file that was written."""
    to: str
    """Its format: `pt`, `safetensors` or `npz`."""
    nbytes: int
    """Its size."""
    left_out: tuple[str, ...]
    """Names of the values that have no form in it."""
    unkept: tuple[str, ...]
    """Entries in the metadata of a safetensors file for which there is no place."""
    unreached: int
    """Bytes of storages that no tensor reaches, which are not in it."""
    verified: bool
    """Whether it was read again and says the same."""


def convert(
    src: Path | Readable,
    dst: Path,
    *,
    to: Format | None = None,
    leave_out: bool = False,
    verify: bool = True,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
    progress: Progress | None = None,
) -> Conversion:
    """Write what is in a checkpoint to a file of another format: `.pt`, `.safetensors` or `.npz`.

    Tensors keep their names, dtypes and values, and lie in the other file row by row, as its other readers want them.
    A note in its metadata has the rest: nested trees, plain values, strides, and which tensors share a storage, whose
    bytes are written once. Converted back, the tree is the same again (docs/convert-and-edit.md). Files without such
    a note, of whatever program, become a dict of tensors.

    src: a path, a URL, or a binary file object that can seek; the format is told by the bytes. Nothing that the file
        names is run.
    dst: a path or a URL, which is written as `save` writes, all of it or nothing.
    to: the format of `dst`; None: the one that its name ends in.
    leave_out: leave out what has no form in the other format, such as objects of unknown classes, instead of raising an
        error: their keys go from dicts, and elsewhere None takes their place. They are named in the result.
    verify: read the new file once more before it takes its place, and compare all that it says with the old one, the
        elements of tensors by a CRC-32. What cannot be read before it is in place, a pipe or a URL, is not verified.
    encoding, errors: how to read the strings of Python 2, as in `load`.
    storage_options: how to open the stores that URLs are in, as in `load`.
    progress: is called with the bytes that are done and those to do, again and again.

    Takes memory for the pickle or header and for a piece of a tensor; for all of a tensor whose elements do not lie row
    by row, and of what is compressed. Checksums are verified.

    Raises UnsupportedError, which names them, for values that have no form in the other format, and what `load` raises.
    `dst` is then as it was.
    """
    target = to or _format_of(os.fspath(dst))
    if target not in SUFFIXES.values():
        message = f"to is {target!r}: it must be 'pt', 'safetensors' or 'npz'"
        raise ValueError(message)
    text = Python2Text(encoding, errors)
    watch = _Watch(progress)
    with open_source(src, mmap=False, storage_options=storage_options) as source, located(file=source.name):
        with paused_collector():
            opened = read_tree(source, limits, text)
            prepared = _prepare(opened.root, target, dst, watch, limits, leave_out=leave_out)
        watch.total = prepared.nbytes * (2 if verify else 1)
        with open_sink(dst, storage_options=storage_options) as sink:
            prepared.write(sink)
            again = sink.unfinished if verify and isinstance(sink, FileSink) else None
            if again is not None:
                with LocalSource(again) as written, located(file=os.fspath(dst)):
                    _compare(prepared.expected(), read_tree(written, limits, text).root, watch, written.size)
        return Conversion(
            file=source.name,
            format=opened.format,
            out=os.fspath(dst),
            to=target,
            nbytes=prepared.nbytes,
            left_out=tuple(prepared.left_out),
            unkept=opened.unkept,
            unreached=prepared.unreached,
            verified=again is not None,
        )


def _format_of(path: str) -> Format:
    ending = os.path.splitext(path)[1].lower()
    if ending not in SUFFIXES:
        message = f"{path!r} does not end in {', '.join(SUFFIXES)}: say which format it shall have (to=)"
        raise ValueError(message)
    return SUFFIXES[ending]


# writing


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file that is laid out and not written yet."""

    nbytes: int
    write: Callable[[Sink], None]
    expected: Callable[[], Any]
    """The tree that the file has to give again."""
    left_out: Sequence[str] = ()
    unreached: int = 0


def _prepare(root: Any, target: Format, dst: Path, watch: _Watch, limits: Limits, *, leave_out: bool) -> _Prepared:
    if target == "pt":
        save = streamed_save(root, dst, StreamedStorages(watch.storage))
        return _Prepared(save.nbytes, save.write, lambda: root)
    other = safetensors_format if target == "safetensors" else npz_format
    described = describe(root, objection=other.objection, allows=other.allows, leave_out=leave_out)
    planned = other.lay_out(described.entries, described.note)

    def write(sink: Sink) -> None:
        planned.write(sink, watch.entry)

    def expected() -> Any:
        if not described.left_out:
            return root
        return restore(described.note, {entry.name: entry.tensor for entry in described.entries}, limits)

    return _Prepared(planned.nbytes, write, expected, described.left_out, described.unreached)


_Key: TypeAlias = "View | tuple[int, int, int]"


def _key(tensor: Tensor) -> _Key:
    """What tensors with the same elements have in common: the run of bytes of a storage, if they are just that."""
    if tensor.is_contiguous() and is_plain(tensor):
        return (id(tensor.untyped_storage()), *reached(tensor))
    return view_of(tensor)


class _Watch:
    """Sees all bytes pass: sums them up, and says how far it is."""

    def __init__(self, progress: Progress | None) -> None:
        self.total = 0
        self.sums: dict[_Key, int] = {}
        """The CRC-32 of elements that have been written."""
        self._progress = progress
        self._done = 0

    def entry(self, entry: Entry) -> Iterator[Bytes]:
        """The elements of a tensor."""
        return self._summed(_key(entry.tensor), entry.pieces())

    def storage(self, storage: Storage) -> Iterator[Bytes]:
        """The bytes of a storage."""
        return self._summed((id(storage), 0, storage.nbytes()), storage.pieces())

    def advance(self, nbytes: int) -> None:
        self._done += nbytes
        if self._progress is not None:
            self._progress(min(self._done, self.total), self.total)

    def _summed(self, key: _Key, pieces: Iterator[Bytes]) -> Iterator[Bytes]:
        crc = 0
        for piece in pieces:
            crc = isal_zlib.crc32(piece, crc)
            yield piece
            self.advance(piece.nbytes)
        self.sums[key] = crc


# reading again


class _Sums(Digester):
    """Hashes a tree with the CRC-32 of tensors' elements, which are known of one that has been written."""

    def __init__(self, file_size: int, watch: _Watch, known: Mapping[_Key, int]) -> None:
        super().__init__(file_size)
        self._watch = watch
        self._known = known

    def of_elements(self, tensor: Tensor | QuantizedTensor) -> bytes:
        if isinstance(tensor, QuantizedTensor):
            known, pieces = None, element_bytes(tensor)
        else:
            known, pieces = self._known.get(_key(tensor)), Entry(tensor, 0).pieces()
        crc = known or 0
        if known is None:
            for piece in self.counted(pieces):
                crc = isal_zlib.crc32(piece, crc)
                self._watch.advance(piece.nbytes)
        return crc.to_bytes(4, "little")


def _compare(expected: Any, found: Any, watch: _Watch, size: int) -> None:
    """Raise FormatError unless both trees say the same."""
    if _Sums(size, watch, watch.sums).digest(expected) != _Sums(size, watch, {}).digest(found):
        problem = "what was written is not what is read again, so the file was not put in place"
        raise FormatError(problem, fix="The disk may be at fault: try again, or another disk")

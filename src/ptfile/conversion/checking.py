"""Whether a file says what it was made of: sums of all that is written, and a comparison with what is read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from isal import isal_zlib

from ptfile._digest import Digester
from ptfile.conversion.placing import Entry, View, is_plain, view_of
from ptfile.conversion.report import Progress
from ptfile.errors import FormatError
from ptfile.tensors.elements import element_bytes
from ptfile.tensors.quantized import QuantizedTensor
from ptfile.tensors.reach import reached
from ptfile.tensors.storage import Bytes, Storage
from ptfile.tensors.tensor import Tensor

_Key: TypeAlias = "View | tuple[int, int, int]"


def _key(tensor: Tensor) -> _Key:
    """What tensors with the same elements have in common: the run of bytes of a storage, if they are just that."""
    if tensor.is_contiguous() and is_plain(tensor):
        return (id(tensor.untyped_storage()), *reached(tensor))
    return view_of(tensor)


class Watch:
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


class _Sums(Digester):
    """Hashes a tree with the CRC-32 of tensors' elements, which are known of one that has been written."""

    def __init__(self, file_size: int, watch: Watch, known: Mapping[_Key, int]) -> None:
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


def compare(expected: Any, found: Any, watch: Watch, size: int) -> None:
    """Raise FormatError unless both trees say the same."""
    if _Sums(size, watch, watch.sums).digest(expected) != _Sums(size, watch, {}).digest(found):
        problem = "what was written is not what is read again, so the file was not put in place"
        raise FormatError(problem, fix="The disk may be at fault: try again, or another disk")

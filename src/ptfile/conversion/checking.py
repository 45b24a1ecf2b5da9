"""Whether a file says what it was made of: sums of all that is written, and a comparison with what is read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from isal import isal_zlib

from ptfile._digest import Digester
from ptfile._progress import Counter
from ptfile._threads import cores, share
from ptfile._types import Progress
from ptfile.conversion.placing import Entry, View, run_of, view_of
from ptfile.conversion.reading import Opened, read_tree
from ptfile.errors import FormatError, located
from ptfile.formats.feeding import Feed, Part, sums
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sinks import FileSink, Sink
from ptfile.sources import LocalSource
from ptfile.tensors.elements import element_bytes
from ptfile.tensors.quantized import QuantizedTensor
from ptfile.tensors.storage import Run, Storage
from ptfile.tensors.tensor import Tensor

_Key: TypeAlias = "View | tuple[int, int, int]"
"""What tensors with the same elements have in common: the run of bytes of a storage, if they are just that."""


def _key(tensor: Tensor, run: Run | None) -> _Key:
    return view_of(tensor) if run is None else (id(tensor.untyped_storage()), *run)


class Watch:
    """Sees all bytes pass: sums them up, if they are to be compared, and says how far it is."""

    def __init__(self, progress: Progress | None, *, compares: bool) -> None:
        self.counter = Counter(progress)
        self.sums: dict[_Key, int] = {}
        """The CRC-32 of elements that have been written."""
        self._compares = compares

    def expect(self, nbytes: int, sink: Sink) -> None:
        """Be told how large the file will be, and what it goes to."""
        self.counter.total = nbytes * (1 if self.to_read_again(sink) is None else 2)

    def to_read_again(self, sink: Sink) -> str | None:
        """The path of what was written and is to be compared; None if that is not wanted, or not possible."""
        return sink.unfinished if self._compares and isinstance(sink, FileSink) else None

    def feed(self, parts: Sequence[Part]) -> Feed:
        """The bytes of storages or elements of tensors, for who writes them."""
        return Feed(parts, seen=self._seen if self._compares else None, advance=self.counter.advance)

    def _seen(self, part: Part, crc: int) -> None:
        if isinstance(part, Entry):
            self.sums[_key(part.tensor, part.run)] = crc
        elif part.whole is not None:
            self.note(part.whole, crc)

    def note(self, storage: Storage, crc: int) -> None:
        """Be told the CRC-32 of a storage that has been written."""
        self.sums[_whole(storage)] = crc

    def read(self, storages: Sequence[Storage]) -> dict[_Key, int]:
        """The CRC-32 of the bytes of each storage."""
        found: dict[_Key, int] = {}

        def task(sum_up: Callable[[], Sequence[tuple[Storage, int]]]) -> None:
            found.update([(_whole(storage), crc) for storage, crc in sum_up()])

        share((partial(task, sum_up) for sum_up in sums(storages, self.counter.advance)), cores())
        return found


def _whole(storage: Storage) -> _Key:
    return (id(storage), 0, storage.nbytes())


class Sums(Digester):
    """Hashes a tree with the CRC-32 of tensors' elements, which are known of those that are whole storages."""

    def __init__(self, file_size: int, known: Mapping[_Key, int]) -> None:
        super().__init__(file_size)
        self._known = known

    def hash_of_elements(self, tensor: Tensor | QuantizedTensor) -> bytes:
        crc = None if isinstance(tensor, QuantizedTensor) else self._known.get(_key(tensor, run_of(tensor)))
        return super().hash_of_elements(tensor) if crc is None else crc.to_bytes(4, "little")

    def of_elements(self, tensor: Tensor | QuantizedTensor) -> bytes:
        """The CRC-32 of some bytes of a storage that has been read to its end, so that its checksum is right."""
        crc = 0
        for piece in self.counted(element_bytes(tensor)):
            crc = isal_zlib.crc32(piece, crc)
        return crc.to_bytes(4, "little")


class StorageSums(Sums):
    """The same for a file that has the storages themselves: with them whole, tensors are the same if they look alike.

    Nothing is read again of the source, and what no tensor reaches is compared as well.
    """

    def hash_of_elements(self, tensor: Tensor | QuantizedTensor) -> bytes:
        crc = self._known.get(_whole(tensor.untyped_storage()))
        if crc is None:
            return super().hash_of_elements(tensor)
        flags = (tensor.is_conj(), tensor.is_neg()) if isinstance(tensor, Tensor) else ()
        return repr((crc, tensor.storage_offset(), tensor.stride(), flags)).encode()


def is_as_expected(
    sink: Sink,
    called: str,
    expected: Callable[[], Any],
    watch: Watch,
    limits: Limits,
    text: Python2Text,
    *,
    of: type[Sums] = Sums,
) -> bool:
    """Whether a new file, which has not its name yet, was read again: not if that is not wanted, or not possible.

    called: its name to be; expected: gives the tree that was written; of: what tensors are compared by.

    Raises FormatError if it does not say the same.
    """
    path = watch.to_read_again(sink)
    if path is None:
        return False
    with LocalSource(path) as written, located(file=called):
        written.name = called  # a temporary name would be no use in an error
        _compare(expected(), read_tree(written, limits, text), watch, of, written.size)
    return True


def _compare(expected: Any, found: Opened, watch: Watch, of: type[Sums], size: int) -> None:
    """Raise FormatError unless a tree and the file that it was written to say the same."""
    if of(size, watch.sums).digest(expected) != of(size, watch.read(found.storages)).digest(found.root):
        problem = "what was written is not what is read again, so the file was not put in place"
        raise FormatError(problem, fix="The disk may be at fault: try again, or another disk")

"""What is left of a broken zip-format file: its object tree, and which of its storages are whole.

The pickle is the first record and says which storages there are and how large each is; so what a file should hold is
known as soon as that record is intact, however much is missing behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isal import isal_zlib

from ptfile._lazy import np
from ptfile.containers import zip_salvage as zsv
from ptfile.containers import zip_structs as zs
from ptfile.containers.serialization_id import LENGTH
from ptfile.containers.zip_directory import read_directory
from ptfile.containers.zip_salvage import Piece
from ptfile.containers.zip_structs import ALIGNMENT
from ptfile.errors import FormatError, PtfileError, UnsupportedError, located
from ptfile.formats.pickle_sequence import PickleSequence
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.storages import LoadedStorages
from ptfile.limits import Limits
from ptfile.sources import Source
from ptfile.sources.read_ahead import near
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

if TYPE_CHECKING:
    import numpy.typing as npt

_PICKLE = "data.pkl"
_ID = ".data/serialization_id"
_BYTE_ORDERS = {len(order): order for order in (b"little", b"big")}
_ALIGNMENT_DIGITS = range(1, 6)
_LAYOUTS = (
    ((".format_version", ".storage_alignment", "byteorder"), ("version", _ID)),  # since PyTorch 2.7
    ((".format_version", ".storage_alignment"), ("version", "byteorder", _ID)),  # if asked to leave out the byte order
    (("byteorder",), ("version", _ID)),  # 2.1 to 2.6
    ((), ("version", "byteorder", _ID)),
    ((), ("version",)),  # before
)
"""Records between the pickle and the storages, and behind them."""
_SMALL_SIZES = {".format_version": 1, ".storage_alignment": 0, "version": 2, _ID: LENGTH, "byteorder": 6}
"""Of what is in none but these; the alignment has as many digits as it has."""


@dataclass(slots=True)
class SalvagedStorage:
    """One storage that the pickle asks for, and what became of its bytes."""

    key: str
    record: str
    """Name of its record, without the root folder."""
    nbytes: int
    storage: Storage
    """Reading it raises FormatError if it is lost."""
    payload: int = 0
    """Where the bytes are in the file, if they are not lost."""
    crc: int | None = None
    """None or 0: there is no checksum, so the bytes are unverified."""
    problem: str = ""
    """Why it is lost; empty: it is not."""

    @property
    def is_verified(self) -> bool:
        """Whether the checksum is known, and right."""
        return not self.problem and (bool(self.crc) or not self.nbytes)


class BrokenZip:
    """A zip-format file that need not be whole. Nothing is read of its storages before `resolve`.

    Raises FormatError for a file whose pickle is damaged, which leaves nothing to salvage, UnsupportedError for one
    that `torch.save` did not write on a machine of this byte order, and what running the pickle raises.
    """

    def __init__(self, source: Source, limits: Limits, runner: PickleRunner) -> None:
        # Headers lie between payloads: a window serves many small records at once.
        self.source = near(source)
        self.notes: list[str] = []
        """What had to be taken on trust."""
        self.fault: PtfileError | None = None
        """What is wrong with the zip file as a whole."""
        self.storages: dict[str, SalvagedStorage] = {}
        """By key, in the order of the pickle."""
        with located(file=source.name):
            pieces = self._listed(limits)
            first = self._first(pieces)
            self.root = first.name.removesuffix(_PICKLE)
            self._is_old = False
            self._pickle = self._read_pickle(first, limits)
            with located(record=_PICKLE):
                self.value: Any = runner.run(self._pickle, LoadedStorages(self._make, None).load)[0]
            if pieces is None:
                pieces = zsv.walk(source, self.root, self._sizes())
            self.pieces: Mapping[str, Piece] = pieces
            self._is_old = f"{self.root}tensors/{next(iter(self.storages), '')}" in pieces
            for storage in self.storages.values():
                storage.record = self._record(storage.key)
            self._check_kind()

    # the pickle

    def _listed(self, limits: Limits) -> dict[str, Piece] | None:
        """What the directory lists; None if it is damaged or gone."""
        try:
            return zsv.listed(self.source, read_directory(self.source, limits))
        except (FormatError, UnsupportedError) as error:
            self.fault = error
            return None

    def _first(self, pieces: Mapping[str, Piece] | None) -> Piece:
        if pieces is not None:
            first = next((piece for name, piece in pieces.items() if name.count("/") == 1 and _is_pickle(name)), None)
        else:
            first = zsv.first_pickle(self.source)
        if first is None:
            raise zsv.damaged("it is not there, or its header is damaged", _PICKLE)
        return first

    def _read_pickle(self, piece: Piece, limits: Limits) -> bytes:
        if piece.method != zs.STORED:
            raise _compressed()
        for payload in piece.payloads:
            size, crc = piece.size, piece.crc
            if size is None:
                cut = PickleSequence(self.source, limits, payload).next()
                if cut.fault is not None:
                    raise zsv.damaged(f"{cut.fault.problem}, in the pickle that says what is in the file", _PICKLE)
                size = len(cut.data)
                crc = zsv.described(self.source, payload, size)
            if payload + size > self.source.size or size > limits.pickle_size or crc is None:
                continue
            data = bytes(self.source.read(payload, size))
            if crc in (0, isal_zlib.crc32(data)):
                if not crc:
                    self.notes.append(f"{_PICKLE} has no checksum")
                return data
        raise zsv.damaged("its checksum is wrong or lost, and it says what is in the file", _PICKLE)

    def _make(self, key: str, nbytes: int, dtype: DType | None) -> Storage:  # noqa: ARG002
        storage = Storage.deferred(nbytes, lambda: self.read(key))
        self.storages[key] = SalvagedStorage(key, self._record(key), nbytes, storage)
        return storage

    def _record(self, key: str) -> str:
        return f"tensors/{key}" if self._is_old else f"data/{key}"

    def _sizes(self) -> dict[str, int]:
        sizes = {f"{self.root}{_PICKLE}": len(self._pickle)}
        for key, storage in self.storages.items():
            sizes[f"{self.root}data/{key}"] = sizes[f"{self.root}tensors/{key}"] = storage.nbytes
        return sizes

    def _check_kind(self) -> None:
        if f"{self.root}constants.pkl" in self.pieces:
            raise UnsupportedError("only files of torch.save can be salvaged, and this is TorchScript")
        order = self._small("byteorder", _BYTE_ORDERS)
        if order is None and f"{self.root}byteorder" in self.pieces:
            self.notes.append("the record of the byte order is damaged: little-endian is assumed")
        if order == b"big":
            raise UnsupportedError("only little-endian files can be salvaged", file=self.source.name)

    def _small(self, name: str, sizes: Iterator[int] | Mapping[int, bytes] | range) -> bytes | None:
        """The content of a small record whose size is one of these; None if it is not there or damaged."""
        piece = self.pieces.get(f"{self.root}{name}")
        for payload in piece.payloads if piece else ():
            for size in sizes:
                if payload + size > self.source.size or (piece and piece.size not in (size, None)):
                    continue
                data = bytes(self.source.read(payload, size))
                crc = zsv.described(self.source, payload, size) if piece is None or piece.crc is None else piece.crc
                if crc is not None and crc in (0, isal_zlib.crc32(data)):
                    return data
        return None

    # the storages

    def resolve(self, advance: Callable[[int], None] = lambda _: None) -> None:
        """Find the bytes of all storages, and check them: everything is read once, in the order of the file.

        advance: gets how many further bytes have been read.
        """
        placed = [f"{self.root}{storage.record}" in self.pieces for storage in self.storages.values()]
        last = max((number for number, is_there in enumerate(placed) if is_there), default=-1)
        for number, storage in enumerate(self.storages.values()):
            cut = self.fault is not None and number > last
            storage.problem = "the file ends before it" if cut else "its header is damaged or gone"
        for storage in sorted(self.storages.values(), key=self._place):
            self._resolve(storage, advance)

    def _place(self, storage: SalvagedStorage) -> int:
        piece = self.pieces.get(f"{self.root}{storage.record}")
        return piece.header if piece else self.source.size

    def _resolve(self, storage: SalvagedStorage, advance: Callable[[int], None]) -> None:
        piece, size = self.pieces.get(f"{self.root}{storage.record}"), storage.nbytes
        if piece is None:
            return
        if piece.size not in (size, None):
            storage.problem = f"it has {piece.size} bytes, and the pickle asks for {size}"
        elif piece.method != zs.STORED:
            storage.problem = "it is compressed, which PyTorch never does"
        else:
            for payload in piece.payloads:
                storage.payload = payload
                try:
                    storage.crc, storage.problem = self._check(piece, payload, size, advance)
                except OSError as error:  # a disk that is failing gives what it can
                    storage.problem = f"it cannot be read: {error.strerror or error}"
                if not storage.problem:
                    return

    def _check(self, piece: Piece, payload: int, size: int, advance: Callable[[int], None]) -> tuple[int | None, str]:
        """The checksum of a storage whose bytes begin at `payload`, and what is wrong with them."""
        end = self.source.size
        if payload + size > end:
            return None, f"cut off: {max(0, end - payload)} of its {size} bytes are there"
        crc = zsv.described(self.source, payload, size) if piece.crc is None else piece.crc
        if crc is None and payload + size + zs.DESCRIPTOR.size <= end:
            return None, "what follows it is damaged, and its checksum was there" + self._zeros(payload, size)
        if crc and crc != zsv.crc_of(self.source, payload, size, advance):
            return crc, "its checksum is wrong" + self._zeros(payload, size)
        return crc, ""

    def _zeros(self, payload: int, size: int) -> str:
        run = zsv.zero_run(self.source, payload, size)
        return f"; bytes {run[0]} to {run[1]} of the file are zeros" if run else ""

    def read(self, key: str) -> npt.NDArray[np.uint8]:
        """The bytes of a storage, checked once more."""
        found = self.storages[key]
        if found.problem or not (found.payload or not found.nbytes):
            raise FormatError(f"its bytes are lost: {found.problem}", file=self.source.name, record=found.record)
        data = np.empty(found.nbytes, np.uint8)
        self.source.read_into(found.payload, data.data)
        if found.crc and isal_zlib.crc32(data) != found.crc:
            raise FormatError("it has changed since its checksum was verified", record=found.record)
        return data

    # how long the file was

    def full_size(self) -> int | None:
        """Bytes that the file had when it was whole, as PyTorch lays files out; None if what is left does not tell."""
        text = self._small(".storage_alignment", _ALIGNMENT_DIGITS)
        alignment = int(text) if text and text.isdigit() else ALIGNMENT
        keys = list(self.storages)
        numbered = sorted(keys, key=lambda key: (len(key), key))
        sizes = {
            size
            for head, tail in _LAYOUTS
            if self._may_be(head, tail)
            for order in {tuple(numbered), tuple(keys), tuple(sorted(keys))}
            if (size := self._planned(head, order, tail, alignment)) is not None
        }
        return sizes.pop() if len(sizes) == 1 else None

    def _may_be(self, head: tuple[str, ...], tail: tuple[str, ...]) -> bool:
        """Whether the records that are there are those of a layout, before anything is planned."""
        there = {name.removeprefix(self.root) for name in self.pieces}
        small = there & set(_SMALL_SIZES)
        return small <= {*head, *tail} and (there == small | {_PICKLE} or small >= set(head))

    def _planned(
        self, head: tuple[str, ...], keys: tuple[str, ...], tail: tuple[str, ...], alignment: int
    ) -> int | None:
        """The size of the file if it was laid out like this; None if it was not."""
        from ptfile.containers.zip_writer import plan  # what writes files, for those that are cut off alone

        before = [(_PICKLE, len(self._pickle))]
        before += [(name, _SMALL_SIZES[name] or len(str(alignment))) for name in head]
        middle = [(self._record(key), self.storages[key].nbytes) for key in keys]
        behind = [(name, _SMALL_SIZES[name]) for name in tail]
        try:
            layout = plan(self.root.rstrip("/"), before + middle + behind, alignment=alignment)
        except ValueError:
            return None
        places = {record.name: record.header_offset for record in layout.records}
        agrees = all(places.get(name) == piece.header for name, piece in self.pieces.items())
        # What would lie whole in what is left of the file has to be there.
        end = self.source.size
        is_there = all(record.name in self.pieces or record.payload_offset > end for record in layout.records)
        return layout.size if agrees and is_there and layout.size > end else None


def _is_pickle(name: str) -> bool:
    return name.endswith(f"/{_PICKLE}")


def _compressed() -> UnsupportedError:
    return UnsupportedError("it is compressed, which PyTorch never does, and only stored records can be salvaged")

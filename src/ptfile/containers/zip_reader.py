"""Records of a zip file: found by name, located exactly, read whole and checked.

Strict where PyTorch's own reader is not: local headers are compared with the directory and CRCs are checked, since a
checkpoint that is wrong in silence costs more than one that doesn't load.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain

from isal import igzip_lib, isal_zlib

from ptfile._lazy import np
from ptfile._threads import cores, share
from ptfile._types import Buffer
from ptfile.containers import zip_structs as zs
from ptfile.containers.pieces import PIECE, Pieces
from ptfile.containers.zip_directory import Record, read_directory
from ptfile.containers.zip_rows import Rows, read_rows
from ptfile.containers.zip_runs import HEADER_SIZE, SMALL, Runs, payloads
from ptfile.containers.zip_small import read_small
from ptfile.errors import FormatError, LimitError, PtfileError
from ptfile.limits import Limits
from ptfile.sources.base import ConcurrentSource, DistantSource, Source, ViewSource
from ptfile.sources.read_ahead import near

LARGE = 256 << 10
"""Bytes of a record that are worth a thread's turn."""
_ALONE = 2 * PIECE
"""Bytes of one record that are worth beginning a thread for."""
_EXTRA_GUESS = 128
"""Bytes of local extra field fetched with the header: PyTorch's padding to 64 and a zip64 block fit."""
_LONG_HEADER = 1 << 10
"""Bytes of a name and an extra field that few headers have more of."""
_FAR = 32 << 10
"""Bytes from one header to the next, of a mapped file, that make it faster to read each than to look at its page."""
_LONG_NAME = 1 << 8
"""Characters of a name for which there is no room beside that of every other record."""
_RAW_DEFLATE = -15
"""zlib's window bits for deflate without zlib's own header."""


class ZipReader:
    """The records of a zip file in a source. The source stays the caller's to close, after the reader's last use.

    Threads may share one, as far as they may share the source.
    """

    def __init__(self, source: Source, limits: Limits | None = None) -> None:
        """Read the directory. Raises FormatError, UnsupportedError or LimitError as `read_directory` says."""
        self._source = source
        self._limits = limits or Limits()
        self._directory = read_small(source, self._limits) or read_directory(source, self._limits)
        self._places = self._directory.places
        self._root = _folder_of(self._directory.records)
        # Headers lie between payloads: a window serves many small records at once.
        self._views = source if isinstance(source, ViewSource) else None
        self._distant = source if isinstance(source, DistantSource) else None
        self._near = near(source)
        has_runs = self._places is None and self._views is None and self._distant is None
        self._runs = Runs(source, self._directory) if has_runs else None

    @property
    def source(self) -> Source:
        return self._source

    @property
    def records(self) -> Mapping[str, Record]:
        """All records by name, root folder included, in the order of their bytes. Folders are left out."""
        return self._directory.records

    @property
    def is_compared(self) -> bool:
        """Whether the headers of all records have been compared with the directory."""
        return self._directory.places is not None

    @property
    def root(self) -> str:
        """The one folder that everything is in. Raises FormatError if there is none, or more than one."""
        if self._root is None:
            raise FormatError("its records are not all in one folder, as a checkpoint's are", file=self._source.name)
        return self._root

    def record(self, name: str) -> Record | None:
        """The record of this name inside the root folder, or None. Raises FormatError if there is no one root."""
        return self._directory.records.get(f"{self.root}/{name}")

    def will_read(self, header_offsets: Iterable[int]) -> None:
        """Say that the records whose headers are here are going to be read, in this order, to a source far away."""
        if self._distant is not None:
            self._distant.will_read((offset, self._end_of(offset)) for offset in header_offsets)

    def will_look(self, nbytes: int) -> None:
        """Say that the headers of all records are going to be read, and so many bytes of what follows each."""
        if self._distant is not None:
            offsets = self._directory.header_offsets
            ends = (min(offset + zs.LOCAL.size + _LONG_HEADER + nbytes, self._end_of(offset)) for offset in offsets)
            self._distant.will_read(zip(offsets, ends, strict=True))

    def will_read_parts(self, record: Record, runs: Iterable[tuple[int, int]]) -> None:
        """Say that runs of bytes (first, behind the last) of a stored record are going to be read, and its header."""
        if self._distant is None:
            return
        header = record.header_offset
        behind = self._end_of(header) - record.size
        # The header says where the payload begins, and the end of the record where it can: a descriptor is behind it.
        first = max(header, behind - zs.DESCRIPTOR64.size)
        head = zs.LOCAL.size + len(record.name.encode()) + _EXTRA_GUESS
        parts = ((first + start, behind + stop) for start, stop in runs)
        self._distant.will_read(chain([(header, min(header + head, behind))], parts))

    def locate(self, record: Record) -> int:
        """Offset of the payload, from the start of the file.

        Reads the local header; raises FormatError unless it says what the directory says, and the payload and its
        descriptor end where the next header, or the directory, begins.
        """
        try:
            return self._locate(record)
        except PtfileError as error:
            self._place(error, record)
            raise

    def read(self, record: Record) -> Buffer:
        """The content, `record.size` bytes: a view where the source is memory, else a copy, or a view of one.

        Raises FormatError for a wrong CRC (0 passes: not computed) or a wrong length, LimitError for a deflated
        record that would grow beyond `limits.inflated` and `limits.inflate_ratio`.
        """
        if self._distant is not None:
            self.will_read([record.header_offset])
        try:
            payload = self._locate(record)
            if record.method == zs.STORED and (self._views is not None or record.size <= SMALL):
                view = self._near.read(payload, record.size)
                _check_crc(record, isal_zlib.crc32(view))
                return view
            self._check_ratio(record)
            # Memory for as many bytes as the file has, or as the limits allow: both are known by now.
            content = bytearray(record.size)
            self._fill(record, payload, memoryview(content))
        except PtfileError as error:
            self._place(error, record)
            raise
        return content

    def read_into(self, record: Record, target: memoryview) -> None:
        """Fill `target`, a writable view of `record.size` bytes, with the content. Raises as `read` does.

        After an exception `target` holds anything.
        """
        if target.nbytes != record.size:
            raise ValueError(f"record {record.name!r} has {record.size} bytes, the target {target.nbytes}")
        if record.size >= _ALONE and self.threads_for(record) > 1:
            share(self.tasks(record, target), self.threads_for(record))
            return
        if self._distant is not None:
            self.will_read([record.header_offset])
        try:
            if record.size <= SMALL and record.method == zs.STORED:
                found = self._runs.content(record) if self._runs is not None else None
                content = self._near.read(self._locate(record), record.size) if found is None else found
                target[:] = content
                _check_crc(record, isal_zlib.crc32(content))
                return
            self._check_ratio(record)
            self._fill(record, self._locate(record), target.cast("B"))
        except PtfileError as error:
            self._place(error, record)
            raise

    def read_rows(self, records: Sequence[Record]) -> Rows:
        """The contents of many records in the order of the file, each an array of its own; None of those that have to
        be read one by one, and of those with a wrong CRC.
        """
        if self._runs is None:
            return [None] * len(records)
        return read_rows(self._source, self._directory, records)

    def threads_for(self, record: Record) -> int:
        """How many threads read it fastest."""
        worth_it = record.size >= LARGE and record.method == zs.STORED and isinstance(self._source, ConcurrentSource)
        return self._cores if worth_it else 1

    @cached_property
    def _cores(self) -> int:
        return cores()  # asked of the system once, not for each record

    def tasks(
        self, record: Record, target: memoryview, done: Callable[[], None] = lambda: None
    ) -> Iterator[Callable[[], None]]:
        """What `read_into` does for a record that is stored, as tasks that several threads may share.

        The one that ends last checks the CRC and calls `done`.
        """

        def check(crc: int) -> None:
            _check_crc(record, crc)
            done()

        try:
            for task in Pieces(self._source, self._locate(record), target, check).tasks():
                yield partial(self._run, record, task)
        except PtfileError as error:
            self._place(error, record)
            raise

    def _run(self, record: Record, task: Callable[[], None]) -> None:
        try:
            task()
        except PtfileError as error:
            self._place(error, record)
            raise

    def check(self, record: Record, advance: Callable[[int], None] = lambda _: None) -> None:
        """Read a record a piece at a time for its checksum, if it has one, and tell of each. Raises as `read` does."""
        if record.crc or record.method != zs.STORED:
            for piece in self.pieces(record):
                advance(len(piece))
        else:
            self.locate(record)

    def pieces(self, record: Record) -> Iterator[Buffer]:
        """The content a piece at a time; of a deflated record, all of it. Raises as `read` does, a wrong CRC last."""
        if record.method != zs.STORED:
            yield self.read(record)
            return
        self.will_read([record.header_offset])
        try:
            place, crc = self._locate(record), 0
            for start in range(0, record.size, PIECE):
                piece = self._source.read(place + start, min(PIECE, record.size - start))
                crc = isal_zlib.crc32(piece, crc)
                yield piece
            _check_crc(record, crc)
        except PtfileError as error:
            self._place(error, record)
            raise

    def _place(self, error: PtfileError, record: Record) -> None:
        """Tell an error where it was seen. (`errors.located` would be set up for each record, errors or none.)"""
        try:
            name = record.name.removeprefix(f"{self.root}/")
        except FormatError:
            name = record.name
        error.file = error.file or self._source.name
        error.record = error.record or name

    def _end_of(self, header_offset: int) -> int:
        """Where the next header begins, or the directory."""
        offsets = self._directory.header_offsets
        following = bisect_right(offsets, header_offset)
        return offsets[following] if following < len(offsets) else self._directory.offset

    def _places_in_mapping(self) -> Mapping[int, int]:
        """Where payloads begin in a mapped file, by the offsets of their headers, which are looked at side by side.

        Others have to be looked at one by one; so have all of a file that is not mapped, which would have to be read.
        """
        by_name, offsets = self._directory.records, self._directory.header_offsets
        if self._views is None or not self._views.is_mapped or len(by_name) != len(offsets):  # it has folders
            return {}
        longest = max(map(len, by_name), default=0)
        if self._source.size < len(offsets) * _FAR or longest > _LONG_NAME:
            data, heads = self._views.view(0, self._source.size), np.array(offsets, np.int64)
        else:
            # The directory, behind them all, has the longest name as well: no header is nearer to the end than that.
            length = HEADER_SIZE + longest
            data = memoryview(self._views.read_many(offsets, length))
            heads = np.arange(0, data.nbytes, length)
        ends = (*offsets[1:], self._directory.offset)
        places = payloads(np.frombuffer(data, np.uint8), heads, list(by_name.values()), ends)
        return {offset: place for offset, place in zip(offsets, places, strict=True) if place >= 0}

    def _locate(self, record: Record) -> int:
        if self._places is None:
            self._places = self._places_in_mapping()
        place = self._places.get(record.header_offset)
        if place is not None:
            return place
        end = self._end_of(record.header_offset)
        name = record.name.encode("utf-8" if record.flags & zs.FLAG_UTF8 else "cp437")
        room = end - record.header_offset - record.compressed_size
        fixed = zs.LOCAL.size + len(name)
        if fixed > room:
            raise FormatError(f"its header has no room: it would overlap what is at byte {end}")
        header = self._near.read(record.header_offset, min(room, fixed + _EXTRA_GUESS))
        signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = zs.LOCAL.unpack_from(header)
        if signature != zs.LOCAL_SIGNATURE or method != record.method or header[zs.LOCAL.size : fixed] != name:
            raise _disagree(record)
        if name_length != len(name) or (flags & ~zs.FLAGS_HARMLESS):
            raise _disagree(record)
        if fixed + extra_length > room:
            raise FormatError(f"its header's extra field of {extra_length} bytes overruns what is at byte {end}")
        if fixed + extra_length > len(header):
            header = self._near.read(record.header_offset, fixed + extra_length)
        extra = header[fixed : fixed + extra_length]
        _check_local(record, bool(flags & zs.FLAG_DESCRIPTOR), crc, packed, size, extra)
        payload = record.header_offset + fixed + int(extra_length)
        behind = room - fixed - extra_length
        if behind and not (flags & zs.FLAG_DESCRIPTOR and self._is_descriptor(record, payload, behind)):
            raise FormatError(f"{behind} bytes that belong to no record stand behind it")
        return payload

    def _is_descriptor(self, record: Record, payload: int, length: int) -> bool:
        """Whether as many bytes behind the payload can be its descriptor."""
        if length == (zs.DESCRIPTOR64 if record.zip64 else zs.DESCRIPTOR).size:
            return True  # not worth a read: its numbers are in the directory, checked
        forms = zs.descriptor_forms(record.crc, record.compressed_size, record.size)
        return length <= zs.DESCRIPTOR64.size and self._near.read(payload + record.compressed_size, length) in forms

    def _fill(self, record: Record, payload: int, target: memoryview) -> None:
        """Put the content into `target`, which has its size, and check its CRC."""
        if record.method == zs.DEFLATED:
            self._inflate(record, payload, target)
            _check_crc(record, isal_zlib.crc32(target))
            return
        crc = 0
        for start in range(0, record.size, PIECE):
            piece = target[start : start + PIECE]
            self._near.read_into(payload + start, piece)
            crc = isal_zlib.crc32(piece, crc)
        _check_crc(record, crc)

    def _check_ratio(self, record: Record) -> None:
        limits = self._limits
        if record.method == zs.STORED:
            return
        if record.size > limits.inflated and record.size > limits.inflate_ratio * record.compressed_size:
            raise LimitError(
                f"{record.compressed_size} bytes would inflate to {record.size}",
                limit="inflated",
                allowed=limits.inflated,
                actual=record.size,
            )

    def _inflate(self, record: Record, payload: int, target: memoryview) -> None:
        inflater = isal_zlib.decompressobj(wbits=_RAW_DEFLATE)
        read = done = 0
        waiting: Buffer = b""
        try:
            while not inflater.eof:
                if not waiting:
                    length = min(PIECE, record.compressed_size - read)
                    if not length:
                        break
                    waiting = self._near.read(payload + read, length)
                    read += length
                # One byte more than there should be, to see whether there is more.
                content = inflater.decompress(waiting, max_length=record.size - done + 1)
                waiting = inflater.unconsumed_tail
                if done + len(content) > record.size:
                    raise FormatError(f"it inflates to more than its {record.size} bytes")
                target[done : done + len(content)] = content
                done += len(content)
        except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub says it is an instance
            raise FormatError(f"its compressed bytes are damaged ({error})") from error
        if not inflater.eof or done != record.size:
            raise FormatError(f"it inflates to {done} bytes, not to {record.size}")
        if inflater.unused_data or read != record.compressed_size:
            raise FormatError("bytes follow the end of its compressed content")


def _folder_of(names: Iterable[str]) -> str | None:
    """The one folder that all of them are in."""
    first, last = min(names, default=""), max(names, default="")
    folder, slash, _ = first.partition("/")
    return folder if slash and last.startswith(folder + slash) else None  # so are those that sort between them


def _check_local(record: Record, has_descriptor: bool, crc: int, packed: int, size: int, extra: Buffer) -> None:
    """Raise FormatError unless a local header's numbers are the directory's, or left to the descriptor."""
    truth = (record.size, record.compressed_size)
    fields = (size, packed)
    try:
        wide = zs.extra_blocks(extra, zs.ZIP64_EXTRA)
        if wide:
            numbers = struct.unpack(f"<{len(wide[0]) // 8}Q", b"".join(wide))
            # PyTorch writes the block though the fields are 0, not full; then it says the truth or 0 as well.
            if any(number not in (*truth, record.header_offset, 0) for number in numbers):
                raise _disagree(record)
            if zs.MAX32 in fields:
                full = iter(numbers)
                fields = (next(full, 0) if size == zs.MAX32 else size, next(full, 0) if packed == zs.MAX32 else packed)
    except struct.error as error:
        raise FormatError("its header's extra field is damaged") from error
    stated, true = (crc, *fields), (record.crc, *truth)
    if stated == true or (has_descriptor and not any(stated)):  # what writers do, PyTorch the latter
        return
    left_out = (0,) if has_descriptor else ()
    if any(number not in (right, *left_out) for number, right in zip(stated, true, strict=True)):
        raise _disagree(record)


def _check_crc(record: Record, crc: int) -> None:
    # 0: the checksum was switched off when the file was written (torch.serialization.set_crc32_options, skip_data).
    if record.crc and crc != record.crc:
        raise FormatError(
            f"its checksum is {crc:#010x} and should be {record.crc:#010x}: some of its bytes have changed",
            fix="Copy or download the file again, or save what is left of it: ptfile repair",
        )


def _disagree(record: Record) -> FormatError:
    return FormatError(f"its header at byte {record.header_offset} and the directory disagree about it")

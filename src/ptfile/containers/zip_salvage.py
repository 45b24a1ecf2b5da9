"""Records of a broken zip file: what local headers and descriptors still say when the directory is lost or lies.

A zip file can be read from its front: each record has a header before it, and behind it a descriptor with its size and
its checksum. Nothing found here is true before its checksum is: the callers see to that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from isal import isal_zlib

from ptfile._lazy import np
from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_directory import Directory
from ptfile.errors import FormatError
from ptfile.sources.base import Source

_PIECE = 1 << 20
"""Bytes read at a time."""
_FIRST_WINDOW = 4 << 10
_LONGEST_NAME = 4096
"""Bytes. Four that look like a signature turn up in any large file by chance; a sane name behind them does not."""
_PICKLE = "/data.pkl"
_ZEROS = 512
"""Zeros in a row, in bytes, that are worth telling about: a sector of a disk."""
_DESCRIPTORS = (zs.DESCRIPTOR, zs.DESCRIPTOR64)


@dataclass(frozen=True, slots=True)
class Piece:
    """A record as one place in the file tells of it."""

    name: str
    """With the root folder."""
    header: int
    """Where its local header is or should be."""
    payloads: tuple[int, ...]
    """Where its bytes may begin, the likeliest first: two if the header and what follows the record disagree."""
    method: int
    size: int | None = None
    """None: only a descriptor tells."""
    crc: int | None = None
    """None: only a descriptor tells; 0: not computed, perhaps."""


def header_at(source: Source, offset: int) -> Piece | None:
    """The record whose local header is at an offset; None if no sane one is."""
    room = source.size - offset
    if room < zs.LOCAL.size:
        return None
    fields = zs.LOCAL.unpack(source.read(offset, zs.LOCAL.size))
    signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
    fixed = zs.LOCAL.size + name_length
    if signature != zs.LOCAL_SIGNATURE or flags & ~zs.FLAGS_HARMLESS or method not in (zs.STORED, zs.DEFLATED):
        return None
    if not 0 < name_length <= _LONGEST_NAME or fixed + extra_length > room:
        return None
    behind = bytes(source.read(offset + zs.LOCAL.size, name_length + extra_length))
    try:
        name = behind[:name_length].decode()
        sizes = _wide(behind[name_length:], packed, size)
    except (UnicodeDecodeError, struct.error):
        return None
    payload = (offset + fixed + extra_length,)
    if flags & zs.FLAG_DESCRIPTOR:
        return Piece(name, offset, payload, method)
    return Piece(name, offset, payload, method, sizes[1], crc)


def _wide(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """(compressed size, size), from a zip64 block (4.5.3) where the fields are full."""
    for content in zs.extra_blocks(extra, zs.ZIP64_EXTRA):
        if size == packed == zs.MAX32:
            size, packed = struct.unpack_from("<2Q", content)
    return packed, size


def find_header(source: Source, start: int, root: str) -> Piece | None:
    """The next record of a root folder (any if it is empty) whose header begins at `start` or behind it."""
    for at in _find(source, zs.LOCAL_SIGNATURE, start):
        piece = header_at(source, at)
        if piece is not None and piece.name.startswith(root):
            return piece
    return None


def _find(source: Source, pattern: bytes, start: int) -> Iterator[int]:
    """Where some bytes occur. The next is most often near: the windows begin small."""
    window = _FIRST_WINDOW
    while start + len(pattern) <= source.size:
        data = bytes(source.read(start, min(window, source.size - start)))
        at = data.find(pattern)
        while at >= 0:
            yield start + at
            at = data.find(pattern, at + 1)
        start += len(data) - len(pattern) + 1
        window = min(2 * window, _PIECE)


def walk(source: Source, root: str, sizes: Mapping[str, int]) -> dict[str, Piece]:
    """The records of a root folder by name, from the front of the file. Of two with one name the first counts.

    sizes: what is known of them from elsewhere. Nothing is looked for within as many bytes of a record, whatever they
    look like: they may hold a zip file with the same names, of which none may be taken for one of the file's own.
    """
    found: dict[str, Piece] = {}
    at = 0
    while (piece := find_header(source, at, root)) is not None:
        found.setdefault(piece.name, piece)
        size = sizes.get(piece.name, piece.size)
        at = piece.payloads[0] + (size or 0)
    return found


def listed(source: Source, directory: Directory) -> dict[str, Piece]:
    """The records of a directory by name, with the places where their bytes may be if their headers are damaged."""
    ends = dict(pairwise((*directory.header_offsets, directory.offset)))
    found: dict[str, Piece] = {}
    for name, record in directory.records.items():
        payloads = []
        header = header_at(source, record.header_offset)
        if header is not None and header.name == name:
            payloads.append(header.payloads[0])
        # What follows the bytes of a record is a descriptor, if anything.
        descriptor = (zs.DESCRIPTOR64 if record.zip64 else zs.DESCRIPTOR).size if record.size else 0
        from_end = ends[record.header_offset] - descriptor - record.compressed_size
        if from_end not in payloads and from_end > record.header_offset:
            payloads.append(from_end)
        found[name] = Piece(name, record.header_offset, tuple(payloads), record.method, record.size, record.crc)
    return found


def described(source: Source, payload: int, size: int) -> int | None:
    """The checksum in the descriptor behind a stored record of this size; None if there is no such descriptor.

    PyTorch writes none behind an empty record, whose checksum is 0.
    """
    if size == 0:
        return 0
    for form in _DESCRIPTORS:
        at = payload + size
        if at + form.size <= source.size:
            signature, crc, *both = form.unpack(source.read(at, form.size))
            if signature == zs.DESCRIPTOR_SIGNATURE and both == [size, size]:
                return int(crc)
    return None


def crc_of(source: Source, offset: int, length: int, advance: Callable[[int], None] = lambda _: None) -> int:
    """CRC-32 of a run of bytes, which is read in pieces. Raises FormatError where the source ends before it does.

    advance: gets how many further bytes have been read.
    """
    crc = 0
    for start in range(offset, offset + length, _PIECE):
        piece = source.read(start, min(_PIECE, offset + length - start))
        crc = isal_zlib.crc32(piece, crc)
        advance(len(piece))
    return crc


def zero_run(source: Source, offset: int, length: int) -> tuple[int, int] | None:
    """(start, end) of the longest run of zeros, to whole sectors of the file, in a run of bytes; None if none is long.

    A file system that has lost a block, or never wrote it, gives zeros.
    """
    best: tuple[int, int] = (0, 0)
    begun: int | None = None
    end = (offset + length) // _ZEROS * _ZEROS
    for start in range(-(-offset // _ZEROS) * _ZEROS, end, _PIECE):
        window = np.frombuffer(source.read(start, min(_PIECE, end - start)), np.uint8)
        blank = np.logical_not(window.reshape(-1, _ZEROS).max(axis=1)).tolist()
        for sector, is_blank in enumerate([*blank, False] if start + _PIECE >= end else blank):
            at = start + sector * _ZEROS
            if is_blank:
                begun = at if begun is None else begun
            elif begun is not None:
                best, begun = max(best, (begun, at), key=_length), None
    return best if _length(best) else None


def _length(run: tuple[int, int]) -> int:
    return run[1] - run[0]


def zeros_at_end(source: Source) -> int:
    """How many bytes at the end of a source are zeros."""
    end = source.size
    while end > 0:
        start = max(0, end - _PIECE)
        kept = len(bytes(source.read(start, end - start)).rstrip(b"\0"))
        if kept:
            return source.size - start - kept
        end = start
    return source.size


def zeros_at_start(source: Source) -> int:
    """How many bytes at the start of a source are zeros."""
    for start in range(0, source.size, _PIECE):
        window = bytes(source.read(start, min(_PIECE, source.size - start)))
        kept = len(window.lstrip(b"\0"))
        if kept:
            return start + len(window) - kept
    return source.size


def first_pickle(source: Source) -> Piece | None:
    """The pickle of a file without a directory: its first record, or, as PyTorch 1.4 wrote it, its second.

    One that is found further on may belong to another checkpoint, which a storage of this one holds.
    """
    first = header_at(source, 0)
    if first is None or first.name.endswith(_PICKLE):
        return first
    root = first.name.rpartition("/")[0] + "/"
    second = find_header(source, first.payloads[0], root)
    near = second is not None and second.header - first.payloads[0] <= _FIRST_WINDOW
    return second if near and second is not None and second.name == root.rstrip("/") + _PICKLE else None


def damaged(problem: str, name: str) -> FormatError:
    """The error for a record that nothing can be made without."""
    return FormatError(problem, record=name, fix="Nothing can be salvaged: copy or download the file again")

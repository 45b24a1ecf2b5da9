"""Zip files that are not as they should be: what another reader might still find in them.

A strict reader refuses such a file, and a scan that stopped there would be what a file that means harm wants.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import islice, pairwise

from ptfile.containers import zip_structs as zs
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import PtfileError
from ptfile.limits import Limits
from ptfile.sources import MemorySource, Source
from ptfile.sources.part import part_of

_WINDOW = 1 << 20
_MOST_TRIES = 16
"""Ends of zip files that turn out to be none."""
MOST_HEADERS = 10_000
_WHOLE = 16
_RAW_DEFLATE = -15


def zips_in(source: Source, limits: Limits, tell: Callable[[int], None]) -> Iterator[tuple[int, ZipReader]]:
    """The zip files that stand one behind the other from the start on, as far as they are sound, and where each begins.

    Distributed checkpoints are files like that. tell: is told up to where it was looked.
    """
    start, tries = 0, 0
    for at in _positions(source, zs.END_SIGNATURE, 0, tell):
        end = at + zs.END.size
        if at < start or end > source.size:
            continue
        _, comment = zs.unpack_end(bytes(source.read(at, zs.END.size)), 0)
        end += comment
        if end > source.size or tries > _MOST_TRIES:
            continue
        try:
            reader = ZipReader(part_of(source, start, end - start, source.name), limits)
        except PtfileError:
            tries += 1
            continue
        yield start, reader
        start = end


def ends_as_zip(source: Source) -> bool:
    """Whether there is a zip file at the end, whatever stands before it: most readers of zip files look there first."""
    start = max(0, source.size - zs.END.size - zs.MAX16)
    tail = bytes(source.read(start, source.size - start))
    at = tail.rfind(zs.END_SIGNATURE)
    if not 0 <= at <= len(tail) - zs.END.size:
        return False
    _, comment = zs.unpack_end(tail, at)
    return at + zs.END.size + comment == len(tail)


def headers_in(source: Source, start: int, tell: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    """The places of what may be headers of records, from `start` on, and how many bytes of each are worth looking at.

    A header may be a lie inside of a record, so the first few get all the rest; if all did, it would take too long.
    tell: is told up to where it was looked.
    """
    places = [*islice(_positions(source, zs.LOCAL_SIGNATURE, start, tell), MOST_HEADERS), source.size]
    for number, (offset, following) in enumerate(pairwise(places)):
        yield offset, source.size if number < _WHOLE else following - offset


def record_at(source: Source, offset: int, most: int, limits: Limits) -> tuple[str, int | None, Source] | None:
    """The name of the record whose header is at `offset`, where its bytes begin (None: compressed), and they.

    Nothing but the header is believed; where that gives no size, they are `most`, or go on to the end of the file.
    """
    try:
        fixed = bytes(source.read(offset, zs.LOCAL.size))
        signature, _, _, method, _, _, _, packed, _, name_length, extra_length = zs.LOCAL.unpack(fixed)
        payload = offset + zs.LOCAL.size + name_length + extra_length
        rest = source.size - payload
        if signature != zs.LOCAL_SIGNATURE or rest <= 0:
            return None
        name = bytes(source.read(offset + zs.LOCAL.size, name_length)).decode("utf-8", "replace")
    except (PtfileError, struct.error):
        return None
    length = min(packed or rest, rest, most)
    if method != zs.DEFLATED:
        return name, payload, part_of(source, payload, length, f"{source.name}, {name}")
    content = inflated(source, payload, length, min(limits.inflated, limits.inflate_ratio * length))
    return (name, None, MemorySource(content, f"{source.name}, {name}")) if content else None


def inflated(source: Source, start: int, length: int, most: int) -> bytes:
    """What can be inflated, up to a bound."""
    inflater = zlib.decompressobj(_RAW_DEFLATE)
    content = bytearray()
    try:
        for at in range(start, start + length, _WINDOW):
            piece = bytes(source.read(at, min(_WINDOW, start + length - at)))
            content += inflater.decompress(piece, most - len(content) + 1)
            if inflater.eof or len(content) > most:
                break
    except zlib.error:
        pass
    return bytes(content)


def _positions(source: Source, signature: bytes, start: int, tell: Callable[[int], None]) -> Iterator[int]:
    overlap = len(signature) - 1
    while start < source.size:
        window = bytes(source.read(start, min(_WINDOW, source.size - start)))
        at = window.find(signature)
        while at >= 0:
            yield start + at
            at = window.find(signature, at + 1)
        tell(start + len(window))
        if start + len(window) >= source.size:
            return
        start += len(window) - overlap

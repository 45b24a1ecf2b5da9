"""The record `.data/serialization_id`: two hashes over the names and the checksums of the records before it.

PyTorch computes the first over a `std::unordered_set<std::string>` in the order its iterator gives, so the digits
depend on how libstdc++ keeps such a set. It is one linked list, in runs of names that share a bucket:

- a name whose bucket (hash modulo the bucket count) is empty goes to the front of the list, else to the front of its
  bucket's run;
- when the count would pass the bucket count, the table grows, and every name is inserted again by the same rule,
  walking the old list from the front.

Between two growths the list is therefore a function of the sequence inserted: later-opened buckets first, and within
a bucket the later name first. `_iteration_order` does one such step per growth, in numpy, instead of one per name.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ptfile._lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

LENGTH = 40
"""Bytes of the record, always."""

_Hashes: TypeAlias = "npt.NDArray[np.uint64]"

_MASK = (1 << 64) - 1

# MurmurHash64A as libstdc++'s std::_Hash_bytes has it (libsupc++/hash_bytes.cc), with the seed of std::hash.
_MULTIPLIER = 0xC6A4A7935BD1E995
_SHIFT = 47
_SEED = 0xC70F6907

# boost's hash_combine, which c10::hash_combine is.
_GOLDEN_RATIO = 0x9E3779B9

BUCKET_COUNTS = (
    13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10273, 20753, 42043, 85229, 172933, 351061, 712697, 1447153, 2938679,
    5967347, 12117689, 24607243, 49969847, 101473717, 206062531, 418451333,
    849749479, 1725587117, 3504151727,
)  # fmt: skip
"""Bucket counts of a set that grows name by name: 13 at the first, then the first prime of libstdc++'s own list
(src/shared/hashtable-aux.cc, `__prime_list`) that is at least twice the count before. A program that grows a set
prints them; nothing else of that list ever shows."""


_FEW = 1_000
"""Names whose number is worth remembering."""


def serialization_id(names: Sequence[str], checksums: Iterable[tuple[int, int]]) -> bytes:
    """The 40 digits for records with these names (without the root folder) and (size in bytes, CRC-32), in file order.

    A record without bytes takes no part in the second half; with the checksum off every CRC is 0 and still counts.
    Raises UnicodeEncodeError (a ValueError) for a name that is no text.
    """
    # Programs save checkpoints of the same few names again and again.
    by_name = _few_names(tuple(names)) if len(names) <= _FEW else _all_names(names)
    by_checksum = _combine([crc for size, crc in checksums if size])
    return b"%020d%020d" % (by_name, by_checksum)


def _all_names(names: Sequence[str]) -> int:
    hashes = name_hashes([name.encode() for name in names])
    return _combine(hashes[_iteration_order(hashes)].tolist())


_few_names = functools.lru_cache(maxsize=16)(_all_names)


def _combine(values: Iterable[int]) -> int:
    seed = 0
    for value in values:
        seed ^= (value + _GOLDEN_RATIO + (seed << 6) + (seed >> 2)) & _MASK
    return seed


def name_hashes(names: Sequence[bytes]) -> _Hashes:
    """std::hash<std::string> of each name, shape (len(names),). Names of one length are hashed side by side."""
    hashes = np.empty(len(names), np.uint64)
    lengths = np.fromiter(map(len, names), np.intp, len(names))
    for length in sorted(set(lengths.tolist())):  # `np.unique` imports another part of numpy, which takes its time
        where = np.flatnonzero(lengths == length)
        text = b"".join([names[index] for index in where.tolist()])
        hashes[where] = _murmur(np.frombuffer(text, np.uint8).reshape(where.size, length))
    return hashes


def _murmur(names: npt.NDArray[np.uint8]) -> _Hashes:
    """MurmurHash64A of each row, shape (count, length). numpy's uint64 arithmetic wraps, as C's does."""
    count, length = names.shape
    multiplier, shift = np.uint64(_MULTIPLIER), np.uint64(_SHIFT)
    blocks = -(-length // 8)
    padded = np.zeros((count, 8 * blocks), np.uint8)
    padded[:, :length] = names
    words = padded.view("<u8").astype(np.uint64, copy=False)
    hashes = np.full(count, _SEED ^ (length * _MULTIPLIER & _MASK), np.uint64)
    for block in range(blocks):
        word = words[:, block]
        if 8 * (block + 1) <= length:  # the last, short one is not mixed
            word = word * multiplier
            word ^= word >> shift
            word *= multiplier
        hashes ^= word
        hashes *= multiplier
    hashes ^= hashes >> shift
    hashes *= multiplier
    hashes ^= hashes >> shift
    return hashes


def _iteration_order(hashes: _Hashes) -> npt.NDArray[np.intp]:
    """Indexes into `hashes` in the order in which libstdc++ iterates over a set they were inserted into one by one."""
    order = np.empty(0, np.intp)
    for buckets in BUCKET_COUNTS:
        inserted = np.concatenate((order, np.arange(order.size, min(buckets, hashes.size))))
        order = inserted[_list_order(hashes[inserted] % np.uint64(buckets), buckets)]
        if order.size == hashes.size:
            break
    return order


def _list_order(bucket: _Hashes, buckets: int) -> npt.NDArray[np.intp]:
    """The list after inserting into an empty table: positions in `bucket`, which names the bucket of each insertion."""
    positions = np.arange(bucket.size)
    backwards = bucket[::-1].astype(np.intp)
    # Of assignments to one place the last stays: going backwards, that is the insertion that opened the bucket.
    opened = np.empty(buckets, np.intp)
    opened[backwards] = positions[::-1]
    return positions[::-1][np.argsort(-opened[backwards], kind="stable")]

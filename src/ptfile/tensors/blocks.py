"""Which bytes of a storage a view needs, cut so that reading them takes few reads and little memory.

A plan of reads, not a read: nothing here sees a byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

NEAR = 64 << 10
"""Bytes that are rather read in vain than left out: between two runs, or of a whole storage."""
PIECE = 4 << 20
"""Bytes of a read that has some in vain. What a view needs all of is one read, however long."""


@dataclass(frozen=True, slots=True)
class Block:
    """One read, and which elements of the view it holds. They lie in it as they lie in the storage."""

    index: tuple[slice, ...]
    """The elements, as an index into the view: a slice for each dimension."""
    start: int
    """The first of its bytes, counted from the start of the storage."""
    stop: int


def blocks(offset: int, shape: Sequence[int], stride: Sequence[int], itemsize: int) -> Iterator[Block]:
    """The reads that give all elements of a view, each once, for strides that do not overlap.

    offset and stride count elements. Runs of bytes nearer than `NEAR` to each other are one read, of no more than
    `PIECE` bytes; and what lies without gaps is one read.

    >>> [block] = blocks(20, (10, 10), (10, 1), 4)  # rows 2 to 11 of a matrix
    >>> block.start, block.stop
    (80, 480)
    >>> [(block.start, block.stop) for block in blocks(0, (3, 2), (100_000, 1), 4)]  # two of 100,000 columns
    [(0, 8), (400000, 400008), (800000, 800008)]
    """
    if 0 in shape:
        return
    together = _together(shape, stride, itemsize)
    # In the order of the bytes: the dimension with the longest steps is the outermost.
    order = sorted(range(len(shape)), key=lambda dim: -stride[dim])
    for starts in product(*(range(0, shape[dim], together[dim]) for dim in order)):
        index = [slice(None)] * len(shape)
        first = last = offset
        for dim, start in zip(order, starts, strict=True):
            stop = min(start + together[dim], shape[dim])
            index[dim] = slice(start, stop)
            first += start * stride[dim]
            last += (stop - 1) * stride[dim]
        yield Block(tuple(index), first * itemsize, (last + 1) * itemsize)


def _together(shape: Sequence[int], stride: Sequence[int], itemsize: int) -> list[int]:
    """How many indexes of each dimension are one read."""
    counts = [1] * len(shape)
    span, is_dense = itemsize, True  # of what is one read so far
    for step, dim in sorted((stride[dim] * itemsize, dim) for dim in range(len(shape)) if shape[dim] > 1):
        if step - span > NEAR:
            break
        is_dense = is_dense and step == span
        most = shape[dim] if is_dense else max((PIECE - span) // step + 1, 1)
        counts[dim] = min(most, shape[dim])
        span += (counts[dim] - 1) * step
        if counts[dim] < shape[dim]:
            break
    return counts

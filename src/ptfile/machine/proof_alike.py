"""Tensors that are written as the one before them, seen to be so many at a time.

A pickle of very many tensors has long rows of them that differ in nothing but their names, the keys of their storages
and their entries in the memo. An expression looks at one tensor at a time; here numpy compares all bytes of many with
those of one that an expression has read. Bytes that are the same, in the same places, are the same opcodes with the
same arguments: so each of them is a phrase as well, and stands for the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptfile._lazy import np
from ptfile.machine.proof_memo import LONG_PUT

if TYPE_CHECKING:
    from ptfile.machine.proof_memo import Indices

_FIRST, _MOST = 32, 1_024
"""Tensors that are looked at together: twice as many each time, as long as all of them are alike."""
_FEW = 16
"""Not worth having been looked at together."""
_HEAD = 5
"""Bytes of a BINUNICODE in front of its text: the opcode and the length."""


@dataclass(frozen=True, slots=True)
class Run:
    """Names with their tensors, one behind the other."""

    count: int
    end: int
    """Behind the last."""
    puts: Indices
    """The entries of the memo that they set, in their order: what is to be said of them has not been looked at."""
    texts: tuple[Indices, ...]
    """Those of them that are texts."""


class Alike:
    """How the last tensors of one pickle were written, and those behind them that are written the same way."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._length = 0  # of the last tensor, behind the text of its name
        self._times = 0  # that it has been this
        self._patience = 2  # times that are worth a look; more of them each time that it was not
        self._together = _FIRST
        self._is_learned = False

    def learn(self, match: re.Match[bytes]) -> bool:
        """Whether more tensors like this may follow. It is a match of `text_and_tensor` whose names, tag and location
        come from the memo, and whose key does not.
        """
        length = match.end() - match.end(1)
        self._times = self._times + 1 if length == self._length else 1
        self._length = length
        if self._times < self._patience:
            return False
        # The PUTs: behind the two texts, and what the other groups hold, if they hold anything.
        texts = [match.start(group) + _HEAD + self._data[match.start(group) + 1] for group in (1, 5)]
        others = [match.span(group) for group in (7, 8, 9, *range(11, len(match.groups()) + 1)) if match[group]]
        puts = [(texts[0], match.end(1)), (texts[1], match.end(5)), *others]
        if any(end - first != LONG_PUT for first, end in puts):
            self._times = 0
            return False
        start = texts[0]
        puts = [(first - start, end - start) for first, end in puts]
        self._template = np.frombuffer(self._data, np.uint8)[start : match.end()]
        is_free = np.zeros(self._template.size, bool)
        for first, end in puts:
            is_free[first + 1 : end] = True
        is_free[match.start(5) + _HEAD - start : texts[1] - start] = True  # the text of the key
        self._is_free = is_free
        self._entries = np.concatenate([np.arange(first + 1, end) for first, end in puts])
        # All places in the data where such a tensor, or the head of a name, could begin: not copied.
        whole = np.frombuffer(self._data, np.uint8)
        self._tensors = np.lib.stride_tricks.sliding_window_view(whole, self._template.size)
        self._heads = np.lib.stride_tricks.sliding_window_view(whole, _HEAD)
        self._is_learned = True
        return True

    def run(self, position: int) -> Run | None:
        """The names and tensors at this place that are like what was learned; None: there are none."""
        if not self._is_learned:
            return None
        heads, tensors = self._places(position)
        count = 0
        if tensors:
            is_head = (self._heads[heads][:, 2:] == 0).all(axis=1)  # a text of less than 256 bytes
            rows = self._tensors[tensors]
            is_alike = ((rows == self._template) | self._is_free).all(axis=1) & is_head
            count = len(tensors) if is_alike.all() else int(is_alike.argmin())
        if count == len(tensors) >= self._together:
            self._together = min(2 * self._together, _MOST)
        elif count < _FEW:
            self._is_learned, self._times, self._together = False, 0, _FIRST
            self._patience *= 2 if count < len(tensors) else 1  # it is not that the dict ends here
        if not count:
            return None
        entries: Any = np.take(rows[:count], self._entries, axis=1).view("<u4")
        texts = (entries[:, 0].copy(), entries[:, 1].copy())
        return Run(count, tensors[count - 1] + self._template.size, entries.reshape(-1), texts)

    def _places(self, position: int) -> tuple[list[int], list[int]]:
        """Where names, and the PUTs behind their texts, are, if what is there is like what was learned."""
        data, length, text = self._data, int(self._template.size), ord("X")
        last = len(data) - length
        heads: list[int] = []
        tensors: list[int] = []
        for _ in range(self._together):
            if position >= last or data[position] != text:
                break
            tensor = position + _HEAD + data[position + 1]
            heads.append(position)
            tensors.append(tensor)
            position = tensor + length
        if tensors and tensors[-1] > last:
            heads.pop()
            tensors.pop()
        return heads, tensors

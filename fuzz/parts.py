"""Target: parts of tensors that have not been read. They are those of the whole, and their reads are announced."""

from __future__ import annotations

from collections.abc import Iterable
from unittest import mock

import numpy as np

from fuzz import strides
from fuzz.oracle import attempt, require
from fuzz.strides import DTYPES, VIEWS, Numbers, ignoring_misuse
from ptfile.tensors import blocks as blocks_module
from ptfile.tensors import dtypes
from ptfile.tensors import storage as storage_module
from ptfile.tensors.elements import element_bytes
from ptfile.tensors.storage import Bytes, Storage
from ptfile.tensors.tensor import Tensor

generate = strides.generate
mutate = strides.mutate
_FEW = 4_096
"""Elements that are looked at."""


class _File:
    """A storage's bytes far away, and which of them were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data: Bytes = np.frombuffer(data, np.uint8)
        self.asked: list[tuple[int, int]] = []
        self.announced: list[tuple[int, int]] = []

    def fetch(self) -> Bytes:
        self.asked.append((0, self.data.size))
        whole: Bytes = self.data.copy()
        return whole

    def fetch_range(self, start: int, stop: int) -> Bytes:
        require(0 <= start <= stop <= self.data.size, f"bytes {start} to {stop} of {self.data.size} were asked for")
        self.asked.append((start, stop))
        part: Bytes = self.data[start:stop].copy()
        return part

    def will_read(self, runs: Iterable[tuple[int, int]]) -> None:
        self.announced += runs


def check(data: bytes) -> None:
    """Raise Violation for a part that has other elements than the same part of a tensor in memory."""
    numbers = Numbers(data)
    near, piece = numbers.byte() % 32, 1 + numbers.byte() % 64
    dtype = DTYPES[numbers.byte() % len(DTYPES)]
    content = bytes(place * 7 % (2 if dtype is dtypes.bool else 251) for place in range(numbers.byte() * 4))
    file = _File(content)
    lazy = Storage.deferred(len(content), file.fetch, fetch_range=file.fetch_range, will_read=file.will_read)
    rank = numbers.byte() % 5
    place = (numbers.byte() % 64, numbers.numbers(rank), tuple(number % 97 for number in numbers.numbers(rank)))
    made = attempt("Tensor", lambda: (Tensor(Storage(content), dtype, *place), Tensor(lazy, dtype, *place)))
    if not made.loaded:
        return
    whole, part = made.value
    for _ in range(numbers.byte() % 4):
        name, change = VIEWS[numbers.byte() % len(VIEWS)]
        rest = numbers.copy()
        views = [attempt(name, lambda: ignoring_misuse(change, *of)) for of in ((whole, numbers), (part, rest))]  # noqa: B023
        if all(isinstance(view.value, Tensor) for view in views):
            whole, part = (view.value for view in views)
    if whole.numel() > _FEW:
        return
    with mock.patch.multiple(blocks_module, NEAR=near, PIECE=piece), mock.patch.object(storage_module, "NEAR", near):
        _check_same(whole, part, file)


def _check_same(whole: Tensor, part: Tensor, file: _File) -> None:
    outcome = attempt("raw_array", whole.raw_array)
    if not outcome.loaded:  # there are shapes without elements that numpy cannot hold
        return
    expected = outcome.value
    before = len(file.asked)
    found = attempt("raw_array", part.raw_array)
    require(found.loaded, f"a part of what is not read gives {found}")
    asked = file.asked[before:]
    require(found.value.shape == expected.shape, f"a part has the shape {found.value.shape}, not {expected.shape}")
    require(found.value.tobytes() == expected.tobytes(), f"a part has other elements; asked for: {asked[:9]}")
    if len(asked) > 1:
        told = file.announced[-len(asked) :]
        require(asked == told == sorted(told), f"asked for {asked[:9]}, but announced {told[:9]}")
    both = [b"".join(piece.tobytes() for piece in element_bytes(tensor)) for tensor in (whole, part)]
    require(both[0] == both[1], "a part has other elements where it is gone through")
    require(
        attempt("clone", part.clone).value.raw_array().tobytes() == expected.tobytes(), "a clone has other elements"
    )

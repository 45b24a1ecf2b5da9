"""Target: tensors from hostile numbers, and the views that are made of them. Inside the storage, or TensorError."""

from __future__ import annotations

import itertools
import operator
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from fuzz.oracle import attempt, require
from fuzz.values import NUMBERS
from ptfile.errors import PtfileError
from ptfile.tensors import dtypes
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor

_FEW = 4_096
"""Elements that are looked at one by one."""
_MANY = 1 << 33
"""Elements of which no copy is made, so few are the bytes of the storage."""
DTYPES = (dtypes.uint8, dtypes.int16, dtypes.float32, dtypes.int64, dtypes.complex128, dtypes.bool, dtypes.bfloat16)


class Numbers:
    """Numbers out of bytes, small ones and large ones; 0 for ever when the bytes have run out."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def copy(self) -> Numbers:
        """The same numbers once more."""
        rest = Numbers(self._data)
        rest._position = self._position
        return rest

    def byte(self) -> int:
        """0 to 255."""
        self._position += 1
        return self._data[self._position - 1] if self._position <= len(self._data) else 0

    def number(self) -> int:
        """Most often below 16, at times one of those where arithmetic goes wrong, or any of 64 bits."""
        kind = self.byte()
        if kind < 192:
            return kind % 16
        if kind < 240:
            return NUMBERS[kind % len(NUMBERS)]
        return int(struct.unpack("<q", bytes(self.byte() for _ in range(8)))[0])

    def numbers(self, count: int) -> tuple[int, ...]:
        """That many of them."""
        return tuple(self.number() for _ in range(count))


def generate(rng: Random) -> bytes:
    """Bytes that mean a tensor and some views."""
    return bytes(rng.randrange(256) for _ in range(rng.randrange(64)))


def mutate(rng: Random, data: bytes, donor: bytes) -> bytes:
    """One byte changed, or the end exchanged."""
    place = rng.randrange(len(data) + 1)
    if rng.random() < 0.2:
        return data[:place] + donor[place:]
    return data[:place] + bytes([rng.randrange(256)]) + data[place + (rng.random() < 0.7) :]


def check(data: bytes) -> None:
    """Raise Violation for a view that reaches outside its storage, or that has other elements than it should."""
    numbers = Numbers(data)
    dtype = DTYPES[numbers.byte() % len(DTYPES)]
    storage = Storage(bytes(number % 2 for number in range(numbers.byte())))
    rank = numbers.byte() % 5 if numbers.byte() < 250 else 65
    sizes = numbers.numbers(rank)
    steps = numbers.numbers(rank if numbers.byte() < 240 else rank + 1)
    offset = numbers.number()
    made = attempt("Tensor", lambda: Tensor(storage, dtype, offset, sizes, steps))
    if not made.loaded:
        return
    tensor: Tensor = made.value
    _check_inside(tensor)
    for _ in range(numbers.byte() % 6):
        name, change = VIEWS[numbers.byte() % len(VIEWS)]
        view = attempt(name, lambda: ignoring_misuse(change, tensor, numbers))  # noqa: B023  (called at once)
        if view.loaded and isinstance(view.value, Tensor):
            tensor = view.value
            _check_inside(tensor)


def _check_inside(tensor: Tensor) -> None:
    size, shape, stride = tensor.untyped_storage().nbytes(), tensor.shape, tensor.stride()
    if tensor.numel():
        last = tensor.storage_offset() + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
        inside = 0 <= tensor.storage_offset() <= last and (last + 1) * tensor.itemsize <= size
        require(inside and min(stride, default=0) >= 0, f"{shape}, {stride} reach {last} in {size} bytes")
    array = attempt("numpy()", tensor.numpy)
    for name in ("tolist", "clone", "contiguous"):
        if not _FEW < _lists(tensor) <= _MANY:  # in between it is allowed to take its time
            attempt(name, getattr(tensor, name))
    attempt("repr", lambda: repr(tensor))
    if array.loaded and tensor.numel() <= _FEW:
        require(array.value.shape == shape, f"numpy() has shape {array.value.shape} instead of {shape}")
        require(tensor.raw_array().tobytes() == _elements(tensor), "numpy() has other elements than the storage")


def _lists(tensor: Tensor) -> int:
    """Elements, or the lists that `tolist` makes where there are more of them: (1000, 0) has a thousand."""
    return max(itertools.accumulate(tensor.shape, operator.mul), default=1)


def _elements(tensor: Tensor) -> bytes:
    """One by one, by what offset and strides mean."""
    if not tensor.numel():  # of which `product` would still go through every row
        return b""
    data, width = tensor.untyped_storage().tobytes(), tensor.itemsize
    places = (
        tensor.storage_offset() + sum(index * step for index, step in zip(indexes, tensor.stride(), strict=True))
        for indexes in itertools.product(*map(range, tensor.shape))
    )
    return b"".join(data[place * width : (place + 1) * width] for place in places)


def ignoring_misuse(change: Callable[[Tensor, Numbers], Any], tensor: Tensor, numbers: Numbers) -> Any:
    """Indexes out of range and such are the caller's errors, of Python's kinds."""
    try:
        return change(tensor, numbers)
    except (IndexError, TypeError, OverflowError):
        return None
    except ValueError as error:
        if isinstance(error, PtfileError):
            raise
        return None


def _small(numbers: Numbers) -> int:
    return numbers.byte() % 9 - 4


def _shape(numbers: Numbers) -> tuple[int, ...]:
    return tuple(number if number < 250 else -1 for number in (numbers.byte() for _ in range(numbers.byte() % 4)))


def _slice(numbers: Numbers) -> slice[int | None, int | None, int | None]:
    start, stop = (_small(numbers) if numbers.byte() % 2 else None for _ in range(2))
    return slice(start, stop, numbers.number() or None)


VIEWS: tuple[tuple[str, Callable[[Tensor, Numbers], Any]], ...] = (
    ("x[i]", lambda x, n: x[_small(n)]),
    ("x[a:b:c]", lambda x, n: x[_slice(n)]),
    ("x[..., a:b:c]", lambda x, n: x[..., _slice(n)]),
    ("x[None, i]", lambda x, n: x[None, _small(n)]),
    ("reshape", lambda x, n: x.reshape(_shape(n)) if x.numel() <= _FEW else None),
    ("view", lambda x, n: x.view(_shape(n))),
    ("view(dtype)", lambda x, n: x.view(DTYPES[n.byte() % len(DTYPES)])),
    ("transpose", lambda x, n: x.transpose(_small(n), _small(n))),
    ("permute", lambda x, n: x.permute(tuple(_small(n) for _ in x.shape))),
    ("squeeze", lambda x, n: x.squeeze(_small(n)) if n.byte() % 2 else x.squeeze()),
    ("unsqueeze", lambda x, n: x.unsqueeze(_small(n))),
    ("expand", lambda x, n: x.expand(n.numbers(x.ndim + n.byte() % 2))),
    ("flatten", lambda x, _: x.flatten() if x.numel() <= _FEW else None),
)

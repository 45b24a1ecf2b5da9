"""Tensors as text, close to what PyTorch prints (torch/_tensor_str.py): values aligned, big tensors summarised."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ptfile.errors import UnsupportedError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ptfile.tensors.tensor import Tensor

# PyTorch's defaults (torch.set_printoptions).
PRECISION = 4
THRESHOLD = 1000
EDGE_ITEMS = 3
LINE_WIDTH = 80

MOST_SHOWN = 1 << 16
"""Elements. A summary keeps six along each dimension, and a file may claim many dimensions."""

PREFIX = "tensor("
# What Python's own numbers become goes without saying.
UNSAID = frozenset({dtypes.bool, dtypes.int64, dtypes.float32, dtypes.complex64})


def tensor_text(tensor: Tensor) -> str:
    """The repr of a tensor. Bytes that have not been read are not read for this."""
    notes = []
    if tensor.device != "cpu":
        notes.append(f"device={tensor.device!r}")
    shown = prod(min(size, 2 * EDGE_ITEMS) for size in tensor.shape)
    unread = not tensor.untyped_storage().is_loaded
    if unread or shown > MOST_SHOWN:
        body = "..."
        notes += [f"shape={tensor.shape}", f"dtype={tensor.dtype}"]
    else:
        body = _values_text(tensor) if shown else "[]"
        if not shown and tensor.ndim != 1:
            notes.append(f"size={tensor.shape}")
        if tensor.dtype not in UNSAID or (not shown and tensor.dtype is not dtypes.float32):
            notes.append(f"dtype={tensor.dtype}")
    if unread:
        notes.append("not read")
    if tensor.requires_grad:
        notes.append("requires_grad=True")
    text = PREFIX + body
    for note in notes:
        last_line = text[text.rfind("\n") + 1 :]
        gap = ", " if len(last_line) + len(note) + 3 < LINE_WIDTH or unread else f",\n{' ' * len(PREFIX)}"
        text += gap + note
    return text + ")"


def _values_text(tensor: Tensor) -> str:
    summarised = tensor.numel() > THRESHOLD
    if summarised:
        tensor = _without_middle(tensor)
    try:
        values = tensor.values_array()
        show = _formatter(values)
    except UnsupportedError:
        values, show = _raw_values(tensor)
    return np.array2string(
        values,
        max_line_width=LINE_WIDTH,
        separator=", ",
        prefix=PREFIX,
        threshold=0 if summarised else THRESHOLD,
        edgeitems=EDGE_ITEMS,
        formatter={"all": show},
    )


def _without_middle(tensor: Tensor) -> Tensor:
    """The corners of a big tensor, and one item more along each side for which numpy puts its dots.

    Taken from the storage by their places: the tensor may be an expanded one that no array could hold.
    """
    places = np.array(tensor.storage_offset())
    for size, step in zip(tensor.shape, tensor.stride(), strict=True):
        kept = [*range(EDGE_ITEMS + 1), *range(size - EDGE_ITEMS, size)] if size > 2 * EDGE_ITEMS else range(size)
        places = np.add.outer(places, np.array(kept, np.int64) * step)
    storage = tensor.untyped_storage()
    count = storage.nbytes() // tensor.itemsize
    elements = storage.data[: count * tensor.itemsize].view(np.dtype((np.void, tensor.itemsize)))
    corners = Storage(elements[places])
    stride = strides.contiguous(places.shape)
    plain = type(tensor.detach())  # not a parameter, which is made otherwise
    return plain(corners, tensor.dtype, 0, places.shape, stride, False, tensor.is_conj(), tensor.is_neg())


def _raw_values(tensor: Tensor) -> tuple[npt.NDArray[Any], Callable[[Any], str]]:
    """For dtypes whose values have no meaning here: the bytes of each element, as a number in hex."""
    values = tensor.raw_array().copy().view(f"u{tensor.itemsize}").reshape(tensor.shape)
    return values, lambda value: f"0x{int(value):0{2 * tensor.itemsize}x}"


def _formatter(values: npt.NDArray[Any]) -> Callable[[Any], str]:
    if values.dtype.kind == "c":
        real, imaginary = _float_formatter(values.real), _float_formatter(values.imag)

        def show(value: Any) -> str:
            text = imaginary(value.imag).lstrip()
            return f"{real(value.real)}{'' if text.startswith('-') else '+'}{text}j"

        return show
    if values.dtype.kind in "biu":
        width = max(len(str(value)) for value in values.reshape(-1).tolist())
        return lambda value: str(value).rjust(width)
    return _float_formatter(values)


def _float_formatter(values: npt.NDArray[Any]) -> Callable[[Any], str]:
    numbers = values.astype(np.float64).reshape(-1)
    numbers = numbers[np.isfinite(numbers) & (numbers != 0)]
    sizes = np.abs(numbers)
    whole = bool((sizes == np.ceil(sizes)).all())
    wide = bool(sizes.size) and (sizes.max() / sizes.min() > 1000.0 or sizes.max() > 1e8)
    if wide or (not whole and sizes.min() < 1e-4):
        spec, point = f".{PRECISION}e", ""
    elif whole:
        spec, point = ".0f", "."
    else:
        spec, point = f".{PRECISION}f", ""

    def plain(value: Any) -> str:
        return format(float(value), spec) + (point if np.isfinite(value) else "")

    width = max((len(plain(value)) for value in numbers), default=1)
    return lambda value: plain(value).rjust(width)

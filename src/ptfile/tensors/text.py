"""Tensors as text, close to what PyTorch prints (torch/_tensor_str.py): values aligned, big tensors summarised."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from ptfile._lazy import np
from ptfile.errors import LimitError, UnsupportedError
from ptfile.tensors import dtypes, strides
from ptfile.tensors.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

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
        body = values_text(tensor, prefix=PREFIX)
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


def values_text(tensor: Tensor, *, prefix: str = "", line_width: int = LINE_WIDTH, threshold: int = THRESHOLD) -> str:
    """The values alone, summarised if there are more than `threshold`; those that are not shown are not read.

    Raises LimitError if the tensor has so many dimensions that even a summary is long.
    """
    shown = prod(min(size, 2 * EDGE_ITEMS) for size in tensor.shape)
    if shown > MOST_SHOWN:
        problem = f"a summary of a tensor of shape {tensor.shape} shows {shown} elements"
        raise LimitError(problem, limit="shown", allowed=MOST_SHOWN, actual=shown, fix="Choose a part of it")
    summarised = tensor.numel() > threshold
    if not shown:
        return "[]"
    tensor = _read(tensor, EDGE_ITEMS if summarised else threshold)
    try:
        values = tensor.values_array()
        show = _formatter(values)
    except UnsupportedError:
        values, show = _raw_values(tensor)
    return np.array2string(
        values,
        max_line_width=line_width,
        separator=", ",
        prefix=prefix,
        threshold=0 if summarised else threshold,
        edgeitems=EDGE_ITEMS,
        formatter={"all": show},
    )


def _read(tensor: Tensor, edge: int) -> Tensor:
    """The corners of a big tensor, and one item more along each side for which numpy puts its dots; in memory.

    Taken a corner at a time: the tensor may be an expanded one that no array could hold, or not have been read.
    """
    from ptfile.tensors.pieces import boxes, piece

    sides = [
        [(0, edge + 1, 0), (size - edge, size, edge + 1)] if size > 2 * edge else [(0, size, 0)]
        for size in tensor.shape
    ]
    shape = tuple(sum(stop - start for start, stop, _ in parts) for parts in sides)
    corners = np.empty(shape, np.dtype((np.void, tensor.itemsize)))
    for parts in product(*sides):
        corner = tensor[tuple(slice(start, stop) for start, stop, _ in parts)]
        place: Any = (..., *(slice(at, at + stop - start) for start, stop, at in parts))  # dots: always an array
        target = corners[place]
        for box in boxes(corner.shape, corner.stride(), tensor.itemsize):
            inside: Any = (..., *box)
            target[inside] = piece(corner, box).raw_array()
    plain = type(tensor.detach())  # not a parameter, which is made otherwise
    stride = strides.contiguous(shape)
    return plain(Storage(corners), tensor.dtype, 0, shape, stride, False, tensor.is_conj(), tensor.is_neg())


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

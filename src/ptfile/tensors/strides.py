"""Arithmetic on shapes and strides: what part of a storage a view reaches, and the views that can be made of it.

Pure functions on Python ints, which do not overflow; no bytes, no numpy. Strides and offsets count elements. The rules
are those of PyTorch (ATen/TensorUtils.cpp, c10/core/TensorImpl.cpp), because the strides it computes end up in files.
"""

from __future__ import annotations

import operator
from math import prod
from typing import TYPE_CHECKING, SupportsIndex, TypeAlias

from ptfile.errors import TensorError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import EllipsisType

Ints: TypeAlias = tuple[int, ...]
BasicIndex: TypeAlias = "SupportsIndex | slice | EllipsisType | None"

MAX_RANK = 64
"""Dimensions of a tensor: what PyTorch and numpy 2 can hold."""
INT64_MAX = (1 << 63) - 1
"""PyTorch keeps sizes, strides, offsets and numel in int64_t."""


def numel(shape: Sequence[int]) -> int:
    """How many elements a tensor of this shape has."""
    return prod(shape)


def contiguous(shape: Sequence[int]) -> Ints:
    """The strides of a tensor that lies in memory row by row. A size of 0 counts as 1, as in PyTorch.

    >>> contiguous((2, 0, 3))
    (3, 3, 1)
    """
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def extent(shape: Sequence[int], stride: Sequence[int]) -> int:
    """How many elements lie between the first and the last that the view reaches, both counted; 0 if it is empty."""
    last = 0
    for size, step in zip(shape, stride, strict=True):
        if size == 0:
            return 0
        last += (size - 1) * step
    return last + 1


def check_view(storage_nbytes: int, itemsize: int, offset: int, shape: Sequence[int], stride: Sequence[int]) -> None:
    """Raise TensorError unless the view lies within a storage of so many bytes. Trusts none of the numbers.

    An empty tensor touches no byte and may have any offset: `x[2:, 3:]` of a (2, 3) tensor starts beyond its end.
    """
    if len(shape) != len(stride):
        raise TensorError(f"a tensor has one stride for each size, not sizes {shape} and strides {stride}")
    if len(shape) > MAX_RANK:
        raise TensorError(f"a tensor has at most {MAX_RANK} dimensions, not {len(shape)}")
    if type(offset) is not int or not 0 <= offset <= INT64_MAX:
        raise TensorError(f"a tensor's offset is an int of 0 or more, not {offset!r}")
    count = 1
    last = offset
    for size, step in zip(shape, stride, strict=True):
        # `type`, because True is an int to isinstance and no size to anybody.
        if type(size) is not int or type(step) is not int or not 0 <= size <= INT64_MAX or not 0 <= step <= INT64_MAX:
            raise TensorError(
                f"a tensor's sizes and strides are ints of 0 or more, not sizes {shape} and strides {stride}",
            )
        count *= size
        last += (size - 1) * step
    if count == 0:
        return
    if count > INT64_MAX:
        raise TensorError(f"a tensor has at most 2**63 - 1 elements, and sizes {shape} make more")
    if (last + 1) * itemsize > storage_nbytes:
        raise TensorError(
            f"a tensor of sizes {tuple(shape)}, strides {tuple(stride)}, offset {offset} and {itemsize}-byte elements "
            f"reaches {(last + 1) * itemsize} bytes into a storage of {storage_nbytes}",
        )


def is_contiguous(shape: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether the elements lie row by row without gaps. Strides of dimensions of size 1 do not matter."""
    if 0 in shape:
        return True
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1:
            if step != expected:
                return False
            expected *= size
    return True


def is_dense(shape: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether the elements fill a run of memory, each place once, in whatever order of dimensions."""
    if 0 in shape:
        return True
    expected = 1
    for step, size in sorted((step, size) for size, step in zip(shape, stride, strict=True) if size != 1):
        if step != expected:
            return False
        expected *= size
    return True


def may_overlap(shape: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether two indexes may be the same element.

    Exact where dimensions nest, which is what slicing, transposing and expanding make; True for strides that
    interleave, such as (3, 2) for a shape of (2, 3).
    """
    if 0 in shape:
        return False
    last = 0
    for step, size in sorted((step, size) for size, step in zip(shape, stride, strict=True) if size != 1):
        if step <= last:
            return True
        last += (size - 1) * step
    return False


def dense(shape: Sequence[int], stride: Sequence[int]) -> Ints:
    """The strides of a copy that keeps the order of the dimensions in memory and leaves no gaps.

    What `torch.clone` gives the copy (`infer_dense_strides` in ATen/ExpandUtils.cpp), ties decided alike.
    """
    if is_dense(shape, stride):
        return tuple(stride)
    order = list(reversed(range(len(shape))))
    # An insertion sort, not `sorted`: a stride of 0 compares equal to every other, so there is no total order, and
    # the answer depends on how one sorts.
    for i in range(1, len(order)):
        moving = i
        for other in range(i - 1, -1, -1):
            a, b = order[other], order[moving]
            if stride[a] == 0 or stride[b] == 0:
                continue
            if stride[a] < stride[b]:
                break
            if stride[a] > stride[b] or shape[a] > shape[b]:
                order[other], order[moving] = b, a
                moving = other
    strides = [0] * len(shape)
    step = 1
    for dim in order:
        strides[dim] = step
        step *= max(shape[dim], 1)
    return tuple(strides)


def normal_dim(dim: int, rank: int) -> int:
    """A dimension counted from the front. Raises IndexError if there is no such dimension."""
    if not -rank <= dim < rank:
        raise IndexError(f"dimension {dim} is out of range for a tensor of {rank} dimensions")
    return dim % rank


def index_view(offset: int, shape: Ints, stride: Ints, index: Sequence[BasicIndex]) -> tuple[int, Ints, Ints]:
    """Offset, shape and stride of the view that `x[index]` is: ints, slices, one Ellipsis, None.

    Raises IndexError for an index out of range or too many of them, TensorError for a step below 1.
    """
    taken = sum(item is not None and item is not Ellipsis for item in index)
    if taken > len(shape):
        raise IndexError(f"{taken} indexes for a tensor of {len(shape)} dimensions")
    if sum(item is Ellipsis for item in index) > 1:
        raise IndexError("an index has at most one Ellipsis ('...')")
    new_shape: list[int] = []
    new_stride: list[int] = []
    dim = 0
    for item in index:
        if item is Ellipsis:
            end = dim + len(shape) - taken
            new_shape += shape[dim:end]
            new_stride += stride[dim:end]
            dim = end
        elif item is None:
            new_shape.append(1)
            new_stride.append(shape[dim] * stride[dim] if dim < len(shape) else 1)
        elif isinstance(item, slice):
            if item.step is not None and operator.index(item.step) < 1:
                raise TensorError(
                    f"the step of a slice is 1 or more, not {item.step}",
                    fix="Strides cannot be negative; reverse a copy in numpy: `x.numpy()[::-1]`",
                )
            start, stop, step = item.indices(shape[dim])
            new_shape.append(len(range(start, stop, step)))
            new_stride.append(stride[dim] * step)
            offset += start * stride[dim]
            dim += 1
        else:
            position = operator.index(item)
            size = shape[dim]
            if not -size <= position < size:
                raise IndexError(f"index {position} is out of range for dimension {dim} of size {size}")
            offset += (position % size) * stride[dim]
            dim += 1
    return offset, (*new_shape, *shape[dim:]), (*new_stride, *stride[dim:])


def permute(shape: Ints, stride: Ints, dims: Sequence[int]) -> tuple[Ints, Ints]:
    """The dimensions in another order. Raises TensorError unless `dims` names each once."""
    order = [normal_dim(dim, len(shape)) for dim in dims]
    if sorted(order) != list(range(len(shape))):
        raise TensorError(f"permuting {len(shape)} dimensions takes each of them once, not {tuple(dims)}")
    return tuple(shape[dim] for dim in order), tuple(stride[dim] for dim in order)


def transpose(shape: Ints, stride: Ints, dim0: int, dim1: int) -> tuple[Ints, Ints]:
    """Two dimensions swapped. A tensor without dimensions may be asked to swap 0 and -1, as in PyTorch."""
    rank = max(len(shape), 1)
    first, second = normal_dim(dim0, rank), normal_dim(dim1, rank)
    order = list(range(len(shape)))
    if order:
        order[first], order[second] = order[second], order[first]
    return permute(shape, stride, order)


def squeeze(shape: Ints, stride: Ints, dim: int | None = None) -> tuple[Ints, Ints]:
    """Without the dimensions of size 1, or without that one if its size is 1."""
    chosen = range(len(shape)) if dim is None else [normal_dim(dim, max(len(shape), 1))]
    kept = [i for i, size in enumerate(shape) if size != 1 or i not in chosen]
    return tuple(shape[i] for i in kept), tuple(stride[i] for i in kept)


def unsqueeze(shape: Ints, stride: Ints, dim: int) -> tuple[Ints, Ints]:
    """With a new dimension of size 1 in front of `dim`."""
    place = normal_dim(dim, len(shape) + 1)
    step = shape[place] * stride[place] if place < len(shape) else 1
    return (*shape[:place], 1, *shape[place:]), (*stride[:place], step, *stride[place:])


def infer_size(shape: Sequence[int], count: int) -> Ints:
    """The shape with its -1, if any, replaced so that it has `count` elements. Raises TensorError if it cannot."""
    unknown = [dim for dim, size in enumerate(shape) if size == -1]
    known = prod(size for size in shape if size != -1)
    if len(unknown) > 1 or any(size < -1 for size in shape):
        raise TensorError(f"a shape has sizes of 0 or more and at most one -1, not {tuple(shape)}")
    if unknown:
        if known == 0:
            raise TensorError(f"the -1 in {tuple(shape)} could be any size", fix="Say which")
        if count % known == 0:
            return tuple(count // known if size == -1 else size for size in shape)
    elif known == count:
        return tuple(shape)
    raise TensorError(f"{count} elements cannot have the shape {tuple(shape)}")


def reshape_view(shape: Sequence[int], stride: Sequence[int], new_shape: Sequence[int]) -> Ints | None:
    """The strides with which the same elements have another shape of as many elements, or None if that takes a copy.

    The rule is `computeStride` in ATen/TensorUtils.cpp. It walks both shapes from the back: a chunk is a run of old
    dimensions that lie evenly in memory, and new dimensions have to fill chunk after chunk exactly.
    """
    if not shape:
        return (1,) * len(new_shape)
    if 0 in shape:
        return tuple(stride) if tuple(shape) == tuple(new_shape) else contiguous(new_shape)
    strides = [0] * len(new_shape)
    new_dim = len(new_shape) - 1
    base, old_count, new_count = stride[-1], 1, 1
    for dim in range(len(shape) - 1, -1, -1):
        old_count *= shape[dim]
        if dim > 0 and (shape[dim - 1] == 1 or stride[dim - 1] == old_count * base):
            continue
        while new_dim >= 0 and (new_count < old_count or new_shape[new_dim] == 1):
            strides[new_dim] = new_count * base
            new_count *= new_shape[new_dim]
            new_dim -= 1
        if new_count != old_count:
            return None
        if dim > 0:
            base, old_count, new_count = stride[dim - 1], 1, 1
    return tuple(strides) if new_dim == -1 else None


def expand(shape: Ints, stride: Ints, new_shape: Sequence[int]) -> tuple[Ints, Ints]:
    """Dimensions of size 1 made larger by a stride of 0, new ones put in front; -1 keeps a size."""
    added = len(new_shape) - len(shape)
    if added < 0:
        raise TensorError(f"a tensor of shape {shape} cannot expand to fewer dimensions: {tuple(new_shape)}")
    sizes: list[int] = []
    steps: list[int] = []
    for place in range(len(new_shape) - 1, -1, -1):
        wanted = new_shape[place]
        old = place - added
        # A new dimension of size 1 gets the stride PyTorch gives it: past the whole tensor behind it.
        size, step = (shape[old], stride[old]) if old >= 0 else (1, sizes[-1] * steps[-1] if shape else 0)
        if wanted == -1 and old >= 0:
            wanted = size
        if wanted < 0 or (size not in {1, wanted}):
            raise TensorError(f"a tensor of shape {shape} cannot expand to {tuple(new_shape)}")
        sizes.append(wanted)
        steps.append(step if size == wanted else 0)
    return tuple(reversed(sizes)), tuple(reversed(steps))


def reinterpret(offset: int, shape: Ints, stride: Ints, old: int, new: int) -> tuple[int, Ints, Ints]:
    """The same bytes as elements of `new` bytes instead of `old`: the last dimension grows or shrinks.

    Raises TensorError where the elements do not lie so that they can be cut or joined.
    """
    if old == new:
        return offset, shape, stride
    if not shape or stride[-1] != 1:
        raise TensorError(
            f"elements of {old} bytes become elements of {new} only along a last dimension of stride 1",
            fix="Make it one: `.contiguous()`, or `.reshape(-1)` for a tensor without dimensions",
        )
    if old > new:
        ratio = old // new
        return offset * ratio, (*shape[:-1], shape[-1] * ratio), (*(step * ratio for step in stride[:-1]), 1)
    ratio = new // old
    if any(number % ratio for number in (offset, shape[-1], *stride[:-1])):
        raise TensorError(
            f"joining {ratio} elements into one takes an offset, a last size and strides that {ratio} divides, "
            f"not offset {offset}, sizes {shape} and strides {stride}",
            fix="Copy the tensor with `.clone()`, and see that its last dimension has the right size",
        )
    return offset // ratio, (*shape[:-1], shape[-1] // ratio), (*(step // ratio for step in stride[:-1]), 1)

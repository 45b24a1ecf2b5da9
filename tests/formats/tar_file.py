"""Files of the tar format, built member by member."""

from __future__ import annotations

import struct
from typing import Any

from tests.formats.old_files import SYS_INFO, Id, Name, floats, pickled, tar

THE_TENSOR = Id("10")
FLOATS, FLOAT_TENSOR = Name("torch", "FloatStorage"), Name("torch", "FloatTensor")


def geometry(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, garbage: int = 0) -> bytes:
    """What stands behind the small pickle of a tensor."""
    return struct.pack(f"<2i{2 * len(shape) + 1}q", len(shape), garbage, *shape, *stride, offset)


def storages(*entries: tuple[Any, bytes], views: Any = ()) -> bytes:
    data = pickled(len(entries)) + b"".join(pickled(head) + rest for head, rest in entries)
    return data if views is None else data + pickled(list(views) if type(views) is tuple else views)


def tensors(*entries: tuple[Any, bytes]) -> bytes:
    return storages(*entries, views=None)


ONE_STORAGE = storages(((1, "cpu", FLOATS), floats(1, 2, 3, 4)))
ONE_TENSOR = tensors(((10, 1, FLOAT_TENSOR), geometry((2, 2), (2, 1))))


def checkpoint(
    value: Any = THE_TENSOR, storages: bytes = ONE_STORAGE, tensors: bytes = ONE_TENSOR, sys_info: Any = SYS_INFO
) -> bytes:
    members = {"sys_info": pickled(sys_info), "pickle": pickled(value), "tensors": tensors, "storages": storages}
    return tar(members)

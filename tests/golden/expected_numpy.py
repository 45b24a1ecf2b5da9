"""numpy's values: what they must be, by what the corpus says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.golden.expected_objects import class_name, is_record
from tests.golden.walk import Check, Node, Walk


def _array(walk: Walk, path: str, value: Any, node: Node) -> None:
    if "class" in node:
        _masked_array(walk, path, value, node)
        return
    if not walk.same(f"{path}.class", np.ndarray, type(value)):
        return
    walk.same(f"{path}.dtype", node["dtype"], value.dtype.str)
    walk.same(f"{path}.shape", tuple(node["shape"]), value.shape)
    walk.same(f"{path}.stride", tuple(node["stride"]), value.strides)
    walk.same(f"{path}.order", node["order"], _order(value))
    if "items" in node:
        walk.each(f"{path}.items", value.ravel().tolist(), node["items"])
        return
    if "descr" in node:
        walk.same(f"{path}.descr", node["descr"], str(value.dtype.descr))
    else:  # values in the other byte order are still the same values
        value = value.astype(node["dtype"])
    walk.digest(path, value.tobytes(), node)


def _order(array: np.ndarray[Any, Any]) -> str:
    if array.flags.c_contiguous:
        return "C"
    return "F" if array.flags.f_contiguous else "none"


def _masked_array(walk: Walk, path: str, value: Any, node: Node) -> None:
    """(version, shape, dtype, whether in Fortran order, bytes, mask, fill value); the digest is of the filled array."""
    walk.same(f"{path}.class", True, is_record(value))
    walk.same(f"{path}.class", "numpy.ma.core._mareconstruct", class_name(value))
    walk.same(f"{path}.class", node["class"], str(value.inert_arguments[0]))
    _, shape, dtype, _, data, mask, fill_value = value.inert_state
    walk.same(f"{path}.dtype", node["dtype"], dtype.str)
    walk.same(f"{path}.shape", tuple(node["shape"]), shape)
    items, masked = (np.frombuffer(_latin1(part), kind) for part, kind in ((data, dtype), (mask, np.bool_)))
    walk.digest(path, np.where(masked, fill_value, items).tobytes(), node)


def _latin1(data: bytes | str) -> bytes:
    """Bytes that Python 2 may have written as a string."""
    return data if isinstance(data, bytes) else data.encode("latin1")


def _scalar(walk: Walk, path: str, value: Any, node: Node) -> None:
    if walk.same(f"{path}.class", True, isinstance(value, np.generic)):
        walk.same(f"{path}.dtype", node["dtype"], value.dtype.str)
        walk.same(f"{path}.hex", node["hex"], value.tobytes().hex())


def _dtype(walk: Walk, path: str, value: Any, node: Node) -> None:
    if walk.same(f"{path}.class", True, isinstance(value, np.dtype)):
        walk.same(f"{path}.str", node["str"], value.str)
        walk.same(f"{path}.descr", node["descr"], repr(value))


CHECKS: Mapping[str, Check] = {
    "ndarray": _array,
    "npscalar": _scalar,
    "npdtype": _dtype,
}

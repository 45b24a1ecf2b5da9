"""What TorchScript's own pickler (`torch/csrc/jit/serialization/pickler.cpp`) writes otherwise than Python's.

It attaches types to containers, names storages by C++ names of dtypes, has an order of its own for the parts of sparse
tensors, and names classes that exist only inside the archive (`__torch__.…`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ptfile.errors import FormatError, TensorError
from ptfile.formats.arguments import exactly, no_hooks
from ptfile.formats.rebuild_layouts import BUILDERS, REBUILD_QUANTIZED, REBUILD_SPARSE
from ptfile.formats.storages import UNTYPED_STORAGE, LoadedStorages
from ptfile.formats.torchscript_modules import Declarations, set_state
from ptfile.formats.vocabulary import LOOK_INTO_IT, Dialect
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import Global
from ptfile.machine.policy import Meaning, TypeRules
from ptfile.tensors import dtypes
from ptfile.tensors.constants import LAYOUTS
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage, TypedStorage

_JIT = "torch.jit._pickle"
_SPARSE_LAYOUTS = {1: ("sparse_coo", 2), 2: ("sparse_csr", 3)}
"""c10::Layout, and how many tensors a sparse tensor of it is made of. The pickler knows no others."""

_STORAGE_CLASSES: Mapping[Global, DType] = {
    Global("torch", f"{name}Storage"): dtype
    for name, dtype in (
        ("ComplexHalf", dtypes.complex32),
        ("UInt16", dtypes.uint16),
        ("UInt32", dtypes.uint32),
        ("UInt64", dtypes.uint64),
        *((row.name.capitalize(), row) for row in dtypes.BY_NAME.values() if row.name.startswith(("float8", "float4"))),
        *((row.name.capitalize(), row) for row in dtypes.BY_NAME.values() if row.name.startswith("bits")),
    )
}
"""The newer dtypes have no storage class in Python; here they are named as if they had (c10/core/ScalarType.h)."""


def is_torchscript_module(module: str) -> bool:
    """Whether names in this module are classes of the archive."""
    return module == "__torch__" or module.startswith("__torch__.")


def _same(value: object, _type: object = None) -> object:
    """The static types that TorchScript attaches to lists and dicts mean nothing to Python."""
    return value


def _sparse(layout: object, *parts: Any) -> object:
    """(layout, shape, requires_grad, tensors..., hooks) here."""
    if type(layout) is not int:
        return BUILDERS[REBUILD_SPARSE](layout, *parts)
    name, count = _SPARSE_LAYOUTS.get(layout, ("", 0))
    if not name or len(parts) != count + 3:
        raise TensorError(f"a sparse tensor of layout {layout!r:.20} with {len(parts)} parts")
    shape, requires_grad, *tensors, hooks = parts
    no_hooks(hooks)
    made: Any = BUILDERS[REBUILD_SPARSE](LAYOUTS[name], (*tensors, shape))
    made.requires_grad = exactly(requires_grad, bool, "requires_grad")
    return made


def _quantized(*arguments: Any) -> object:
    """PyTorch 1.4 wrote the axis as a list of one number."""
    *place, scales, requires_grad, hooks = arguments
    if type(scales) is tuple and len(scales) == 4 and type(scales[3]) is list and len(scales[3]) == 1:
        scales = (*scales[:3], scales[3][0])
    return BUILDERS[REBUILD_QUANTIZED](*place, scales, requires_grad, hooks)


_NAMES: Mapping[tuple[str, str], Meaning] = {
    **{(_JIT, f"build_{kind}list"): Meaning(call=_same) for kind in ("int", "tensor", "double", "bool")},
    (_JIT, "restore_type_tag"): Meaning(call=_same),
    (REBUILD_SPARSE.module, REBUILD_SPARSE.name): Meaning(call=_sparse),
    (REBUILD_QUANTIZED.module, REBUILD_QUANTIZED.name): Meaning(call=_quantized),
    **{(name.module, name.name): Meaning() for name in _STORAGE_CLASSES},
}


SCRIPT = Dialect(_NAMES, {}, is_torchscript_module, LOOK_INTO_IT)
"""What the pickles of an archive may say, with objects that keep their attributes as they come."""


def script_dialect(declarations: Declarations) -> Dialect:
    """The same, with attributes sorted by what the code declares."""

    def give_state(record: Any, state: object) -> None:
        set_state(record, state, declarations)

    rules = TypeRules(
        extend=lambda record, items: record.inert_items.extend(items),
        update=lambda record, pairs: record.inert_pairs.extend(pairs),
        set_state=give_state,
    )
    return replace(SCRIPT, types={InertRecord: rules})


def table_dialect(tensor: Callable[[object], object], declarations: Declarations) -> Dialect:
    """The same for `attributes.pkl`, which refers to tensors by their number: `tensor(number)` finds one."""
    dialect = script_dialect(declarations)
    names = {
        (_JIT, "build_tensor_from_id"): Meaning(call=tensor),
        # PyTorch 1.1, as `plain_calls` leaves it.
        ("__main__", "TensorID"): Meaning(call=tensor),
        ("__main__", "IntList"): Meaning(call=_same),
    }
    return replace(dialect, names={**dialect.names, **names})


def script_storages(storages: LoadedStorages, suffix: str = "") -> Callable[[object], Storage | TypedStorage]:
    """What persistent ids of TorchScript stand for. `suffix`: what keys end with, which is not theirs."""

    def load(persistent_id: object) -> Storage | TypedStorage:
        if type(persistent_id) is not tuple or len(persistent_id) not in (5, 6):
            raise FormatError("a persistent id is not of the form ('storage', class, key, location, numel)")
        kind, storage_class, key, location, numel, *view = persistent_id
        if view not in ([], [None]):  # PyTorch 1.3 and 1.4 wrote None for a view
            raise FormatError("a persistent id of TorchScript has view metadata")
        if type(key) is str and suffix:
            key = key.removesuffix(suffix)
        dtype = _STORAGE_CLASSES.get(storage_class) if isinstance(storage_class, Global) else None
        if dtype is None or type(numel) is not int:
            return storages.load((kind, storage_class, key, location, numel))
        untyped = storages.load((kind, UNTYPED_STORAGE, key, location, numel * dtype.itemsize))
        assert isinstance(untyped, Storage)
        return TypedStorage(untyped, dtype)

    return load

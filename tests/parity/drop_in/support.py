"""What the parity tests share: the two implementations, saving and loading in memory, and telling values apart."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

# Any, so that mypy finds the same with PyTorch installed and without it.
torch: Any = importlib.import_module("torch")
config: Any = importlib.import_module("torch.utils.serialization.config")
np: Any = importlib.import_module("numpy")

PYTORCH: Any = SimpleNamespace(**{name: getattr(torch.serialization, name) for name in torch.serialization.__all__})
"""PyTorch's own functions, taken before anything could be put in their place."""
COMPANIONS = (
    "LoadEndianness",
    "SourceChangeWarning",
    "add_safe_globals",
    "clear_safe_globals",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "location_tag",
    "register_package",
    "safe_globals",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
    "skip_data",
)
LEGACY = {"_use_new_zipfile_serialization": False}
FORMATS = {"zip": {}, "legacy": LEGACY}
"""Options of `save` for the two formats."""


def implementation(name: str) -> Any:
    """The object with `save`, `load` and their companions: PyTorch's or ptfile's."""
    return PYTORCH if name == "torch" else importlib.import_module("ptfile.torch")


def saved(lib: Any, value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    lib.save(value, buffer, **options)
    return buffer.getvalue()


def loaded(lib: Any, data: bytes, **options: Any) -> Any:
    return lib.load(io.BytesIO(data), **options)


def again(lib: Any, value: Any, **options: Any) -> Any:
    """Save it and load it; `options` are those of `load`."""
    return loaded(lib, saved(lib, value), **options)


def raw_checkpoint(pickled: bytes, **records: bytes) -> bytes:
    """A zip checkpoint around a hand-made pickle, written by PyTorch's own writer of records."""
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name, data in {"data.pkl": pickled, **records}.items():
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    return buffer.getvalue()


class Describer:
    """Turns a tree into plain Python that is equal for equal trees: values, types, strides, attributes and sharing.

    Objects and storages are numbered as they are met, so that what was one object is one object again.
    """

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._alive: list[Any] = []

    def describe(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._once(value, self._tensor)
        if isinstance(value, torch.storage.TypedStorage):
            return ("typed storage", value.dtype, self._storage(value._untyped_storage))
        if isinstance(value, torch.UntypedStorage):
            return self._storage(value)
        if isinstance(value, torch.nn.Module):
            return self._once(value, lambda it: (type(it), self._attributes(it)))
        if isinstance(value, (list, tuple)):
            return self._once(value, lambda it: (type(it), [self.describe(item) for item in it]))
        if isinstance(value, Mapping):
            return self._once(value, self._mapping)
        if isinstance(value, np.ndarray):
            return self._once(value, lambda it: (it.dtype.str, it.shape, it.tobytes()))
        if isinstance(value, float):
            return ("float", value.hex())
        return (type(value), value)

    def _once(self, value: Any, describe: Callable[[Any], Any]) -> Any:
        self._alive.append(value)
        if id(value) in self._numbers:
            return ("again", self._numbers[id(value)])
        number = self._numbers[id(value)] = len(self._numbers)
        return (number, describe(value))

    def _mapping(self, value: Any) -> Any:
        items = [(self.describe(key), self.describe(item)) for key, item in value.items()]
        return (type(value), items, self._attributes(value))

    def _attributes(self, value: Any) -> Any:
        return [(name, self.describe(item)) for name, item in getattr(value, "__dict__", {}).items()]

    def _storage(self, storage: Any) -> Any:
        self._alive.append(storage)
        key = ("storage", storage._cdata)
        if storage.nbytes() and key in self._numbers:  # PyTorch does not keep the sharing of storages without bytes
            return ("storage again", self._numbers[key])
        number = self._numbers[key] = len(self._numbers)
        data = bytes(storage) if storage.device.type == "cpu" else None
        return (number if storage.nbytes() else "empty", storage.nbytes(), storage.device, data)

    def _tensor(self, tensor: Any) -> Any:
        kind = type(tensor)
        about = [kind, tensor.dtype, tensor.layout, tensor.device, tensor.requires_grad, tensor.is_leaf]
        about.append(self._attributes(tensor))
        plain = tensor.detach()
        if plain.layout is torch.jagged:
            return (*about, [self._tensor(part) for part in plain.unbind()])
        if plain.is_nested:
            return (*about, [self._tensor(part) for part in plain.unbind()])
        about.append(tuple(plain.shape))
        if plain.layout is torch.sparse_coo:
            return (*about, plain.is_coalesced(), self._tensor(plain._indices()), self._tensor(plain._values()))
        if plain.layout in {torch.sparse_csr, torch.sparse_bsr}:
            parts = [plain.crow_indices(), plain.col_indices(), plain.values()]
            return (*about, [self._tensor(part) for part in parts])
        if plain.layout in {torch.sparse_csc, torch.sparse_bsc}:
            parts = [plain.ccol_indices(), plain.row_indices(), plain.values()]
            return (*about, [self._tensor(part) for part in parts])
        about += [plain.stride(), plain.storage_offset()]
        if plain.is_quantized:
            about.append(self._quantizer(plain))
        else:
            about += [plain.is_conj(), plain.is_neg()]
        return (*about, self._storage(plain.untyped_storage()))

    def _quantizer(self, tensor: Any) -> Any:
        if tensor.qscheme() == torch.per_tensor_affine:
            return (tensor.qscheme(), tensor.q_scale(), tensor.q_zero_point())
        parts = (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points())
        return (tensor.qscheme(), tensor.q_per_channel_axis(), [(part.dtype, part.tolist()) for part in parts])


def described(value: Any) -> Any:
    return Describer().describe(value)

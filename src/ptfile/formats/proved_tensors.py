"""The tensors of a pickle that was proved harmless, of which there may be very many: each is made by one call.

Of their arguments the proof has told the kinds. What it does not tell is looked at here; whatever is not as usual is
left to those who say what is wrong with it.
"""

from __future__ import annotations

from ptfile.formats.storages import DTYPES, LoadedStorages, parse
from ptfile.machine.fast import BuildTensor
from ptfile.machine.names import Global
from ptfile.tensors.strides import Ints, extent
from ptfile.tensors.tensor import Tensor

_USUAL_KEY = 20
"""Letters of the key of a storage."""


def tensors_of(storages: LoadedStorages) -> BuildTensor:
    """What makes the tensors of one pickle. A closure: it finds what it needs in half the time."""
    find, checked = storages.find, Tensor.checked
    layouts: dict[tuple[Ints, Ints], tuple[int, Ints, Ints]] = {}
    """How many elements each shape with strides reaches over; and these, so that all tensors share them."""

    def tensor(
        persistent_id: tuple[str, Global, str, str, int],
        offset: int,
        shape: Ints,
        stride: Ints,
        requires_grad: bool,
        _hooks: object,
    ) -> Tensor:
        """What `_rebuild_tensor_v2` makes of the storage that a persistent id stands for."""
        tag, kind, key, location, numel = persistent_id
        dtype = DTYPES[id(kind)]
        if tag != "storage" or numel < 0 or len(key) > _USUAL_KEY or not (key.isalnum() and key.isascii()):
            parse(persistent_id)
        storage = find(dtype, key, location, numel)
        layout = layouts.get((shape, stride))
        if layout is None or requires_grad or not 0 <= offset <= numel - layout[0]:
            made = Tensor(storage, dtype, offset, shape, stride, requires_grad)
            if reach := extent(shape, stride):  # a tensor without elements may be anywhere
                layouts[shape, stride] = reach, shape, stride
            return made
        _, shape, stride = layout
        return checked(storage, dtype, offset, shape, stride)

    return tensor

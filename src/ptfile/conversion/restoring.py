"""From named tensors and ptfile's note back to the object tree.

The note comes from a file, and is believed in nothing: what is not of the form that `describing` writes is a
FormatError, and what would take more than the file warrants a LimitError.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ptfile.conversion import values
from ptfile.conversion.composing import Composed, Kept, Part, clusters_of, warranted
from ptfile.conversion.describing import NAMESPACES, VERSION
from ptfile.errors import FormatError, LimitError, TensorError, UnsupportedError, brief
from ptfile.limits import Limits
from ptfile.machine.keys import KeyChecks
from ptfile.tensors import dtypes, strides
from ptfile.tensors.constants import Device
from ptfile.tensors.dtypes import DType
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor

_UNFINISHED: Any = object()
_KEY_KINDS = frozenset({bool, bytes, complex, DType, Device, float, int, str, type(None)})


def restore(note: Any, tensors: Mapping[str, Tensor], limits: Limits) -> Any:
    """The tree that a note describes, with these tensors in it, which have been read as little as they were before.

    tensors: each with a storage of its own. Raises FormatError, TensorError, LimitError, and UnsupportedError for the
    note of a later version.
    """
    if type(note) is not dict or type(note.get("version")) is not int:
        raise FormatError("ptfile's note is not of the form that ptfile writes")
    if note["version"] != VERSION:
        problem = f"ptfile's note has version {note['version']}, and this ptfile knows {VERSION}"
        raise UnsupportedError(problem, fix="Update ptfile")
    if note.keys() - {"version", "root", "storages"} or "root" not in note:
        raise FormatError("ptfile's note is not of the form that ptfile writes")
    maker = _Maker(tensors, _views(note.get("storages", []), tensors), limits)
    try:
        root = maker.make(note["root"])
    except RecursionError as error:
        depth = limits.depth
        raise LimitError("ptfile's note is nested too deep", limit="depth", allowed=depth, actual=depth + 1) from error
    unused = sorted(tensors.keys() - maker.used)
    if unused:
        problem = f"ptfile's note does not speak of the tensor {unused[0]!r}, as if the file had been changed since"
        raise FormatError(problem, fix="Read its tensors with the library of the format")
    return root


# storages


def _views(said: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that the list of storages names, as views of those storages."""
    views: dict[str, Tensor] = {}
    kept = Kept()
    for each in _list(said):
        nbytes, device, parts = _typed(each, int, str, list)
        if device == "meta":
            raise FormatError("ptfile's note has tensors with elements on the meta device, where there are none")
        pieces = [_piece(part, tensors) for part in parts]
        names = [part[0] for part in parts]
        if not pieces or len(set(names)) < len(names) or views.keys() & set(names):
            raise FormatError("ptfile's note has a tensor in two storages, or a storage without any")
        allowed = warranted(sum(piece.tensor.nbytes for piece in pieces))
        if nbytes < 0 or nbytes > allowed:
            problem = "a storage in ptfile's note is much larger than the tensors that it is made of"
            raise LimitError(problem, limit="storages", allowed=allowed, actual=nbytes)
        storage = _storage(nbytes, sys.intern(device), pieces, kept)
        for name, piece in zip(names, pieces, strict=True):
            tensor = piece.tensor
            offset, rest = divmod(piece.start, tensor.itemsize)
            if rest or piece.start < 0:
                raise TensorError(f"the tensor {name[:80]!r} begins between two elements of its storage")
            views[name] = Tensor(storage, tensor.dtype, offset, tensor.shape, piece.stride)
    return views


def _storage(nbytes: int, device: str, pieces: list[Part], kept: Kept) -> Storage:
    first = pieces[0]
    if len(pieces) == 1 and first.is_run and first.tensor.nbytes == nbytes:
        storage = first.tensor.untyped_storage()
        if first.start == 0 and storage.nbytes() == nbytes:
            storage.device = device
            return storage
    composed = Composed(nbytes, clusters_of(pieces), kept)
    return Storage.deferred(
        nbytes, lambda: composed.range(0, nbytes), device, fetch_range=composed.range, origin=composed
    )


def _piece(said: Any, tensors: Mapping[str, Tensor]) -> Part:
    said = _list(said)
    kinds = (str, int, list) if len(said) == 3 else (str, int)
    name, start, *stride = _typed(said, *kinds)
    tensor = _named(name, tensors)
    shown = _ints(stride[0]) if stride else strides.contiguous(tensor.shape)
    if len(shown) != tensor.ndim:
        raise TensorError(f"the tensor {name[:80]!r} of {tensor.ndim} dimensions has {len(shown)} strides")
    return Part(tensor, start, shown)


# the tree


class _Maker:
    """Makes one tree.

    Equal texts are one object in it, as those in the source of a program are: picklers write them once.
    """

    def __init__(self, tensors: Mapping[str, Tensor], views: Mapping[str, Tensor], limits: Limits) -> None:
        self._tensors = {**tensors, **views}
        self._met: list[Any] = []
        self._keys = KeyChecks(
            lambda kind: kind in _KEY_KINDS or issubclass(kind, np.generic), sys.getsizeof, limits.shared
        )
        self._shown = 0
        self._allowed = warranted(sum(tensor.nbytes for tensor in tensors.values()))
        """Bytes that all arrays may have."""
        self.used: set[str] = set(views)

    def make(self, said: Any) -> Any:
        kind = type(said)
        if kind is dict:
            made: dict[str, Any] = {}
            self._met.append(made)
            made.update((sys.intern(key), self.make(item)) for key, item in said.items())
            return made
        if kind is str:
            return sys.intern(said)
        if kind is not list:
            return said
        word = said[0] if said and type(said[0]) is str else ""
        if word in values.FORMS:
            return values.read(word, said[1:])
        if word not in self._MAKERS:
            raise FormatError(f"ptfile's note has a value of the unknown form {brief(word)}")
        return self._MAKERS[word](self, said)

    def _same(self, said: list[Any]) -> Any:
        _, number = _typed(said, str, int)
        if not 0 <= number < len(self._met) or self._met[number] is _UNFINISHED:
            raise FormatError(f"ptfile's note speaks of value {brief(number)} before it is there")
        return self._met[number]

    def _make_list(self, said: list[Any]) -> list[Any]:
        made: list[Any] = []
        self._met.append(made)
        made.extend(self.make(item) for item in said[1:])
        return made

    def _make_tuple(self, said: list[Any]) -> tuple[Any, ...]:
        place = len(self._met)
        self._met.append(_UNFINISHED)
        made = self._met[place] = tuple([self.make(item) for item in said[1:]])
        return made

    def _make_dict(self, said: list[Any]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        self._fill(made, said[1:])
        return made

    def _make_ordered_dict(self, said: list[Any]) -> OrderedDict[Any, Any]:
        pairs, attributes = _typed(said, str, list, dict)[1:] if len(said) == 3 else (*_typed(said, str, list)[1:], {})
        made: OrderedDict[Any, Any] = OrderedDict()
        self._fill(made, pairs)
        self._set_attributes(made, attributes)
        return made

    def _fill(self, made: dict[Any, Any], pairs: list[Any]) -> None:
        self._met.append(made)
        if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
            raise FormatError("ptfile's note has a dict that is not made of pairs")
        keys = [_key(key) for key, _ in pairs]
        self._keys.check(made, keys)
        for key, (_, said) in zip(keys, pairs, strict=True):
            made[sys.intern(key) if type(key) is str else key] = self.make(said)
        if len(made) < len(pairs):
            raise FormatError("ptfile's note has one key twice")

    def _make_namespace(self, said: list[Any]) -> Any:
        word, attributes = _typed(said, str, dict)
        made = NAMESPACES[word]()
        self._met.append(made)
        self._set_attributes(made, attributes)
        return made

    def _set_attributes(self, made: Any, attributes: dict[str, Any]) -> None:
        for name, item in attributes.items():
            if name.startswith("__"):
                raise FormatError(f"ptfile's note has an attribute {name[:40]!r}, which would hide one of Python's")
            vars(made)[sys.intern(name)] = self.make(item)

    def _make_set(self, said: list[Any]) -> Any:
        items = [_key(item) for item in said[1:]]
        self._keys.check(items, items, into_set=True)
        made = set(items) if said[0] == "set" else frozenset(items)
        if len(made) < len(items):
            raise FormatError("ptfile's note has a set with one element twice")
        self._met.append(made)
        return made

    def _make_tensor(self, said: list[Any]) -> Tensor:
        if len(said) == 2:
            _, name = _typed(said, str, str)
            if name not in self.used:  # as nearly always: it is as it came from the file
                tensor = _named(name, self._tensors)
                self.used.add(name)
                self._met.append(tensor)
                return tensor
        tensor = self._view(said, {"grad", "parameter", "view"})
        options = said[2] if len(said) == 3 else {}
        if not all(type(options.get(name, False)) is bool for name in ("grad", "parameter")):
            raise FormatError("a tensor in ptfile's note has a flag that is none")
        if "parameter" in options:
            tensor = Parameter(tensor, options["parameter"])
        elif "grad" in options:
            tensor.requires_grad = options["grad"]
        self._met.append(tensor)
        return tensor

    def _make_array(self, said: list[Any]) -> npt.NDArray[Any]:
        tensor = self._view(said, {"order", "view"})
        options = said[2] if len(said) == 3 else {}
        if options.get("order", "F") != "F":
            raise FormatError("an array in ptfile's note has an order that is none")
        self._shown += tensor.nbytes
        if self._shown > self._allowed:
            problem = "ptfile's note makes arrays of the same bytes again and again"
            raise LimitError(problem, limit="shown_again", allowed=self._allowed, actual=self._shown)
        made = np.array(tensor.numpy(), order="F" if "order" in options else "C")
        self._met.append(made)
        return made

    def _view(self, said: list[Any], known: set[str]) -> Tensor:
        _, name, *rest = _typed(said, str, str, dict) if len(said) == 3 else _typed(said, str, str)
        tensor = _named(name, self._tensors)
        self.used.add(name)
        options = rest[0] if rest else {}
        if options.keys() - known:
            raise FormatError("a tensor in ptfile's note has options that ptfile does not write")
        dtype, offset, shape, stride = tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride()
        if "view" in options:
            dtype_name, offset, sizes, steps = _typed(options["view"], str, int, list, list)
            dtype, shape, stride = _dtype(dtype_name), _ints(sizes), _ints(steps)
        return Tensor(tensor.untyped_storage(), dtype, offset, shape, stride)

    _MAKERS: ClassVar[Mapping[str, Callable[[_Maker, list[Any]], Any]]] = {
        "same": _same,
        "list": _make_list,
        "tuple": _make_tuple,
        "dict": _make_dict,
        "OrderedDict": _make_ordered_dict,
        **dict.fromkeys(NAMESPACES, _make_namespace),
        "set": _make_set,
        "frozenset": _make_set,
        "tensor": _make_tensor,
        "array": _make_array,
    }


def _key(said: Any) -> Any:
    if type(said) is not list:
        if type(said) is dict:
            raise FormatError("ptfile's note has a dict as a key")
        return said
    word = said[0] if said and type(said[0]) is str else ""
    if word == "tuple":
        return tuple([_key(part) for part in said[1:]])
    if word not in values.FORMS or word == "bytearray":
        raise FormatError(f"ptfile's note has a key of the form {brief(word)}")
    return values.read(word, said[1:])


def _named(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise FormatError(f"ptfile's note speaks of a tensor {name[:80]!r}, which is not in the file")
    return tensors[name]


def _dtype(name: str) -> DType:
    if name not in dtypes.BY_NAME:
        raise FormatError(f"there is no dtype {name[:40]!r}")
    return dtypes.BY_NAME[name]


def _list(said: Any) -> list[Any]:
    if type(said) is not list:
        raise FormatError(f"ptfile's note has {brief(said)} where a list should be")
    return said


def _ints(said: list[Any]) -> tuple[int, ...]:
    return tuple(_typed(said, *[int] * len(said)))


def _typed(said: Any, *kinds: type) -> list[Any]:
    """The items of a list, which are of these types. Raises FormatError."""
    if list(map(type, _list(said))) != list(kinds):
        raise FormatError(f"ptfile's note has {brief(said[:1])} and more in a list of another form")
    return said  # type: ignore[no-any-return]

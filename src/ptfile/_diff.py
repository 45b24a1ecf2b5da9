"""`ptfile.diff`: what is different between two checkpoints, by name."""

from __future__ import annotations

import cmath
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ptfile._checkpoint import Checkpoint
from ptfile._checkpoint import open as open_checkpoint
from ptfile._collector import paused_collector
from ptfile._digest import content_hash
from ptfile._lazy import np
from ptfile._tree import named
from ptfile._types import Path, Progress, Readable
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import LimitError, PtfileError, located
from ptfile.limits import Limits
from ptfile.machine.inert import InertRecord
from ptfile.sources import open_source
from ptfile.stores.urls import StorageOptions, redacted
from ptfile.tensors.comparison import Apart, Tolerance, compare
from ptfile.tensors.create import from_numpy
from ptfile.tensors.elements import integers
from ptfile.tensors.pieces import PIECE
from ptfile.tensors.python_side import Attributed
from ptfile.tensors.quantized import PerTensor, QuantizedTensor
from ptfile.tensors.tensor import EXPANDED_COPY, Tensor

_DEFAULT_LIMITS = Limits()
_SHOWN_AGAIN = 16
"""How often, all in all, the bytes of the storages may be compared: tensors that overlap show them more than once."""
_NUMBERS = (int, float, complex)
_Strided = (Tensor, QuantizedTensor)


@dataclass(frozen=True, slots=True)
class Difference:
    """One name under which the two checkpoints are not the same."""

    name: str
    """As `ptfile ls` writes it, or would, of attributes of dicts."""
    kind: str
    """The first of these that it is: `removed` (it is in the first alone), `added` (in the second alone), `type` (of
    the value, or the layout of the tensor), `shape`, `dtype`, `scale` (of quantized tensors), `value`."""
    a: Any
    """What is in the first: the value, or a tensor that can be read no more; None if it was added."""
    b: Any
    """What is in the second; None if it was removed."""
    differing: int | None = None
    """Elements that differ beyond the tolerance, of tensors of the same shape; None for anything else."""
    max_abs: int | float | None = None
    """The largest absolute difference of elements: inf, or NaN if NaN stands against a number. An int for integers."""


@dataclass(frozen=True, slots=True)
class Diff:
    """What `diff` found."""

    a: str
    """The path of the first file, or the kind of object that its bytes came from."""
    b: str
    compared: int
    """Names that are in both."""
    differences: tuple[Difference, ...]
    """In the order of the first file; what was added comes last."""

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not self.differences


def diff(
    a: Path | Readable,
    b: Path | Readable,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    equal_nan: bool = True,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
    progress: Progress | None = None,
) -> Diff:
    """Compare two checkpoints name by name: what is there, types, shapes, dtypes, values.

    Attributes of dicts are compared as well, such as the versions that a state dict keeps (`_metadata.layer.version`),
    which listings leave out. Not compared are formats, devices, strides, sharing, `requires_grad`, classes of
    containers and the order of keys: `digest` tells whether two files say the very same.

    a, b: paths, URLs, or binary file objects that can seek.

    rtol, atol: numbers count as equal if `|a - b| <= atol + rtol * |b|`. 0: only if they are equal.

    equal_nan: whether NaN equals NaN at the same place.

    encoding, errors: how to read the strings of Python 2, as in `load`.

    storage_options: how to open the stores that URLs are in (docs/remote.md).

    progress: is called with the bytes compared so far and the bytes that there are to compare.

    Checksums are verified. In memory are the two pickles and a few MiB of one pair of tensors; all that a tensor spans,
    if its elements do not lie in the order of the other's; and what is compressed.

    Raises what `load` raises for either file, and ValueError for tolerances below 0.

    >>> import io, ptfile
    >>> files = io.BytesIO(), io.BytesIO()
    >>> ptfile.save({"w": ptfile.tensor([1.0, 2.0, 3.0]), "step": 1}, files[0])
    >>> ptfile.save({"w": ptfile.tensor([1.0, 2.5, 3.0]), "step": 1, "lr": 0.1}, files[1])
    >>> [file.seek(0) for file in files]
    [0, 0]
    >>> [(one.name, one.kind, one.differing, one.max_abs) for one in diff(*files).differences]
    [('w', 'value', 1, 0.5), ('lr', 'added', None, None)]
    """
    tolerance = Tolerance(rtol, atol, equal_nan)
    options: dict[str, Any] = {"encoding": encoding, "errors": errors, "limits": limits}
    options["storage_options"] = storage_options
    starts = [None if isinstance(f, (str, os.PathLike)) else f.tell() for f in (a, b)]
    with open_checkpoint(a, **options) as first, open_checkpoint(b, **options) as second:
        named_a, named_b = (_values(f, one, limits) for f, one in ((a, first), (b, second)))
        comparison = _Comparison(named_a, named_b, tolerance, progress)
        if comparison.has_large:
            for f, start in zip((a, b), starts, strict=True):
                _verify_large(f, start, limits, storage_options)
        found = tuple(comparison.differences())
        return Diff(_name(a), _name(b), len(named_a.keys() & named_b.keys()), found)


def _name(f: Path | Readable) -> str:
    return redacted(os.fspath(f)) if isinstance(f, (str, os.PathLike)) else type(f).__name__


def _values(f: Path | Readable, checkpoint: Checkpoint, limits: Limits) -> dict[str, Any]:
    """All values by their names, with those that are not in the mapping: attributes of dicts."""
    with located(file=_name(f)), paused_collector():
        return {name: leaf.value for name, leaf in named(checkpoint.root, limits).items()}


def _verify_large(f: Path | Readable, start: int | None, limits: Limits, storage_options: StorageOptions) -> None:
    """Check the records of a zip file that are compared in pieces, for which there are no checksums.

    start: where a file object stood.
    """
    if start is not None and not isinstance(f, (str, os.PathLike)):
        f.seek(start)
    with open_source(f, mmap=False, storage_options=storage_options) as source, located(file=source.name):
        head = bytes(source.read(0, min(HEAD_SIZE, source.size)))
        if sniff(head, source.size) is Kind.ZIP:
            reader = ZipReader(source, limits)
            for record in reader.records.values():
                if record.size > PIECE:
                    reader.check(record)


class _Comparison:
    """Two checkpoints, side by side."""

    def __init__(
        self, a: Mapping[str, Any], b: Mapping[str, Any], tolerance: Tolerance, progress: Progress | None
    ) -> None:
        self._a, self._b = a, b
        self._tolerance = tolerance
        self._progress = progress
        pairs = [(a[name], b[name]) for name in a if name in b]
        tensors = [pair for pair in pairs if all(isinstance(tensor, _Strided) for tensor in pair)]
        self._total = sum(one.numel() * one.dtype.itemsize for one, other in tensors if one.shape == other.shape)
        storages = {id(storage): storage.nbytes() for pair in tensors for storage in map(_storage, pair)}
        allowed = _SHOWN_AGAIN * sum(storages.values()) + EXPANDED_COPY
        if self._total > allowed:
            problem = "its tensors show the same bytes again and again"
            raise LimitError(problem, limit="shown_again", allowed=allowed, actual=self._total)
        self.has_large = any(nbytes > PIECE for nbytes in storages.values())
        """Whether anything is compared in pieces."""
        self._done = 0
        self._known: dict[object, Apart] = {}

    def differences(self) -> Iterator[Difference]:
        for name, value in self._a.items():
            if name in self._b:
                found = self._difference(name, value, self._b[name])
                if found is not None:
                    yield found
            else:
                yield Difference(name, "removed", value, None)
        yield from (Difference(name, "added", None, value) for name, value in self._b.items() if name not in self._a)

    def _difference(self, name: str, a: Any, b: Any) -> Difference | None:
        if isinstance(a, Attributed) and isinstance(b, Attributed):
            return self._tensors(name, a, b)
        if _type(a) != _type(b):
            return Difference(name, "type", a, b)
        if isinstance(a, np.ndarray):
            return self._arrays(name, a, b)
        return None if _equal(a, b, self._tolerance) else Difference(name, "value", a, b)

    def _tensors(self, name: str, a: Any, b: Any) -> Difference | None:
        if _layout(a) != _layout(b):
            return Difference(name, "type", a, b)
        if getattr(a, "shape", None) != getattr(b, "shape", None):
            return Difference(name, "shape", a, b)
        apart = self._apart(a, b) if isinstance(a, _Strided) else Apart(0, None)
        kind = "value" if apart and apart.differing else None
        if isinstance(a, QuantizedTensor) and a.dtype is b.dtype and _scale(a) != _scale(b):
            kind = "scale"
        if a.dtype is not b.dtype:
            kind = "dtype"
        if kind is None:
            return None
        return Difference(name, kind, a, b, *((apart.differing, apart.max_abs) if apart else ()))

    def _apart(self, a: Any, b: Any) -> Apart | None:
        """How far two tensors of one shape are apart; None if there is nothing to compare."""
        if "meta" in (a.device, b.device):
            return None
        if isinstance(a, QuantizedTensor) and a.dtype is not b.dtype:
            return None
        pair = (_view(a), _view(b))
        if pair not in self._known:
            if isinstance(a, QuantizedTensor):
                a, b = integers(a), integers(b)
            self._known[pair] = compare(a, b, self._tolerance, lambda count: self._advance(count * a.itemsize))
        return self._known[pair]

    def _arrays(self, name: str, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> Difference | None:
        if a.shape != b.shape:
            return Difference(name, "shape", a, b)
        if a.dtype != b.dtype:
            return Difference(name, "dtype", a, b)
        try:
            apart = compare(from_numpy(a), from_numpy(b), self._tolerance, lambda _: None)
        except PtfileError:  # of elements that no tensor has
            return None if content_hash(a) == content_hash(b) else Difference(name, "value", a, b)
        return Difference(name, "value", a, b, apart.differing, apart.max_abs) if apart.differing else None

    def _advance(self, nbytes: int) -> None:
        self._done += nbytes
        if self._progress is not None:
            self._progress(self._done, self._total)


def _storage(tensor: Any) -> Any:
    return tensor.untyped_storage()


def _view(tensor: Tensor | QuantizedTensor) -> tuple[object, ...]:
    """What tensors of one file have in common that are the same elements. Its storages live as long as this is used."""
    flags = (tensor.is_conj(), tensor.is_neg()) if isinstance(tensor, Tensor) else ()
    place = (tensor.storage_offset(), tensor.shape, tensor.stride())
    return (id(tensor.untyped_storage()), tensor.dtype, *place, *flags)


def _layout(tensor: Any) -> str:
    if isinstance(tensor, QuantizedTensor):
        return f"quantized {tensor.qscheme()}"
    return "strided" if isinstance(tensor, Tensor) else f"{type(tensor).__name__} {getattr(tensor, 'layout', '')}"


def _scale(tensor: QuantizedTensor) -> object:
    """Those by channel are tensors with names of their own."""
    quantizer = tensor.quantizer
    return (quantizer.scale, quantizer.zero_point) if isinstance(quantizer, PerTensor) else quantizer.axis


def _type(value: Any) -> object:
    return value.inert_class if type(value) is InertRecord else type(value)


def _equal(a: Any, b: Any, tolerance: Tolerance) -> bool:
    """Whether two plain values of one type are equal, numbers within the tolerance."""
    if type(a) in (list, tuple) and len(a) == len(b):
        return all(type(one) is type(other) and _equal(one, other, tolerance) for one, other in zip(a, b, strict=True))
    if type(a) in _NUMBERS:
        return _near(a, b, tolerance)
    return content_hash(a) == content_hash(b)


def _near(a: complex, b: complex, tolerance: Tolerance) -> bool:
    if a == b:
        return True
    try:
        if cmath.isnan(a) and cmath.isnan(b):
            return tolerance.equal_nan
        gap = abs(a - b)
        return math.isfinite(gap) and gap <= tolerance.atol + tolerance.rtol * abs(b)
    except OverflowError:  # integers that no float can hold
        return False

"""numpy's protocols for tensors: operators and ufuncs by `__array_ufunc__`, conversion by `__array__` and DLPack.

ptfile has no mathematics of its own. A tensor computes as the array it is a view of, by numpy's rules of promotion,
and what comes out is a tensor again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptfile._lazy import np
from ptfile.errors import TensorError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from ptfile.tensors.tensor import Tensor

_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "xor", "or")
OPERATORS = (
    *("lt", "le", "eq", "ne", "gt", "ge", "neg", "pos", "abs", "invert", "divmod", "rdivmod"),
    *(f"{kind}{name}" for name in _BINARY for kind in ("", "r", "i")),
)
"""What numpy's `NDArrayOperatorsMixin` has, without the underscores."""


def _of_numpy(name: str) -> Callable[..., Any]:
    def operator(self: object, *other: object) -> Any:
        return getattr(np.lib.mixins.NDArrayOperatorsMixin, name)(self, *other)

    return operator


if TYPE_CHECKING:
    _Operators = np.lib.mixins.NDArrayOperatorsMixin
else:
    # To inherit from the mixin would be to import numpy for whoever only looks at names and shapes.
    _METHODS = {name: _of_numpy(name) for name in map("__{}__".format, OPERATORS)}
    _Operators = type("_Operators", (), {"__slots__": (), **_METHODS})


class NumpyProtocols(_Operators):
    """Operators and conversions for a class that has the three methods of a tensor used here."""

    __slots__ = ()

    def numpy(self) -> npt.NDArray[Any]:
        raise NotImplementedError

    def values_array(self) -> npt.NDArray[Any]:
        """The values for reading, flags resolved."""
        raise NotImplementedError

    def writable_array(self) -> npt.NDArray[Any]:
        """The elements for writing in place; raises TensorError where that is not possible."""
        raise NotImplementedError

    __hash__ = object.__hash__  # `==` compares elements; as in PyTorch a tensor is a key by identity

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"an array of {np.dtype(dtype)} takes a copy of a tensor of {array.dtype}")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Run a ufunc on the arrays; tensors given as `out` are written in place, for all views of their storage."""
        given = list(inputs)
        if method == "at":  # writes into its first input
            given[0] = _target(inputs[0])
        given = [_plain(value) for value in given]
        outs = kwargs.get("out", ())
        if outs:
            kwargs["out"] = tuple(_target(out) for out in outs)
        if "where" in kwargs:
            kwargs["where"] = _plain(kwargs["where"])
        result = getattr(ufunc, method)(*given, **kwargs)
        if isinstance(result, tuple):
            return tuple(_result(value, out) for value, out in zip(result, outs or [None] * len(result), strict=True))
        return _result(result, outs[0] if outs else None)

    def __dlpack__(self, **options: Any) -> Any:
        """A DLPack capsule that shares the memory. Raises BufferError for what numpy cannot export."""
        try:
            return self.numpy().__dlpack__(**{name: value for name, value in options.items() if value is not None})
        except (UnsupportedError, TensorError) as error:
            raise BufferError(str(error)) from error

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # kDLCPU, in main memory, whatever the device tag says


def _plain(value: Any) -> Any:
    return value.values_array() if isinstance(value, NumpyProtocols) else value


def _target(value: Any) -> Any:
    return value.writable_array() if isinstance(value, NumpyProtocols) else value


def _result(value: Any, out: Any) -> Tensor | Any:
    from ptfile.tensors.create import from_numpy

    if out is not None:
        return out
    if isinstance(value, np.ndarray | np.generic):
        try:
            return from_numpy(np.asarray(value))
        except TensorError:
            return value  # of a type that no tensor holds, such as longdouble
    return value

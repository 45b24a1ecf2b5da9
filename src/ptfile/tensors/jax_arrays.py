"""Tensors as JAX arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ptfile.errors import TensorError, UnsupportedError

if TYPE_CHECKING:
    import jax

_NARROW = {"f": np.float32, "c": np.complex64, "i": np.int32, "u": np.uint32}
"""What JAX has in place of 64-bit numbers, by numpy's letter for their kind."""


def jax_array(array: npt.NDArray[Any], *, narrow: bool = False) -> jax.Array:
    """The same elements as a JAX array: in the same memory where that begins at a multiple of 64 and has no gaps.

    narrow: whether 64-bit elements become 32-bit ones while JAX's own 64-bit types are off. Floats are rounded.

    Raises UnsupportedError if JAX is missing or has no such elements, TensorError for numbers that narrow ones cannot
    hold.
    """
    package = import_jax()
    # JAX would make 32-bit numbers of 64-bit ones and say nothing.
    if package.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        if not narrow:
            raise UnsupportedError(
                f"JAX's 64-bit types are off, and would make 32-bit numbers of {array.dtype}",
                fix='Turn them on: jax.config.update("jax_enable_x64", True); or say narrow=True',
            )
        array = _narrowed(array)
    try:
        made: jax.Array = package.device_put(array, may_alias=True)
    except TypeError as error:
        raise UnsupportedError(f"JAX has no arrays of {array.dtype}") from error
    return made


def _narrowed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The elements in half as many bytes. Raises TensorError for those that are out of range then."""
    with np.errstate(over="ignore"):
        narrow: npt.NDArray[Any] = array.astype(_NARROW[array.dtype.kind])
    lost = (narrow != array) if array.dtype.kind in "iu" else (np.isfinite(array) & ~np.isfinite(narrow))
    if lost.any():
        raise TensorError(
            f"{array[lost].flat[0]} is out of the range of {narrow.dtype}",
            fix='Turn on JAX\'s 64-bit types: jax.config.update("jax_enable_x64", True)',
        )
    return narrow


def import_jax() -> Any:
    """JAX, for those who ask for its arrays. Raises UnsupportedError if it is not installed."""
    try:
        import jax
    except ImportError as error:
        raise UnsupportedError(
            "JAX is not installed, and this makes its arrays", fix="Install it (`pip install jax`), or use `.numpy()`"
        ) from error
    return jax

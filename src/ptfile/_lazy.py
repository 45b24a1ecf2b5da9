"""numpy, imported when something of it is first used.

It takes longer to import than all of ptfile, and much that people ask of a checkpoint takes no array: what is in it,
what its pickles would do, where its bytes are.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeGuard

__all__ = ["is_array", "np"]

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:

    class _Numpy:
        """Stands for the module. What was used once is an attribute, found as fast as the module's own."""

        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module("numpy"), name)
            setattr(self, name, value)
            return value

    np = _Numpy()


def is_array(value: object) -> TypeGuard[npt.NDArray[Any]]:
    """Whether it is a numpy array. As long as nobody has imported numpy there are none."""
    return "numpy" in sys.modules and isinstance(value, np.ndarray)

"""Every file of the corpus that does not load to exactly what was saved, or does not save to its own bytes, and why.

The tests hold the lists to the truth both ways: a difference that no entry explains fails, and so does an entry for a
file that has come to load or save without one. Files are named by regular expressions of `version/name`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tests.golden.corpus import CorpusFile

OTHER_FORMATS = {"dcp": "A directory of torch.distributed.checkpoint, which is not a file that `torch.save` writes."}
"""Kinds of files that `ptfile.load` is not for."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a file cannot say, though the value that was saved had it."""

    reason: str
    paths: str
    """A regular expression of the places in the corpus's tree at which the values differ."""


REFUSED: Mapping[str, str] = {
    r"torch-1\.10\..*/dtype_views_share\..*": (
        "One storage is written under two element types. PyTorch reads such a file, with wrong values; ptfile refuses."
    ),
}
"""Files that ptfile refuses to load."""

_OWN_STATE = "The class has a `__getstate__` of its own: what that leaves out is not in the file."
_PLAIN = "PyTorch before 1.8 saves a tensor of a subclass as a plain one, without attributes."
LOSSES: Mapping[str, Loss] = {
    r"torch-(1\.1\d|2)\..*/optim_object\..*": Loss(
        "An optimizer saves its defaults, state and parameter groups, and no other attribute.", r"tree\.dict\[\d+\]"
    ),
    r"torch-2\..*/module_lstm\..*": Loss("A recurrent module leaves out its weak references.", r"tree\.dict\[\d+\]"),
    r"torch-1\.(6|10)\..*/quantized_dynamic_module\..*": Loss(
        _OWN_STATE, r"tree\.dict\[[56]\]\[1\]\.items\[0\]\[1\]\.dict\[[56]\]\[1\]\.items\[0\]\[1\]\.dict\[\d+\]"
    ),
    r"torch-.*/py_state_object\..*": Loss(_OWN_STATE, r"tree\.dict\[0\]"),
    r"torch-1\.[046]\..*/tensor_subclass_with_attr\..*": Loss(_PLAIN, r"tree\.attrs"),
    r"torch-.*/np_noncontiguous\..*": Loss("numpy saves the elements of an array row by row.", r"tree\.(order|stride)"),
    r"torch-(1\.[146]|2).*/pickler_dill\..*": Loss(
        "dill names some of Python's own types by a function of its own, which stays an inert record.",
        r"tree\.items\[[357]\]\[1\](\.class)?",
    ),
    r"torch-1\.0\..*/module_.*": Loss(
        "PyTorch up to 1.1 pickles the backend of a module as a call of the function that returns it.",
        r"tree.*\.class",
    ),
    r"torch-1\.0\..*/generator\..*": Loss("PyTorch 1.0 saves no state of a generator.", r"tree\.class"),
    r"torch-1\.([46]|10)\..*/sparse_coo_empty\..*": Loss(
        "Since PyTorch 1.13 a sparse tensor of no element or one counts as coalesced.", r"tree\.coalesced"
    ),
    r"torch-1\.[46]\..*/sparse_coo_coalesced\.legacy\..*": Loss(
        "Only files of PyTorch 2.1 and later say whether a sparse tensor is coalesced.", r"tree\.coalesced"
    ),
    r"torch-1\.[46]\..*/sparse_requires_grad\.legacy\..*": Loss(
        "PyTorch does not save requires_grad of a sparse tensor.", r"tree\.requires_grad"
    ),
    r"torch-.*/jit_trace\..*": Loss(
        "The versions of modules (`_metadata`) are not in a TorchScript file.", r"tree\.state_dict\.attrs\[0\]"
    ),
    r"torch-2\.1\..*/export\..*": Loss(
        "torch.export of 2.1 names parameters by its graph (`L__self___fc.bias`) and saves no versions of modules.",
        r"tree\.state_dict\.(attrs\[0\]|items\[\d\]\[0\])",
    ),
}
"""Differences beside the one that PyTorch itself found when it loaded the file again (`reload` in the corpus)."""


@dataclass(frozen=True, slots=True)
class OtherBytes:
    """Why a file is saved to other bytes than those it was loaded from."""

    reason: str
    here: bool = True
    """Whether that is so with the running Python and numpy."""


_PYTHON = sys.version_info
NUMPY_2 = np.lib.NumpyVersion(np.__version__) >= "2.0.0"
_NESTED = "Python 3.13 writes the class around a nested class or function again each time."
OTHER_BYTES: Mapping[str, OtherBytes] = {
    r"torch-2\.1[35]\..*/big_endian_synthetic\..*": OtherBytes(
        "A file is saved in the byte order of the machine.", sys.byteorder == "little"
    ),
    r"torch-2\.1[35]\..*/skip_data(_fake.*)?\..*": OtherBytes(
        "The bytes of the storages are left out of the file, and saved as zeros."
    ),
    r".*/proto0\..*": OtherBytes("PyTorch cannot read what it writes with protocol 0, and ptfile does not write it."),
    r".*/np_big_endian\..*": OtherBytes("numpy brings an array that it loads into the machine's byte order."),
    r"torch-2\.(1|13|15)\..*/np_(masked|structured)\..*": OtherBytes(
        "Python has one object for each one-letter text that it loads, and a pickle refers to it when it comes again."
    ),
    r"torch-(1\.1|2).*/pickler_dill_lambda\..*": OtherBytes(
        "dill's own pickler wrote the file, and inert records are Python's to write."
    ),
    r"torch-1\.4\..*/quant_channel_.*": OtherBytes(
        "PyTorch up to 1.4 wrote the scales as lists; they are tensors since."
    ),
    r"torch-1\.13\..*/sparse_csr(_int32)?\..*": OtherBytes(
        "PyTorch 1.11 to 1.13 name a function that no later PyTorch has; it is saved for those."
    ),
    r"torch-1\..*/np_scalar_datetime64\..*": OtherBytes("numpy 2 pickles the dtype of times differently.", NUMPY_2),
    r"torch-2\.1\..*/np_scalar_datetime64\..*": OtherBytes("numpy 2 pickles the dtype of times differently.", NUMPY_2),
    r"torch-2\.(6|13|15)\..*/np_scalar_datetime64\..*": OtherBytes(
        "numpy 1 pickles the dtype of times differently.", not NUMPY_2
    ),
    r"torch-1\..*/py_fraction\..*": OtherBytes(
        "Python pickles a Fraction as two numbers since 3.11.", _PYTHON >= (3, 11)
    ),
    r"torch-2\..*/py_fraction\..*": OtherBytes("Python up to 3.10 pickles a Fraction as text.", _PYTHON < (3, 11)),
    r"torch-1\.(4|10)\..*/(proto[12]|pickler_(cloudpickle|pure_python)|py_bytearray)\..*": OtherBytes(
        "Python up to 3.7 pickles a bytearray as text."
    ),
    r"torch-2\.6\..*/py_pathlib\..*": OtherBytes(
        "Python 3.13 alone names the module of paths so.", _PYTHON[:2] != (3, 13)
    ),
    r"torch-(1|2\.1|2\.13|2\.15)\..*/py_pathlib\..*": OtherBytes(
        "Python 3.13 alone names the module of paths so.", _PYTHON[:2] == (3, 13)
    ),
    r"torch-2\.6\..*/(sharded_tensor_object|torch_memory_formats)\..*": OtherBytes(_NESTED, _PYTHON < (3, 13)),
    r"torch-(1\.13|2\.1|2\.13|2\.15)\..*/sharded_tensor_object\..*": OtherBytes(_NESTED, _PYTHON >= (3, 13)),
    r"torch-2\.1\..*/sched_onecycle\..*": OtherBytes(_NESTED, _PYTHON >= (3, 13)),
    r"torch-(1\.1\d|2)\..*/(module_with_globals|py_function_reference)\..*": OtherBytes(_NESTED, _PYTHON >= (3, 13)),
}
"""Zip files that are not saved to the bytes, or the pickle, that they were loaded from."""

NEEDS_LATIN1 = re.compile(
    r"torch-.*-py2\.7/(np_(big_endian|complex128|complex64|datetime64|float16|float32_fortran|large_2000|longdouble"
    r"|mixed_dict|random_state|scalar_float64|scalars|uint64|unicode)"
    r"|py_(bytes|datetime|py2_bytes_str)|training_checkpoint_numpy)\..*"
)
"""Files of Python 2 with strings that are no UTF-8: those of bytes, and arrays and times, saved as strings."""


def other_bytes(file: CorpusFile) -> OtherBytes | None:
    """Why a file is saved to other bytes, if it is on the list."""
    entries = (entry for pattern, entry in OTHER_BYTES.items() if re.fullmatch(pattern, str(file)) and entry.here)
    return next(entries, None)


def find(table: Mapping[str, object], file: CorpusFile) -> str | None:
    """The pattern of a table that a file matches."""
    return next((pattern for pattern in table if re.fullmatch(pattern, str(file))), None)

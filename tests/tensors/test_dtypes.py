"""The table of element types."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from ptfile.errors import TensorError, UnsupportedError
from ptfile.tensors import dtypes
from ptfile.tensors.dtypes import BY_NAME, BY_STORAGE_CLASS, DType, from_numpy_dtype

ALL = list(BY_NAME.values())
WITH_NUMPY = [dtype for dtype in ALL if dtype.numpy_name is not None]


def test_every_row_is_found_by_the_name_it_has_in_the_module() -> None:
    """`dtypes.int64` and `BY_NAME["int64"]` are one object."""
    assert len(ALL) == 46 + 1  # those of torch 2.13, and bcomplex32
    for name, dtype in BY_NAME.items():
        assert getattr(dtypes, name) is dtype
        assert dtype.name == name


def test_storage_classes_are_those_of_pytorch() -> None:
    """The classes of `_dtype_to_storage_type_map` in torch 2.13, each with its element size."""
    assert {name: (dtype.name, dtype.itemsize) for name, dtype in BY_STORAGE_CLASS.items()} == {
        "DoubleStorage": ("float64", 8),
        "FloatStorage": ("float32", 4),
        "HalfStorage": ("float16", 2),
        "LongStorage": ("int64", 8),
        "IntStorage": ("int32", 4),
        "ShortStorage": ("int16", 2),
        "CharStorage": ("int8", 1),
        "ByteStorage": ("uint8", 1),
        "BoolStorage": ("bool", 1),
        "BFloat16Storage": ("bfloat16", 2),
        "ComplexDoubleStorage": ("complex128", 16),
        "ComplexFloatStorage": ("complex64", 8),
        "QUInt8Storage": ("quint8", 1),
        "QInt8Storage": ("qint8", 1),
        "QInt32Storage": ("qint32", 4),
        "QUInt4x2Storage": ("quint4x2", 1),
        "QUInt2x4Storage": ("quint2x4", 1),
    }


def test_lookups_are_read_only() -> None:
    """Nobody can register a dtype."""
    with pytest.raises(TypeError):
        BY_NAME["new"] = dtypes.int8  # type: ignore[index]


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_text_names_the_public_object(dtype: DType) -> None:
    """`str` and `repr` read as code that gives the dtype."""
    assert str(dtype) == repr(dtype) == f"ptfile.{dtype.name}"


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_copies_and_pickles_are_the_same_object(dtype: DType) -> None:
    """A dtype can be compared with `is`, wherever it has been."""
    assert copy.copy(dtype) is dtype
    assert copy.deepcopy([dtype])[0] is dtype
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(dtype, protocol)) is dtype


@pytest.mark.parametrize("dtype", WITH_NUMPY, ids=str)
def test_numpy_type_has_the_same_size_and_leads_back(dtype: DType) -> None:
    """The table is its own inverse where numpy has the type."""
    assert dtype.numpy.itemsize == dtype.itemsize
    assert from_numpy_dtype(dtype.numpy) is dtype


@pytest.mark.parametrize("dtype", [dtype for dtype in ALL if dtype.numpy_name is None], ids=str)
def test_dtype_without_numpy_type_says_what_to_do(dtype: DType) -> None:
    """The error names a way to the bytes."""
    with pytest.raises(UnsupportedError, match=r"view\(ptfile.uint8\)"):
        _ = dtype.numpy


def test_kinds_follow_numpy() -> None:
    """Floating point and complex are what numpy says they are."""
    for dtype in WITH_NUMPY:
        is_extra = dtype.numpy_name is not None and dtype.numpy_name.startswith("ml_dtypes.")
        assert dtype.is_floating_point == (dtype.numpy.kind == "f" or is_extra)
        assert dtype.is_complex == (dtype.numpy.kind == "c")


def test_foreign_byte_order_is_refused_with_a_fix() -> None:
    """Bytes are never taken for what they are not."""
    with pytest.raises(TensorError, match="newbyteorder"):
        from_numpy_dtype(np.dtype(np.int32).newbyteorder())


@pytest.mark.parametrize("dtype", ["U3", "V2", "O", "M8[s]", "i4,f4", ml_dtypes.int4])
def test_numpy_types_no_tensor_has_are_refused(dtype: object) -> None:
    """ml_dtypes' int4 too: PyTorch's is another thing of the same name."""
    with pytest.raises(TensorError, match="no tensor can hold"):
        from_numpy_dtype(np.dtype(dtype))  # type: ignore[call-overload]


def test_ml_dtypes_is_imported_only_when_needed() -> None:
    """The table costs no import of ml_dtypes, and neither do numpy's own types."""
    code = (
        "import sys; from ptfile.tensors import dtypes; dtypes.from_numpy_dtype(dtypes.int64.numpy);"
        "assert 'ml_dtypes' not in sys.modules; dtypes.bfloat16.numpy; assert 'ml_dtypes' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

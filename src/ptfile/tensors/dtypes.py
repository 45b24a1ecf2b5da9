"""The one table of element types: PyTorch's dtypes with their size, storage class and numpy type.

Every other place that needs a fact about a dtype asks a row of this table. The rows are the module's own names
(`dtypes.int64`); `BY_NAME` and `BY_STORAGE_CLASS` find a row by what a file says.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ptfile._lazy import np
from ptfile.errors import TensorError, UnsupportedError

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, eq=False, repr=False)
class DType:
    """What the elements of a tensor are. There is one object per dtype; compare with `is` or `==`.

    >>> import ptfile
    >>> ptfile.bfloat16
    ptfile.bfloat16
    >>> ptfile.bfloat16.itemsize
    2
    """

    name: str
    """The name it has in PyTorch, without `torch.`."""
    itemsize: int
    """Bytes of one element."""
    storage_class: str | None
    """The class in `torch` that names it in a pickle (`_dtype_to_storage_type_map` in torch/storage.py); None for the
    newer dtypes, which are saved over `UntypedStorage` by `_rebuild_tensor_v3`."""
    numpy_name: str | None
    """numpy's name for it, `ml_dtypes.` and a name there, or None: nothing but raw bytes."""
    is_floating_point: builtins.bool = False
    is_complex: builtins.bool = False
    is_quantized: builtins.bool = False
    """The values are integers that mean nothing without the scales beside them."""
    can_be_saved: builtins.bool = True
    """Whether PyTorch has a way to write a tensor of it."""

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The same element type in numpy. Raises UnsupportedError where numpy has none."""
        if self.numpy_name is None:
            raise UnsupportedError(
                f"numpy has no element type for {self}",
                fix="Look at the bytes with `.view(ptfile.uint8)`, or hand the tensor to PyTorch with `.torch()`",
            )
        package, _, name = self.numpy_name.rpartition(".")
        if package:
            import ml_dtypes

            name = getattr(ml_dtypes, name)
        dtype: np.dtype[np.generic] = np.dtype(name)
        return dtype

    def __repr__(self) -> str:
        return f"ptfile.{self.name}"

    def __reduce__(self) -> tuple[Callable[[str], DType], tuple[str]]:
        # Copies and pickles give back this very object.
        return _row, (self.name,)


def _row(name: str) -> DType:
    return BY_NAME[name]


# fmt: off
# name                             bytes  class in torch          in numpy
bool = DType("bool",                   1, "BoolStorage",          "bool")
uint8 = DType("uint8",                 1, "ByteStorage",          "uint8")
int8 = DType("int8",                   1, "CharStorage",          "int8")
int16 = DType("int16",                 2, "ShortStorage",         "int16")
int32 = DType("int32",                 4, "IntStorage",           "int32")
int64 = DType("int64",                 8, "LongStorage",          "int64")
float16 = DType("float16",             2, "HalfStorage",          "float16", is_floating_point=True)
bfloat16 = DType("bfloat16",           2, "BFloat16Storage",      "ml_dtypes.bfloat16", is_floating_point=True)
float32 = DType("float32",             4, "FloatStorage",         "float32", is_floating_point=True)
float64 = DType("float64",             8, "DoubleStorage",        "float64", is_floating_point=True)
complex64 = DType("complex64",         8, "ComplexFloatStorage",  "complex64", is_complex=True)
complex128 = DType("complex128",      16, "ComplexDoubleStorage", "complex128", is_complex=True)

# Quantized: one integer an element, or several packed in a byte; the scales travel with the tensor.
qint8 = DType("qint8",                 1, "QInt8Storage",         None, is_quantized=True)
quint8 = DType("quint8",               1, "QUInt8Storage",        None, is_quantized=True)
qint32 = DType("qint32",               4, "QInt32Storage",        None, is_quantized=True)
quint4x2 = DType("quint4x2",           1, "QUInt4x2Storage",      None, is_quantized=True)
quint2x4 = DType("quint2x4",           1, "QUInt2x4Storage",      None, is_quantized=True)

# Newer than the storage classes.
uint16 = DType("uint16",               2, None, "uint16")
uint32 = DType("uint32",               4, None, "uint32")
uint64 = DType("uint64",               8, None, "uint64")
float8_e4m3fn = DType("float8_e4m3fn",          1, None, "ml_dtypes.float8_e4m3fn", is_floating_point=True)
float8_e4m3fnuz = DType("float8_e4m3fnuz",      1, None, "ml_dtypes.float8_e4m3fnuz", is_floating_point=True)
float8_e5m2 = DType("float8_e5m2",              1, None, "ml_dtypes.float8_e5m2", is_floating_point=True)
float8_e5m2fnuz = DType("float8_e5m2fnuz",      1, None, "ml_dtypes.float8_e5m2fnuz", is_floating_point=True)
float8_e8m0fnu = DType("float8_e8m0fnu",        1, None, "ml_dtypes.float8_e8m0fnu", is_floating_point=True)
float4_e2m1fn_x2 = DType("float4_e2m1fn_x2",    1, None, None, is_floating_point=True)  # two numbers in a byte
complex32 = DType("complex32",         4, None, None, is_complex=True)  # a pair of float16
bcomplex32 = DType("bcomplex32",       4, None, None, is_complex=True)  # a pair of bfloat16, since torch 2.14

# Bits without a meaning of their own.
bits8 = DType("bits8",                 1, None, None)
bits16 = DType("bits16",               2, None, None)
bits1x8 = DType("bits1x8",             1, None, None)
bits2x4 = DType("bits2x4",             1, None, None)
bits4x2 = DType("bits4x2",             1, None, None)

# Shells for subclasses of torch.Tensor: the names exist, PyTorch can neither compute with them nor save them.
int1 = DType("int1",                   1, None, None, can_be_saved=False)
int2 = DType("int2",                   1, None, None, can_be_saved=False)
int3 = DType("int3",                   1, None, None, can_be_saved=False)
int4 = DType("int4",                   1, None, None, can_be_saved=False)
int5 = DType("int5",                   1, None, None, can_be_saved=False)
int6 = DType("int6",                   1, None, None, can_be_saved=False)
int7 = DType("int7",                   1, None, None, can_be_saved=False)
uint1 = DType("uint1",                 1, None, None, can_be_saved=False)
uint2 = DType("uint2",                 1, None, None, can_be_saved=False)
uint3 = DType("uint3",                 1, None, None, can_be_saved=False)
uint4 = DType("uint4",                 1, None, None, can_be_saved=False)
uint5 = DType("uint5",                 1, None, None, can_be_saved=False)
uint6 = DType("uint6",                 1, None, None, can_be_saved=False)
uint7 = DType("uint7",                 1, None, None, can_be_saved=False)
# fmt: on

BY_NAME: Mapping[str, DType] = MappingProxyType(
    {row.name: row for row in list(globals().values()) if isinstance(row, DType)},
)
"""Every row, in the order of the table: "int64" -> int64."""

BY_STORAGE_CLASS: Mapping[str, DType] = MappingProxyType(
    {row.storage_class: row for row in BY_NAME.values() if row.storage_class is not None},
)
"""The rows that have one: "LongStorage" -> int64."""

# numpy and ml_dtypes name their types alike, so that looking one up imports no ml_dtypes.
_BY_NUMPY_NAME: Mapping[str, DType] = MappingProxyType(
    {row.numpy_name.rpartition(".")[2]: row for row in BY_NAME.values() if row.numpy_name is not None},
)


def from_numpy_dtype(dtype: np.dtype[np.generic]) -> DType:
    """The row of a numpy dtype. Raises TensorError if there is none, or for foreign byte order."""
    if not dtype.isnative:
        raise TensorError(
            f"a tensor's elements are in this machine's byte order, and those of {dtype} are not",
            fix="Convert the array first: `a.astype(a.dtype.newbyteorder('='))`",
        )
    row = _BY_NUMPY_NAME.get(dtype.name)
    if row is None or row.numpy != dtype:
        raise TensorError(
            f"no tensor can hold elements of numpy's {dtype}",
            fix=f"Convert the array to one of: {', '.join(_BY_NUMPY_NAME)}",
        )
    return row

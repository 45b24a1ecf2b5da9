"""The .pt file format as a library: what `torch.save` and `torch.load` do, without PyTorch.

>>> import ptfile
>>> x = ptfile.tensor([0, 1, 2, 3, 4])
>>> ptfile.save(x, "tensor.pt")
>>> ptfile.load("tensor.pt")
tensor([0, 1, 2, 3, 4])
"""

from ptfile._checkpoint import Checkpoint, open
from ptfile._convert import convert
from ptfile._diff import Diff, Difference, diff
from ptfile._digest import digest
from ptfile._disassembly import Disassembly, disassemble
from ptfile._edit import edit
from ptfile._extract import Extraction, extract
from ptfile._info import Info, Share, info
from ptfile._inspect import StorageInfo, Summary, TensorInfo, ValueInfo, inspect
from ptfile._load import load
from ptfile._repair import LostTensor, Repair, repair
from ptfile._save import save
from ptfile._save_async import save_async
from ptfile._scan import Scan, scan
from ptfile._verify import Damage, Verification, verify
from ptfile.conversion.report import Conversion
from ptfile.editing.report import Edit
from ptfile.errors import FormatError, LimitError, PtfileError, TensorError, UnsafeError, UnsupportedError
from ptfile.formats.modules import state_dict
from ptfile.formats.scan_report import PickleReport, Problem, Verdict
from ptfile.limits import Limits
from ptfile.machine.disasm import Instruction
from ptfile.machine.inert import InertRecord
from ptfile.machine.recorder import Finding, NameUse
from ptfile.tensors.constants import Device, Layout, MemoryFormat, QScheme, Size
from ptfile.tensors.create import arange, empty, from_numpy, full, ones, tensor, zeros
from ptfile.tensors.dtypes import (
    DType,
    bcomplex32,
    bfloat16,
    bits1x8,
    bits2x4,
    bits4x2,
    bits8,
    bits16,
    bool,
    complex32,
    complex64,
    complex128,
    float4_e2m1fn_x2,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
    float16,
    float32,
    float64,
    int1,
    int2,
    int3,
    int4,
    int5,
    int6,
    int7,
    int8,
    int16,
    int32,
    int64,
    qint8,
    qint32,
    quint2x4,
    quint4x2,
    quint8,
    uint1,
    uint2,
    uint3,
    uint4,
    uint5,
    uint6,
    uint7,
    uint8,
    uint16,
    uint32,
    uint64,
)
from ptfile.tensors.generator import Generator
from ptfile.tensors.nested import JaggedTensor, NestedTensor, WrapperTensor
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.quantized import PerChannel, PerTensor, QuantizedTensor
from ptfile.tensors.sparse import SparseCompressedTensor, SparseTensor
from ptfile.tensors.statistics import Statistics, statistics
from ptfile.tensors.storage import Storage as UntypedStorage
from ptfile.tensors.storage import TypedStorage
from ptfile.tensors.tensor import Tensor

__all__ = [
    "Checkpoint",
    "Conversion",
    "DType",
    "Damage",
    "Device",
    "Diff",
    "Difference",
    "Disassembly",
    "Edit",
    "Extraction",
    "Finding",
    "FormatError",
    "Generator",
    "InertRecord",
    "Info",
    "Instruction",
    "JaggedTensor",
    "Layout",
    "LimitError",
    "Limits",
    "LostTensor",
    "MemoryFormat",
    "NameUse",
    "NestedTensor",
    "Parameter",
    "PerChannel",
    "PerTensor",
    "PickleReport",
    "Problem",
    "PtfileError",
    "QScheme",
    "QuantizedTensor",
    "Repair",
    "Scan",
    "Share",
    "Size",
    "SparseCompressedTensor",
    "SparseTensor",
    "Statistics",
    "StorageInfo",
    "Summary",
    "Tensor",
    "TensorError",
    "TensorInfo",
    "TypedStorage",
    "UnsafeError",
    "UnsupportedError",
    "UntypedStorage",
    "ValueInfo",
    "Verdict",
    "Verification",
    "WrapperTensor",
    "arange",
    "bcomplex32",
    "bfloat16",
    "bits1x8",
    "bits2x4",
    "bits4x2",
    "bits8",
    "bits16",
    "bool",
    "complex32",
    "complex64",
    "complex128",
    "convert",
    "diff",
    "digest",
    "disassemble",
    "edit",
    "empty",
    "extract",
    "float4_e2m1fn_x2",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float16",
    "float32",
    "float64",
    "from_numpy",
    "full",
    "info",
    "inspect",
    "int1",
    "int2",
    "int3",
    "int4",
    "int5",
    "int6",
    "int7",
    "int8",
    "int16",
    "int32",
    "int64",
    "load",
    "ones",
    "open",
    "qint8",
    "qint32",
    "quint2x4",
    "quint4x2",
    "quint8",
    "repair",
    "save",
    "save_async",
    "scan",
    "state_dict",
    "statistics",
    "tensor",
    "uint1",
    "uint2",
    "uint3",
    "uint4",
    "uint5",
    "uint6",
    "uint7",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "verify",
    "zeros",
]

"""The .pt file format as a library: what `torch.save` and `torch.load` do, without PyTorch.

>>> import ptfile
>>> x = ptfile.tensor([0, 1, 2, 3, 4])
>>> ptfile.save(x, "tensor.pt")
>>> ptfile.load("tensor.pt")
tensor([0, 1, 2, 3, 4])
"""

_NAMES = {
    "_checkpoint": "Checkpoint open",
    "_convert": "convert",
    "_diff": "Diff Difference diff",
    "_digest": "digest",
    "_disassembly": "Disassembly disassemble",
    "_edit": "edit",
    "_extract": "Extraction extract",
    "_info": "Info Share info",
    "_inspect": "StorageInfo Summary TensorInfo ValueInfo inspect",
    "_load": "load",
    "_repair": "LostTensor Repair repair",
    "_save": "save",
    "_save_async": "save_async",
    "_scan": "Scan scan",
    "_verify": "Damage Verification verify",
    "conversion.report": "Conversion",
    "editing.report": "Edit",
    "errors": "FormatError LimitError PtfileError TensorError UnsafeError UnsupportedError",
    "formats.modules": "state_dict",
    "formats.scan_report": "PickleReport Problem Verdict",
    "limits": "Limits",
    "machine.disasm": "Instruction",
    "machine.inert": "InertRecord",
    "machine.recorder": "Finding NameUse",
    "tensors.constants": "Device Layout MemoryFormat QScheme Size",
    "tensors.create": "arange empty from_numpy full ones tensor zeros",
    "tensors.dtypes": """
        DType bcomplex32 bfloat16 bits1x8 bits2x4 bits4x2 bits8 bits16 bool complex32 complex64
        complex128 float4_e2m1fn_x2 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz
        float8_e8m0fnu float16 float32 float64 int1 int2 int3 int4 int5 int6 int7 int8 int16 int32
        int64 qint8 qint32 quint2x4 quint4x2 quint8 uint1 uint2 uint3 uint4 uint5 uint6 uint7 uint8
        uint16 uint32 uint64
    """,
    "tensors.generator": "Generator",
    "tensors.nested": "JaggedTensor NestedTensor WrapperTensor",
    "tensors.parameter": "Parameter",
    "tensors.quantized": "PerChannel PerTensor QuantizedTensor",
    "tensors.sparse": "SparseCompressedTensor SparseTensor",
    "tensors.statistics": "Statistics statistics",
    "tensors.storage": "TypedStorage UntypedStorage",
    "tensors.tensor": "Tensor",
}
"""What each module gives, all of it public. A module is imported when a name of it is first asked for: who saves a
tensor needs nothing that lists, repairs or converts. `__init__.pyi` says the same to type checkers."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module 'ptfile' has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value: object = getattr(import_module(f"ptfile.{_HOMES[name]}"), name)
    globals()[name] = value  # from now on it is found without this
    return value


def __dir__() -> list[str]:
    return list({*globals(), *__all__})

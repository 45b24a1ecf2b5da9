"""Safetensors files through `open`, `load` and `inspect`: what the library wrote, wherever it is."""

from __future__ import annotations

import io
import json
import struct
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save

import ptfile
import ptfile.numpy
from ptfile.sources import LocalSource

ARRAYS: dict[str, npt.NDArray[Any]] = {
    "model.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "model.bias": np.array([1, -2], np.int64),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), np.uint8),
    "mask": np.array([True, False]),
    "bf16": np.array([1.5], ml_dtypes.bfloat16),
}


def file_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: list[int], stop: int, start: int = 0) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model"  # its bytes say what it is
    path.write_bytes(save(ARRAYS, {"format": "np", "run": "7"}))
    return path


def test_it_opens_as_a_checkpoint_does(path: Path) -> None:
    """The same names and values, nothing read before it is looked at, and the metadata."""
    with ptfile.open(path) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert checkpoint.metadata == {"format": "np", "run": "7"}
        assert not any(tensor.untyped_storage().is_loaded for tensor in checkpoint.values())
        assert {name: (t.shape, t.tolist()) for name, t in checkpoint.items()} == {
            name: (array.shape, array.astype(float).tolist() if name == "bf16" else array.tolist())
            for name, array in ARRAYS.items()
        }
        assert dict(checkpoint.stream()).keys() == ARRAYS.keys()
    assert {info.name: info.dtype for info in ptfile.inspect(path).tensors}["bf16"] == "bfloat16"


class Pipe:
    """A stream that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


@pytest.mark.parametrize(
    "of", [lambda path: path, lambda path: io.BytesIO(path.read_bytes()), lambda path: Pipe(path.read_bytes())]
)
def test_it_loads_from_wherever_it_is(path: Path, of: Any) -> None:
    """A path, memory, a pipe; devices are mapped."""
    loaded = ptfile.load(of(path), "cuda:0")

    assert list(loaded) == list(ptfile.open(path))
    assert loaded["model.weight"].tolist() == ARRAYS["model.weight"].tolist()
    assert loaded["model.weight"].device == "cuda:0"


def test_it_is_mapped(path: Path) -> None:
    """Into memory that can be written, and the file stays as it is."""
    before = path.read_bytes()
    loaded = ptfile.load(path, mmap=True)
    loaded["model.weight"][0, 0] = 9

    assert loaded["model.weight"].tolist()[0] == [9, 1, 2]
    assert path.read_bytes() == before


def test_arrays_come_from_it_by_name(path: Path) -> None:
    """`ptfile.numpy.load_file` is what the library's own does."""
    loaded = ptfile.numpy.load_file(path)

    assert all(np.array_equal(loaded[name], array) for name, array in ARRAYS.items())
    assert loaded["bf16"].dtype == ml_dtypes.bfloat16


def test_a_slice_reads_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of any other file."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"w": np.arange(1 << 18, dtype=np.int32).reshape(-1, 1024)}))
    read: list[int] = []
    fill = LocalSource._fill

    def counted(self: LocalSource, offset: int, target: memoryview) -> None:
        read.append(target.nbytes)
        fill(self, offset, target)

    with ptfile.open(path) as checkpoint:
        monkeypatch.setattr(LocalSource, "_fill", counted)
        assert checkpoint["w"][100:120].numpy()[0, 0] == 100 * 1024
    assert read == [20 * 4096]


CODES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}


@pytest.mark.parametrize("code", CODES)
def test_every_type_of_element_is_pytorchs(code: str) -> None:
    """By PyTorch's name, and its bytes as they are."""
    dtype = getattr(ptfile, CODES[code])
    data = bytes(i % 2 for i in range(2 * dtype.itemsize))
    loaded = ptfile.load(io.BytesIO(file_of({"x": entry(code, [2], len(data))}, data)))["x"]

    assert (loaded.dtype, loaded.shape) == (dtype, (2,))
    assert loaded.untyped_storage().tobytes() == data


def test_half_bytes_are_counted_as_pytorch_does() -> None:
    """Two numbers are an element of `float4_e2m1fn_x2`."""
    loaded = ptfile.load(io.BytesIO(file_of({"x": entry("F4", [3, 4], 6)}, b"abcdef")))["x"]

    assert (loaded.dtype, loaded.shape) == (ptfile.float4_e2m1fn_x2, (3, 2))


SOUND = {"a": entry("U8", [8], 8)}


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (file_of(SOUND, bytes(7)), ptfile.FormatError, "not fully covered|no sound safetensors"),
        (file_of(SOUND, bytes(9)), ptfile.FormatError, "no sound safetensors"),
        (file_of({**SOUND, "b": entry("U8", [8], 17, 9)}, bytes(17)), ptfile.FormatError, "no sound safetensors"),
        (file_of({**SOUND, "b": entry("U8", [8], 12, 4)}, bytes(12)), ptfile.FormatError, "no sound safetensors"),
        (file_of({"a": entry("U8", [1 << 62, 8], 8)}, bytes(8)), ptfile.FormatError, "overflow"),
        (file_of({"a": entry("U8", [-8], 8)}, bytes(8)), ptfile.FormatError, "no sound safetensors"),
        (file_of({"__metadata__": {"x": 1}}), ptfile.FormatError, "no sound safetensors"),
        (file_of(b'{"a":'), ptfile.FormatError, "no sound safetensors"),
        (file_of({"a": entry("F6_E2M3", [4], 3)}, bytes(3)), ptfile.UnsupportedError, "a: elements of type F6_E2M3"),
        (file_of({"a": entry("F4", [4, 1], 2)}, bytes(2)), ptfile.UnsupportedError, "middle of a byte"),
        (file_of({"a": entry("U8", [1] * 70, 1)}, bytes(1)), ptfile.TensorError, "at most 64 dimensions"),
    ],
)
def test_what_is_not_sound_is_refused(data: bytes, error: type[Exception], match: str) -> None:
    """The library looks at the header; what it lets through and no tensor can be is an error too."""
    with pytest.raises(error, match=match):
        ptfile.open(io.BytesIO(data))


def test_a_header_may_not_be_larger_than_a_pickle() -> None:
    """It is as much to take apart."""
    with pytest.raises(ptfile.LimitError, match="header is too large"):
        ptfile.load(io.BytesIO(save(ARRAYS)), limits=ptfile.Limits(pickle_size=100))


def test_a_file_that_is_cut_says_so(path: Path) -> None:
    """At any byte behind its length."""
    data = path.read_bytes()
    for length in (9, 100, len(data) - 1):
        with pytest.raises(ptfile.FormatError):
            ptfile.load(io.BytesIO(data[:length]))


def test_without_the_library_it_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the file's name."""
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ptfile.UnsupportedError, match=r"model: .*pip install 'ptfile\[safetensors\]'"):
        ptfile.open(path)


def test_the_library_is_asked_without_a_file_system_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no memory file it goes by a temporary one."""
    monkeypatch.delattr("os.memfd_create", raising=False)

    assert ptfile.load(path)["scalar"].item() == 2.5


def test_what_goes_for_checkpoints_goes_for_it(path: Path) -> None:
    """It has the digest of what it says, however that is saved, and can be verified but for checksums."""
    again = io.BytesIO()
    ptfile.save(ptfile.load(path), again)
    again.seek(0)

    assert ptfile.digest(path) == ptfile.digest(again)
    result = ptfile.verify(path)
    assert (result.ok, result.format) == (True, "safetensors")
    assert "no checksums" in result.unchecked[0]
    with pytest.raises(ptfile.UnsupportedError, match="a safetensors file: that has no checksums"):
        ptfile.repair(path, path.with_name("out.pt"))


def test_a_name_that_stands_twice_in_a_header_is_an_error(tmp_path: Path) -> None:
    """The library takes the last of them, other readers the first."""
    header = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}'
    )
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ptfile.FormatError, match="twice"):
        ptfile.open(path)

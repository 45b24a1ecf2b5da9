"""ptfile as its users write it. Not run: mypy checks that the types of the public face are what they read like."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import ptfile
import ptfile.jax
import ptfile.numpy


class Pipe:
    """All that `save` needs of a file."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        return len(data)

    def flush(self) -> None: ...


def save_anywhere(value: object, name: str, path: Path, entry: os.DirEntry[str]) -> None:
    ptfile.save(value, name)
    ptfile.save(value, path)
    ptfile.save(value, entry)
    ptfile.save(value, io.BytesIO())
    ptfile.save(value, Pipe())
    ptfile.save(value, name, pickle, 4)
    ptfile.save(value, name, pickle_module=pickle, pickle_protocol=2, _use_new_zipfile_serialization=True)
    ptfile.save(value, name, storages="reachable", fsync=True)
    with path.open("wb") as file:
        ptfile.save(value, file)
    assert_type(ptfile.digest(path, progress=lambda done, total: print(done / total)), str)
    ptfile.save(value, "s3://bucket/model.pt", storage_options={"region": "us-east-1"})
    saving = ptfile.save_async(
        value, path, fsync=True, memory=1 << 30, progress=lambda done, total: print(done / total)
    )
    assert_type(saving, Future[None])


def load_anything(path: Path) -> None:
    assert_type(ptfile.load(path), Any)
    ptfile.load(path, "cpu")
    ptfile.load(path, {"cuda:0": "cpu"})
    ptfile.load(path, lambda storage, _: storage)
    ptfile.load(path, map_location=None, weights_only=True, mmap=True)
    ptfile.load(path, limits=ptfile.Limits(depth=10))
    ptfile.load("https://host/model.pt", storage_options={"client_options": {"timeout": "5 minutes"}})
    with path.open("rb") as file:
        ptfile.load(file)


def make_tensors(array: npt.NDArray[np.float32]) -> OrderedDict[str, ptfile.Tensor]:
    x = ptfile.tensor([[1.0, 2.0], [3.0, 4.5]], dtype=ptfile.bfloat16, requires_grad=True)
    assert_type(x, ptfile.Tensor)
    assert_type(ptfile.from_numpy(array), ptfile.Tensor)
    return OrderedDict(
        weight=x, bias=ptfile.zeros(2, 3), steps=ptfile.arange(1, 10), mask=ptfile.ones((2, 3), dtype=ptfile.bool)
    )


def look_at(x: ptfile.Tensor) -> None:
    assert_type(x.shape, tuple[int, ...])
    assert_type(x.size(), tuple[int, ...])
    assert_type(x.size(0), int)
    assert_type(x.stride(), tuple[int, ...])
    assert_type(x.dtype, ptfile.DType)
    assert_type(x.device, str)
    assert_type(x.requires_grad, bool)
    assert_type(x.numel(), int)
    assert_type(x.untyped_storage(), ptfile.UntypedStorage)
    assert_type(x.numpy(), npt.NDArray[Any])
    assert_type(x[1:, ::2], ptfile.Tensor)
    assert_type(x.T.reshape(-1).clone(), ptfile.Tensor)
    assert_type([row.tolist() for row in x], list[Any])


def open_and_look(path: Path) -> None:
    with ptfile.open(path) as checkpoint:
        assert_type(checkpoint, ptfile.Checkpoint)
        assert_type(checkpoint["weight"], Any)
        assert_type(list(checkpoint), list[str])
        assert_type(checkpoint.format, str)
        assert_type(checkpoint.metadata["version"], str)
        assert_type(checkpoint.summary, ptfile.Summary)
        for name, tensor in checkpoint.stream():
            print(name, tensor.numpy())
        checkpoint.read()


def arrays(path: Path, array: npt.NDArray[np.float32]) -> None:
    assert_type(ptfile.numpy.save({"w": array}), bytes)
    assert_type(ptfile.numpy.save({"w": array}, path, storage_alignment=4096), None)
    assert_type(ptfile.numpy.load(path, mmap=True), Any)
    assert_type(ptfile.numpy.load_file(path), dict[str, npt.NDArray[Any]])
    ptfile.numpy.save_file({"w": array}, path)
    ptfile.jax.save(ptfile.jax.load(b"...", narrow=True), path)
    ptfile.jax.save_file(ptfile.jax.load_file(path), path)


def scan(path: Path) -> list[str]:
    report = ptfile.scan(path, limits=ptfile.Limits(pickle_size=1 << 20), progress=print)
    assert_type(report, ptfile.Scan)
    assert_type(report.verdict, ptfile.Verdict | None)
    assert_type(report.pickles, tuple[ptfile.PickleReport, ...])
    assert_type(report.problems, tuple[ptfile.Problem, ...])
    return [f"{finding.call} at {finding.offset}" for finding in report.findings]


def describe(path: Path) -> str:
    about = ptfile.info(path)
    assert_type(about, ptfile.Info)
    assert_type(about.summary, ptfile.Summary)
    assert_type(about.by_prefix(5), tuple[ptfile.Share, ...])
    return f"{about.writer}: {about.waste} bytes of waste"


def compare(path: Path) -> list[str]:
    found = ptfile.diff(path, "other.pt", rtol=1e-5, atol=1e-8, equal_nan=False)
    assert_type(found, ptfile.Diff)
    assert_type(found.same, bool)
    assert_type(found.differences, tuple[ptfile.Difference, ...])
    return [f"{one.name}: {one.kind}, {one.max_abs}" for one in found.differences]


def disassemble(path: Path) -> list[str]:
    lines = []
    for one in ptfile.disassemble(path, "data.pkl", at=0):
        assert_type(one, ptfile.Disassembly)
        for line in one:
            assert_type(line, ptfile.Instruction)
            lines.append(f"{one.record}, byte {line.position}: {line.opcode} {line.argument} {line.warning}")
    return lines


def measure(x: ptfile.Tensor) -> tuple[float | None, tuple[int, ...]]:
    found = ptfile.statistics(x, bins=20, progress=lambda done, total: print(done, total))
    assert_type(found, ptfile.Statistics)
    assert_type(found.max, int | float | None)
    return found.mean, found.histogram


def tell(path: str) -> str:
    try:
        ptfile.load(path)
    except ptfile.UnsafeError as error:
        return error.name
    except ptfile.LimitError as error:
        return f"{error.limit}: {error.actual} > {error.allowed}"
    except ptfile.PtfileError as error:
        return f"{error.file}, {error.record}, {error.offset}: {error.problem}. {error.fix}"
    return ""


def rescue(path: Path) -> list[str]:
    result = ptfile.verify(path, progress=lambda done, total: print(done / total))
    assert_type(result, ptfile.Verification)
    assert_type(result.ok, bool)
    assert_type(result.damage, tuple[ptfile.Damage, ...])
    report = ptfile.repair(path, path.with_name("out.pt"), progress=lambda done, total: print(done / total))
    ptfile.repair("s3://bucket/broken.pt", path, storage_options={"region": "us-east-1"})
    assert_type(report, ptfile.Repair)
    assert_type(report.lost, tuple[ptfile.LostTensor, ...])
    return [f"{tensor.name}: {tensor.problem}" for tensor in report.lost]


def take_apart(path: Path) -> tuple[str, ...]:
    report = ptfile.convert(path, path.with_suffix(".safetensors"), progress=lambda done, total: print(done / total))
    assert_type(report, ptfile.Conversion)
    assert_type(report.left_out, tuple[str, ...])
    ptfile.convert(path, "x", to="npz", leave_out=True, verify=False)
    edited = ptfile.edit(path, path, root="model", drop=["*.bias"], rename={r"^module\.": ""}, cast=ptfile.bfloat16)
    assert_type(edited, ptfile.Edit)
    ptfile.edit([path, "other.pt"], "both.pt", keep=["a.*"], cast={"a.*": "float16", "b": ptfile.float32})
    unverified = ptfile.edit(path, "b.pt", verify=False, progress=lambda done, total: print(done / total))
    assert_type(unverified.verified, bool)
    extracted = ptfile.extract(path, "weight", io.BytesIO(), dtype="float32", progress=print)
    assert_type(extracted, ptfile.Extraction)
    assert_type(extracted.shape, tuple[int, ...])
    return report.left_out + edited.dropped

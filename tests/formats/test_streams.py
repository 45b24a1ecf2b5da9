"""Checkpoints from streams that cannot seek: what they give, and that they are checked as files are."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.formats.zip_saving import ZipOptions, ZipSave
from ptfile.sinks import FileSink
from ptfile.tensors.storage import Storage
from tests.formats.tar_file import checkpoint
from tests.formats.zip_file import GOLDEN, zip_of


class Pipe:
    """A stream that cannot seek, and gives as little at a time as it likes."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, self._most) if size >= 0 else size)


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    return buffer.getvalue()


TREE = {"w": ptfile.arange(1000), "b": ptfile.ones(3, dtype=ptfile.bfloat16), "text": "x" * 100}
SMALL = saved({"w": ptfile.arange(5)})


@pytest.mark.parametrize("most", [7, 1 << 30])
def test_a_checkpoint_comes_through_a_stream(most: int) -> None:
    """In whatever pieces it arrives; its tensors can be written, and share storages as in the file."""
    tree = {**TREE, "tied": TREE["w"][3:]}  # type: ignore[index]
    loaded = ptfile.load(Pipe(saved(tree), most))  # type: ignore[arg-type]
    loaded["tied"][0] = -1

    assert loaded["w"][:5].tolist() == [0, 1, 2, -1, 4]
    assert loaded["b"].tolist() == [1, 1, 1]
    assert loaded["text"] == tree["text"]


def test_a_checkpoint_comes_through_a_real_pipe() -> None:
    """While someone writes it at the other end."""
    read_end, write_end = os.pipe()

    def send() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            ptfile.save(TREE, pipe)

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(read_end, "rb") as pipe:
        assert ptfile.load(pipe)["w"].tolist() == list(range(1000))
    sender.join()


def deflated() -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved(TREE))) as file:
        return zip_of({name.partition("/")[2]: file.read(name) for name in file.namelist()}, deflated=True).getvalue()


@pytest.mark.parametrize(
    "data",
    [checkpoint(), deflated(), *(path.read_bytes() for path in sorted(GOLDEN.iterdir()))],
    ids=["tar", "deflated", *(path.name for path in sorted(GOLDEN.iterdir()))],
)
def test_other_formats_come_through_a_stream(data: bytes) -> None:
    """They are what they are in a file."""
    assert outcome(Pipe(data)) == outcome(io.BytesIO(data))
    assert type(outcome(Pipe(data))) is str


@pytest.mark.parametrize("length", [*range(1, 80), *range(80, len(SMALL), 41)])
def test_a_stream_that_ends_early_is_the_error_of_a_cut_file(length: int) -> None:
    """With how much is missing, where that can be known."""
    with pytest.raises(ptfile.FormatError) as of_file:
        ptfile.load(io.BytesIO(SMALL[:length]))
    with pytest.raises(ptfile.FormatError) as of_stream:
        ptfile.load(Pipe(SMALL[:length]))  # type: ignore[arg-type]

    assert of_stream.value.problem == of_file.value.problem


def test_every_damaged_bit_is_what_it_is_in_a_file() -> None:
    """The same value or the same error: nothing is taken on trust because it comes first.

    Of a stream that does not begin as a checkpoint no more is read, so what follows is unknown: its test is below.
    """
    for place in range(len(b"PK\3\4"), len(SMALL), 3):
        data = bytearray(SMALL)
        data[place] ^= 1 << place % 8
        assert outcome(Pipe(bytes(data))) == outcome(io.BytesIO(data)), place


def outcome(f: Any) -> object:
    try:
        return repr(ptfile.load(f, unknown="inert"))
    except ptfile.PtfileError as error:
        return type(error), error.problem, error.record


@pytest.mark.parametrize("data", [b"", b"<!doctype html>", b"x" * 1000, bytes(1000), b'{"a": 1}'])
def test_what_is_no_checkpoint_is_refused_by_its_head(data: bytes) -> None:
    """Before the rest of it arrives."""
    stream = Pipe(data + b"rest" * 1000) if data else Pipe(b"")
    with pytest.raises(ptfile.FormatError, match="no checkpoint"):
        ptfile.load(stream)  # type: ignore[arg-type]

    assert stream.read() == (data + b"rest" * 1000)[512:] if data else True


LOAD = """
import sys, ptfile

def memory(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(what)) // 1024

before = memory("VmRSS")
tree = ptfile.load(sys.stdin.buffer)
print(sum(tensor.nbytes for tensor in tree.values()) >> 20, memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it asks Linux for the most memory that a process had")
def test_a_large_checkpoint_takes_its_own_size_of_memory(tmp_path: Path) -> None:
    """A quarter of a gigabyte through a pipe, and no second copy of it."""
    path = tmp_path / "large.pt"
    count, mib = 32, 8
    storages = [Storage.deferred(mib << 20, None) for _ in range(count)]
    tree = {f"t{i}": ptfile.Tensor(storage, ptfile.uint8, 0, (mib << 20,), (1,)) for i, storage in enumerate(storages)}
    with FileSink(str(path)) as sink:  # the bytes are holes in the file
        ZipSave(tree, "large", options=ZipOptions(checksum=False, contents=False)).write(sink)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        result = subprocess.run(
            [sys.executable, "-c", LOAD], stdin=cat.stdout, capture_output=True, encoding="utf-8", check=True
        )
    payload, taken = map(int, result.stdout.split())

    assert payload == count * mib
    assert taken < payload + 64

"""What a file is, by its bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile.containers.sniff import HEAD_SIZE, LEGACY_MAGIC, Kind, sniff

GOLDEN = Path(__file__).parent.parent / "golden" / "zip"


def kind(content: bytes) -> Kind:
    return sniff(content[:HEAD_SIZE], len(content))


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def tar(format_: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format_) as archive:
        info = tarfile.TarInfo("storages")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    return file.getvalue()


def old_tar() -> bytes:
    """Without the magic: the header of seventh-edition Unix."""
    header = bytearray(tar(tarfile.USTAR_FORMAT)[:512])
    header[257:] = bytes(255)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(512)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.p*")), ids=lambda path: path.name)
def test_what_pytorch_zips_is_a_zip(path: Path) -> None:
    """Checkpoints, TorchScript, packages and exported programs."""
    assert kind(path.read_bytes()) is Kind.ZIP


def test_an_empty_zip_is_a_zip() -> None:
    """It is an end record alone."""
    assert kind(b"PK\5\6" + bytes(18)) is Kind.ZIP


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_magic_number_in_any_protocol_is_a_legacy_file(protocol: int) -> None:
    """`torch.save` takes a protocol."""
    assert kind(pickle.dumps(LEGACY_MAGIC, protocol) + pickle.dumps(1001, protocol)) is Kind.LEGACY


def test_python_2s_magic_number_is_a_legacy_file() -> None:
    """Its pickler wrote the number without a PROTO in protocols 0 and 1."""
    assert kind(b"L119547037146038801333356L\n.") is Kind.LEGACY


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_another_number_is_no_legacy_file(protocol: int) -> None:
    """A pickle of any other number is not taken for one."""
    assert kind(pickle.dumps(LEGACY_MAGIC + 1, protocol)) is not Kind.LEGACY


@pytest.mark.parametrize(
    "content", [tar(tarfile.USTAR_FORMAT), tar(tarfile.GNU_FORMAT), tar(tarfile.PAX_FORMAT), old_tar()]
)
def test_any_tar_is_a_tar(content: bytes) -> None:
    """With the magic of POSIX or GNU, or with a right sum alone."""
    assert kind(content) is Kind.TAR


def test_a_tar_with_a_wrong_sum_is_none() -> None:
    """A text that happens to be 512 bytes long is no tar."""
    assert kind(b"x" + old_tar()[1:]) is not Kind.TAR


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", Kind.EMPTY),
        (bytes(1000), Kind.ZEROS),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", Kind.LFS_POINTER),
        (b"\n<!DOCTYPE html><html>", Kind.HTML),
        (b"\xef\xbb\xbf<HTML>", Kind.HTML),
        (b'<?xml version="1.0"?><Error>', Kind.XML),
        (b'{"weight_map": {}}', Kind.JSON),
        (struct.pack("<Q", 16) + b'{"__metadata__":{}}', Kind.SAFETENSORS),
        (b"GGUF\3\0\0\0", Kind.GGUF),
        (b"\x89HDF\r\n\x1a\n", Kind.HDF5),
        (npy(), Kind.NPY),
        (b"\x08\x08\x12\x07pytorch\x1a\x05", Kind.ONNX),
        (b"\x1c\0\0\0TFL3", Kind.TFLITE),
        (gzip.compress(b"abc"), Kind.GZIP),
        (bz2.compress(b"abc"), Kind.BZIP2),
        (bz2.compress(b""), Kind.BZIP2),
        (lzma.compress(b"abc"), Kind.XZ),
        (b"\x28\xb5\x2f\xfd\x04", Kind.ZSTD),
        (b"\x04\x22\x4d\x18", Kind.LZ4),
        (b"7z\xbc\xaf\x27\x1c\0\4", Kind.SEVEN_ZIP),
        (b"Rar!\x1a\x07\0", Kind.RAR),
        (b"\x89PNG\r\n\x1a\n\0\0", Kind.PNG),
        (b"\xff\xd8\xff\xe0", Kind.JPEG),
        (b"%PDF-1.7", Kind.PDF),
        (b"\x7fELF\2\1", Kind.ELF),
        (b"hello, world", Kind.UNKNOWN),
        (b"PK", Kind.UNKNOWN),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_what_is_no_checkpoint_is_called_by_its_name(content: bytes, expected: Kind) -> None:
    """So that the error can say what to do."""
    assert kind(content) is expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [{"a": 1}, [1, "b"], {}, [], Path("a")])
def test_a_bare_pickle_is_called_one(value: object, protocol: int) -> None:
    """Whatever the protocol."""
    assert kind(pickle.dumps(value, protocol)) is Kind.PICKLE


def test_every_kind_says_what_it_looks_like_and_what_to_do() -> None:
    """A checkpoint needs no advice; everything else has some."""
    assert {Kind.ZIP, Kind.LEGACY, Kind.TAR, Kind.SAFETENSORS} == {kind for kind in Kind if not kind.fix}
    assert all(kind.looks for kind in Kind)


@given(st.binary(max_size=600))
def test_any_bytes_are_something(content: bytes) -> None:
    """No input makes it fail."""
    assert isinstance(kind(content), Kind)

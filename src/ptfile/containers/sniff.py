"""What a file is, by its first bytes and never by its name: people rename files, and downloads keep error pages.

One table says how to recognise each kind, what to call it, and what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ptfile.containers import zip_structs as zs

HEAD_SIZE = 512
"""Bytes from the start that `sniff` wants, as far as the file has them: one tar header."""

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""torch/serialization.py, MAGIC_NUMBER: the first of a legacy file's pickles."""

_TAR_CHECKSUM = slice(148, 156)
"""POSIX.1-1988 ustar: where a tar header keeps the sum of its own bytes, in octal."""


@dataclass(frozen=True, slots=True)
class _Look:
    looks: str
    fix: str = ""


_UNPACK = "Unpack it first"
_DOWNLOAD = "Download the checkpoint itself: open the address in a browser to see what it gives"


class Kind(Enum):
    """What a file looks like. `looks` ends the sentence "the file looks like ..."; `fix` says what to do."""

    ZIP = _Look("a zip file")
    LEGACY = _Look("a checkpoint of PyTorch's legacy format")
    TAR = _Look("a tar file")

    EMPTY = _Look("an empty file", "Saving or downloading it went wrong: do that again")
    ZEROS = _Look(
        "zeros: space that was set aside for a file and never written",
        "Copy or download the file again, or fall back to an older checkpoint",
    )
    LFS_POINTER = _Look("a git-lfs pointer: a note of where the file is kept", "Run `git lfs pull` in its repository")
    HTML = _Look("a web page, an error or a login perhaps", _DOWNLOAD)
    XML = _Look("an XML document, the error of an object store perhaps", _DOWNLOAD)
    JSON = _Look("a JSON document", "An index (`*.index.json`) names the checkpoint files beside it: load those")
    SAFETENSORS = _Look("a safetensors file")
    GGUF = _Look("a GGUF file", "Load it with llama.cpp's `gguf` package")
    HDF5 = _Look("an HDF5 file, as Keras writes", "Open it with h5py")
    NPY = _Look("a numpy array file", "Load it with numpy.load")
    ONNX = _Look("an ONNX model", "Load it with the `onnx` package")
    TFLITE = _Look("a TensorFlow Lite model", "Load it with TensorFlow Lite")
    PICKLE = _Look(
        "a pickle that torch.save did not write",
        "If you trust where it comes from, pickle.load reads it; a pickle can run any code",
    )
    GZIP = _Look("a gzip file", _UNPACK + ": gzip -d")
    BZIP2 = _Look("a bzip2 file", _UNPACK + ": bzip2 -d")
    XZ = _Look("an xz file", _UNPACK + ": xz -d")
    ZSTD = _Look("a zstd file", _UNPACK + ": zstd -d")
    LZ4 = _Look("an lz4 file", _UNPACK + ": lz4 -d")
    SEVEN_ZIP = _Look("a 7z archive", _UNPACK + ": 7z x")
    RAR = _Look("a RAR archive", _UNPACK + ": unrar x")
    PNG = _Look("a PNG image", "Give the path of the checkpoint")
    JPEG = _Look("a JPEG image", "Give the path of the checkpoint")
    PDF = _Look("a PDF document", "Give the path of the checkpoint")
    ELF = _Look("a program or a shared library", "Give the path of the checkpoint")
    UNKNOWN = _Look(
        "nothing known: it begins neither as a checkpoint nor as any other common file",
        "Check that it is a checkpoint, whole and not encrypted",
    )

    @property
    def looks(self) -> str:
        return self.value.looks

    @property
    def fix(self) -> str:
        return self.value.fix


_Test: TypeAlias = "Callable[[bytes, int], bool]"
"""Of a file's head, and its size in bytes."""


def _begins(*prefixes: bytes) -> _Test:
    return lambda head, _: head.startswith(prefixes)


def _begins_text(*prefixes: bytes) -> _Test:
    """By the first word, in any case, behind a byte order mark and white space."""
    return lambda head, _: head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(prefixes)


def _matches(pattern: bytes) -> _Test:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda head, _: compiled.match(head) is not None


def _is_tar(head: bytes, _: int) -> bool:
    """Whether the first 512 bytes are a tar header with a right sum, of the ustar kind or the old one without magic."""
    if len(head) < HEAD_SIZE:
        return False
    stated = re.fullmatch(rb" *([0-7]{1,7})[ \0]*", head[_TAR_CHECKSUM])
    blank = head[: _TAR_CHECKSUM.start] + b" " * 8 + head[_TAR_CHECKSUM.stop : HEAD_SIZE]
    return head[0] != 0 and stated is not None and int(stated[1], 8) == sum(blank)


def _is_safetensors(head: bytes, size: int) -> bool:
    """8 bytes with the length of the JSON that follows."""
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8


# PROTO, FRAME, the number as LONG1 or in decimal, STOP: what protocols 0 to 5 make of it, in Python 2 and 3.
_LEGACY_PATTERN = rb"(?:\x80[\x02-\x05])?(?:\x95.{8})?(?:%b|[LI]%dL?\n)\." % (
    re.escape(b"\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little")),
    LEGACY_MAGIC,
)

_TESTS: tuple[tuple[Kind, _Test], ...] = (
    (Kind.EMPTY, lambda _, size: size == 0),
    (Kind.ZIP, _begins(zs.LOCAL_SIGNATURE, zs.END_SIGNATURE, zs.END64_SIGNATURE)),
    (Kind.LEGACY, _matches(_LEGACY_PATTERN)),
    (Kind.TAR, _is_tar),
    (Kind.ZEROS, lambda head, _: not head.strip(b"\0")),
    (Kind.LFS_POINTER, _begins(b"version https://git-lfs", b"version https://hawser")),
    (Kind.HTML, _begins_text(b"<!doctype html", b"<html", b"<head", b"<!--")),
    (Kind.XML, _begins_text(b"<?xml")),
    (Kind.SAFETENSORS, _is_safetensors),
    (Kind.JSON, _begins_text(b'{"', b"{\n", b"{\r", b"{ ", b"[{")),
    (Kind.GGUF, _begins(b"GGUF")),
    (Kind.HDF5, _begins(b"\x89HDF\r\n\x1a\n")),
    (Kind.NPY, _begins(b"\x93NUMPY")),
    (Kind.TFLITE, lambda head, _: head[4:8] == b"TFL3"),
    (Kind.GZIP, _begins(b"\x1f\x8b")),
    (Kind.BZIP2, _matches(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")),
    (Kind.XZ, _begins(b"\xfd7zXZ\0")),
    (Kind.ZSTD, _begins(b"\x28\xb5\x2f\xfd")),
    (Kind.LZ4, _begins(b"\x04\x22\x4d\x18")),
    (Kind.SEVEN_ZIP, _begins(b"7z\xbc\xaf\x27\x1c")),
    (Kind.RAR, _begins(b"Rar!\x1a\x07")),
    (Kind.PNG, _begins(b"\x89PNG\r\n\x1a\n")),
    (Kind.JPEG, _begins(b"\xff\xd8\xff")),
    (Kind.PDF, _begins(b"%PDF-")),
    (Kind.ELF, _begins(b"\x7fELF")),
    # A protobuf: field 1 (ir_version) a small number, then field 2 (producer_name) or 7 (graph).
    (Kind.ONNX, _matches(rb"\x08[\x01-\x1f][\x12\x3a]")),
    # PROTO of any protocol there is, or how protocols 0 and 1 begin a list, a dict, a tuple or an object.
    (Kind.PICKLE, _matches(rb"\x80[\x02-\x05]|\(?[ld]p\d+\n|\((?:[ld]p?|t)|c[A-Za-z_][\w.]*\n\w+\n|[\]}]q")),
)


def sniff(head: bytes, size: int) -> Kind:
    """The kind of a file of `size` bytes; `head` is its first `HEAD_SIZE` bytes, or all if it has fewer."""
    return next((kind for kind, test in _TESTS if test(head, size)), Kind.UNKNOWN)

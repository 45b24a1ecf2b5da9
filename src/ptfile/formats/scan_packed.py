"""Files that are compressed as a whole, opened by the modules that Python has for them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ptfile.containers.sniff import Kind
from ptfile.containers.tar_reader import AsFile
from ptfile.errors import FormatError
from ptfile.sources import Source

OPENERS = {Kind.GZIP: ("gzip", "GzipFile"), Kind.BZIP2: ("bz2", "BZ2File"), Kind.XZ: ("lzma", "LZMAFile")}
"""Python's module for each kind that it can open, which a small build of Python may lack, and the class in it."""
NOT_OPENED = frozenset({Kind.ZSTD, Kind.LZ4, Kind.SEVEN_ZIP, Kind.RAR})


def unpacked(source: Source, kind: Kind, most: int) -> bytes:
    """The content, or its first bytes if it has more than `most`: one more than that.

    Raises FormatError for what is damaged or cannot be opened here.
    """
    module, opener = OPENERS[kind]
    try:
        open_packed: Any = getattr(import_module(module), opener)
        file = AsFile(source)
        packed = open_packed(fileobj=file) if kind is Kind.GZIP else open_packed(file)
        content: bytes = packed.read(most + 1)
    except Exception as error:  # each module has errors of its own
        if isinstance(error, OSError) and error.errno is not None:
            raise
        problem = f"it looks like {kind.looks}, and cannot be unpacked ({error})"
        raise FormatError(problem, fix=kind.fix) from error
    return content

"""Find the format of a file by its bytes, whatever it is called."""

from __future__ import annotations

from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.errors import FormatError, UnsupportedError, located
from ptfile.formats.reader import FormatReader
from ptfile.formats.zip_format import ZipFormatReader
from ptfile.limits import Limits
from ptfile.sources import Source


def open_format(source: Source, limits: Limits) -> FormatReader:
    """The reader for what the bytes are. Raises FormatError for what is no checkpoint, and says what it looks like."""
    kind = sniff(bytes(source.read(0, min(HEAD_SIZE, source.size))), source.size)
    with located(file=source.name):
        if kind is Kind.ZIP:
            return ZipFormatReader(source, limits)
        if kind in (Kind.LEGACY, Kind.TAR):
            problem = f"it looks like {kind.looks}, which ptfile cannot read yet"
            raise UnsupportedError(problem, fix="Load it with PyTorch and save it again")
        raise FormatError(f"it is no checkpoint of PyTorch: it looks like {kind.looks}", fix=kind.fix)

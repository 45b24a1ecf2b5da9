"""Find the format of a file by its bytes, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import FormatError, located
from ptfile.formats import export_format, package_format, torchscript_format
from ptfile.formats.diagnosis import broken_zip, no_checkpoint
from ptfile.formats.legacy_reader import LegacyFormatReader
from ptfile.formats.reader import FormatReader
from ptfile.formats.tar_format import TarFormatReader
from ptfile.formats.zip_format import ZipFormatReader
from ptfile.formats.zip_records import ZipRecords
from ptfile.limits import Limits
from ptfile.sources import MemorySource, Source, StreamSource

_STREAM_HEAD_SIZE = 64
"""Bytes of a stream that are looked at: no legacy checkpoint is as short, so that none behind it loses its start."""
_ZIP_DIALECTS: Mapping[str, Callable[[ZipRecords], FormatReader]] = {
    # What only files of a kind have; the first that is there decides. A package may hold any other record as well.
    ".data/extern_modules": package_format.PackageReader,
    export_format.ARCHIVE_FORMAT: export_format.ExportReader,
    export_format.PROGRAM: export_format.ExportReader,
    "constants.pkl": torchscript_format.TorchScriptReader,
    "model.json": torchscript_format.TorchScriptReader,
    "extern_modules": package_format.PackageReader,
}


def zip_dialect(names: Container[str], root: str) -> str | None:
    """The record that tells what kind of file a zip file is; None for what `torch.save` writes.

    names: of all records; root: the folder that they are in, with its slash, or nothing.

    >>> zip_dialect({"net/data.pkl", "net/constants.pkl"}, "net/")
    'constants.pkl'
    """
    return next((mark for mark in _ZIP_DIALECTS if f"{root}{mark}" in names), None)


def open_format(source: Source, limits: Limits) -> FormatReader:
    """The reader for what the bytes are. Raises FormatError for what is no checkpoint, and says what it looks like."""
    if isinstance(source, StreamSource):
        return _open_stream(source, limits)
    head = bytes(source.read(0, min(HEAD_SIZE, source.size)))
    kind = sniff(head, source.size)
    with located(file=source.name):
        if kind is Kind.ZIP:
            return open_zip_records(ZipRecords(_zip_reader(source, limits), limits))
        if kind is Kind.LEGACY:
            return LegacyFormatReader(source, limits)
        if kind is Kind.TAR:
            return TarFormatReader(source, limits)
        raise no_checkpoint(kind, head, source)


def _zip_reader(source: Source, limits: Limits) -> ZipReader:
    try:
        return ZipReader(source, limits)
    except FormatError as error:
        raise broken_zip(error, source, limits) from error


def open_zip_records(records: ZipRecords) -> FormatReader:
    """The reader for what the records of a zip file are."""
    mark = zip_dialect(records, "")
    dialect = ZipFormatReader if mark is None else _ZIP_DIALECTS[mark]
    return dialect(records)


def _open_stream(source: StreamSource, limits: Limits) -> FormatReader:
    """The reader for a stream that cannot seek. Of all formats, only the legacy one goes from front to back.

    The others have their tables at the end, without which nothing before it can be trusted: their bytes have to arrive
    first. The storages are then where they arrived, so that they take no memory twice.
    """
    head = source.peek(_STREAM_HEAD_SIZE)
    if sniff(head, len(head)) is Kind.LEGACY:
        return LegacyFormatReader(source, limits)
    head = source.peek(HEAD_SIZE)
    kind = sniff(head, source.size if len(head) == HEAD_SIZE else len(head))
    if kind not in (Kind.ZIP, Kind.TAR):
        raise no_checkpoint(kind, head, MemorySource(head, source.name))
    return open_format(MemorySource(source.rest(), source.name), limits)

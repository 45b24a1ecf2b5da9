"""Find the format of a file by its bytes, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import FormatError, located
from ptfile.formats.reader import FormatReader
from ptfile.formats.zip_format import ZipFormatReader
from ptfile.formats.zip_records import ZipRecords
from ptfile.limits import Limits
from ptfile.sources import MemorySource, Source, StreamSource

_STREAM_HEAD_SIZE = 64
"""Bytes of a stream that are looked at: no legacy checkpoint is as short, so that none behind it loses its start."""
EXPORTED_PROGRAM = "serialized_exported_program.json"
"""What every file that torch.export of PyTorch 2.1 to 2.8 wrote has."""
EXPORTED_ARCHIVE = "archive_format"
"""What every such file of 2.9 and later has."""


# Nearly all files are of one format: the readers of the others are imported when one comes.


def _package(records: ZipRecords) -> FormatReader:
    from ptfile.formats.package_format import PackageReader

    return PackageReader(records)


def _exported(records: ZipRecords) -> FormatReader:
    from ptfile.formats.export_format import ExportReader

    return ExportReader(records)


def _torchscript(records: ZipRecords) -> FormatReader:
    from ptfile.formats.torchscript_format import TorchScriptReader

    return TorchScriptReader(records)


_ZIP_DIALECTS: Mapping[str, Callable[[ZipRecords], FormatReader]] = {
    # What only files of a kind have; the first that is there decides. A package may hold any other record as well.
    ".data/extern_modules": _package,
    EXPORTED_ARCHIVE: _exported,
    EXPORTED_PROGRAM: _exported,
    "constants.pkl": _torchscript,
    "model.json": _torchscript,
    "extern_modules": _package,
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
        return _open_other(kind, head, source, limits)


def _open_other(kind: Kind, head: bytes, source: Source, limits: Limits) -> FormatReader:
    """The reader for what is no zip file, of which `head` are the first bytes."""
    if kind is Kind.LEGACY:
        return _legacy(source, limits)
    if kind is Kind.TAR:
        from ptfile.formats.tar_format import TarFormatReader

        return TarFormatReader(source, limits)
    if kind is Kind.SAFETENSORS:
        from ptfile.formats.safetensors_format import SafetensorsReader

        return SafetensorsReader(source, limits)
    raise _no_checkpoint(kind, head, source, limits)


def _no_checkpoint(kind: Kind, head: bytes, source: Source, limits: Limits) -> FormatError:
    from ptfile.formats.diagnosis import no_checkpoint

    return no_checkpoint(kind, head, source, limits)


def _legacy(source: Source | StreamSource, limits: Limits) -> FormatReader:
    from ptfile.formats.legacy_reader import LegacyFormatReader

    return LegacyFormatReader(source, limits)


def _zip_reader(source: Source, limits: Limits) -> ZipReader:
    try:
        return ZipReader(source, limits)
    except FormatError as error:
        from ptfile.formats.diagnosis import broken_zip

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
        return _legacy(source, limits)
    head = source.peek(HEAD_SIZE)
    kind = sniff(head, source.size if len(head) == HEAD_SIZE else len(head))
    if kind not in (Kind.ZIP, Kind.TAR, Kind.SAFETENSORS):
        raise _no_checkpoint(kind, head, MemorySource(head, source.name), limits)
    return open_format(MemorySource(source.rest(), source.name), limits)

"""Any file that can be converted, as an object tree whose tensors have not been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.zip_reader import ZipReader
from ptfile.conversion import npz_format, safetensors_format
from ptfile.conversion.restoring import restore
from ptfile.errors import FormatError, located
from ptfile.formats.opening import open_format, open_zip_records
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.zip_records import ZipRecords, read_json
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources import Source
from ptfile.tensors.storage import Storage


@dataclass(frozen=True, slots=True)
class Opened:
    """What is in a file."""

    format: str
    """`safetensors`, `npz`, or what `ptfile.open` calls the formats of a `.pt`."""
    root: Any
    unkept: tuple[str, ...]
    """What the metadata of a safetensors file has under these names is not in the tree."""
    storages: Sequence[Storage]
    """Those that were made of the file, in its order."""


def read_tree(source: Source, limits: Limits, text: Python2Text) -> Opened:
    """The tree in a file, whichever format it has by its bytes. Raises what `load` raises.

    The source has to stay open for as long as the tensors are to be read.
    """
    with located(file=source.name):
        kind = sniff(bytes(source.read(0, min(HEAD_SIZE, source.size))), source.size)
        reader = _zip_reader(source, limits) if kind is Kind.ZIP else None
        if reader is not None and npz_format.is_npz(reader):
            tensors, note = npz_format.read(reader, limits)
            root = tensors if note is None else restore(note, tensors, limits)
            return Opened(npz_format.NAME, root, (), [tensor.untyped_storage() for tensor in tensors.values()])
        checkpoint = open_format(source, limits) if reader is None else open_zip_records(ZipRecords(reader, limits))
        root = checkpoint.load(SafeRunner(limits, "inert", text), None)
        if kind is not Kind.SAFETENSORS:
            return Opened(checkpoint.format, root, (), checkpoint.storages())
        metadata = checkpoint.about()
        said = metadata.pop(safetensors_format.NOTE, None)
        restored = root if said is None else restore(read_json(said, limits), root, limits)
        unkept = tuple(name for name in metadata if name != "format")
        return Opened(safetensors_format.NAME, restored, unkept, checkpoint.storages())


def _zip_reader(source: Source, limits: Limits) -> ZipReader | None:
    try:
        return ZipReader(source, limits)
    except FormatError:  # whoever opens it as a checkpoint says more about it
        return None

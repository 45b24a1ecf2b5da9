"""The zip format: what `torch.save` writes since PyTorch 1.6.

One pickle, `data.pkl`, and one record for each storage; the rest says how they were written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ptfile.containers.zip_structs import ALIGNMENT
from ptfile.errors import FormatError, UnsupportedError, located
from ptfile.formats.pickles import PickleRunner
from ptfile.formats.proved_tensors import tensors_of
from ptfile.formats.storages import LoadedStorages, MapLocation
from ptfile.formats.stored_bytes import StoredBytes
from ptfile.formats.zip_records import ZipRecords
from ptfile.machine.fast import BuildTensor
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

PICKLE = "data.pkl"
STORAGE_ALIGNMENT = ".storage_alignment"
VERSION = "version"
"""Names of records."""
ARCHIVE_VERSION = b"3\n"  # kProducedFileFormatVersion, caffe2/serialize/versions.h
USUAL_ALIGNMENT = str(ALIGNMENT).encode()
"""What nearly all files say in the last two."""
NEWEST_VERSION = 10
"""kMaxSupportedFileFormatVersion, caffe2/serialize/versions.h; `torch.save` has written 3 since 1.6."""
_LARGEST_ALIGNMENT = 1 << 16


class ZipFormatReader:
    """A zip-format file, open. Its pickle is read by `load`; its storages when someone asks for them."""

    format = "zip"

    def __init__(self, records: ZipRecords) -> None:
        self._records = records
        if not records.has_root or PICKLE not in records:
            problem = "a zip file without data.pkl in a folder around all its records, so no checkpoint of PyTorch"
            raise FormatError(problem, file=records.source.name)
        if not records.says(VERSION, ARCHIVE_VERSION):
            with located(file=records.source.name, record=VERSION):
                _check_version(records.text(VERSION) if VERSION in records else "1")

    def load(self, runner: PickleRunner, map_location: MapLocation) -> Any:
        """The value, with storages that have read nothing yet."""
        says_usual = self._records.says(STORAGE_ALIGNMENT, USUAL_ALIGNMENT)
        if not says_usual and STORAGE_ALIGNMENT in self._records:
            with located(file=self._records.source.name, record=STORAGE_ALIGNMENT):
                _check_alignment(self._records.text(STORAGE_ALIGNMENT))
        storages = LoadedStorages(self._records.storages_in("data/", self._storage), map_location)
        return self.run(runner, storages.load, tensors_of(storages))

    def run(
        self, runner: PickleRunner, load_persistent: Callable[[Any], Any], tensor: BuildTensor | None = None
    ) -> Any:
        """The value, with whatever `load_persistent` makes of the persistent ids of storages, and `tensor` of tensors
        in a pickle that was proved harmless.
        """
        return self._records.pickle(PICKLE, runner, load_persistent, tensor=tensor)

    @property
    def pickle_end(self) -> int:
        """Where the pickle ends, from the start of the file."""
        return self._records.end_of(PICKLE)

    def stored(self, key: str, nbytes: int, dtype: DType | None) -> StoredBytes:
        """The bytes of a storage. Raises FormatError or TensorError if the file has not just these."""
        return self._records.stored(self._name(key), nbytes, dtype)

    def storages(self) -> Sequence[Storage]:
        """The storages that the value asked for, in the order in which they stand in the file."""
        return self._records.storages()

    def announce(self) -> None:
        """Say to a source far away that they are all going to be read, in that order."""
        self._records.announce()

    def fill(self) -> None:
        """Read them all, in that order."""
        self._records.fill()

    def about(self) -> dict[str, str]:
        """What the file says about itself."""
        return self._records.about()

    def _storage(self, key: str, nbytes: int, dtype: DType | None) -> Storage:
        return self._records.storage(self._name(key), nbytes, dtype)

    def _name(self, key: str) -> str:
        name, old = f"data/{key}", f"tensors/{key}"  # the latter in PyTorch 1.4
        return name if name in self._records or old not in self._records else old


def _check_alignment(text: str) -> None:
    """Raise FormatError for an alignment that the padding in a header, of 16 bits, cannot bring about."""
    if not re.fullmatch("0*[1-9][0-9]{0,4}", text[:100]) or int(text) > _LARGEST_ALIGNMENT:
        raise FormatError(f"{text[:20]!r} is no alignment of storages")


def _check_version(text: str) -> None:
    """Raise UnsupportedError for a version of the archive that PyTorch does not know, FormatError for what is none."""
    version = text.strip()
    if not re.fullmatch("0*[1-9][0-9]{0,3}", version[:100]):
        raise FormatError(f"{version[:20]!r} is no version of the archive format")
    if int(version) > NEWEST_VERSION:
        problem = f"it has version {version} of the archive format, and this ptfile knows 1 to {NEWEST_VERSION}"
        raise UnsupportedError(problem, fix="Update ptfile, or save the file with another PyTorch")

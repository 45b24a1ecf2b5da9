"""TorchScript archives: what `torch.jit.save` writes, `.ptl` files of the lite interpreter among them.

The tree of objects is read as inert records with their tensors. The code in the archive is read for one thing, which
attributes are parameters and which are buffers, and never run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ptfile.errors import FormatError, located
from ptfile.formats.pickles import PickleRunner, in_dialect
from ptfile.formats.storages import LoadedStorages, MapLocation
from ptfile.formats.torchscript_modules import Declarations, add_constants
from ptfile.formats.torchscript_pickles import script_dialect, script_storages
from ptfile.formats.torchscript_tables import MODEL, read_tables
from ptfile.formats.zip_records import ZipRecords
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage


@dataclass(frozen=True, slots=True)
class ScriptPlaces:
    """Where the parts of an archive are."""

    objects: str = "data.pkl"
    constants: str = "constants.pkl"
    code: str = "code/"


class TorchScriptReader:
    """A TorchScript archive, open. Its value is the record of the root module.

    A record's attributes are those of the TorchScript object, sorted like a `torch.nn.Module`'s: parameters, buffers
    and submodules are in `_parameters`, `_buffers` and `_modules` of its state (and attributes of the record as well).
    Constants that the code uses are in the root's `CONSTANTS`, by the code's names for them.
    """

    format = "torchscript"

    def __init__(self, records: ZipRecords) -> None:
        self._records = records

    def load(self, runner: PickleRunner, map_location: MapLocation) -> Any:
        """The root record, with storages that have read nothing yet. Classes of TorchScript are inert in any case.

        Raises FormatError, UnsafeError for another name outside the table, TensorError, LimitError, UnsupportedError.
        """
        records = self._records
        with located(file=records.source.name):
            if MODEL in records:
                return read_tables(records, runner, map_location)
            objects, constants = (
                script_storages(LoadedStorages(_records_in(records, folder), map_location))
                for folder in ("data", "constants")
            )
            return read_script(records, ScriptPlaces(), runner, objects, constants)

    def storages(self) -> Sequence[Storage]:
        """The storages that the value asked for, in the order in which they stand in the file."""
        return self._records.storages()

    def fill(self) -> None:
        """Read them all, in that order."""
        self._records.fill()

    def about(self) -> dict[str, str]:
        """What the file says about itself."""
        return self._records.about()


def read_script(
    records: ZipRecords,
    places: ScriptPlaces,
    runner: PickleRunner,
    load_object: Callable[[object], object],
    load_constant: Callable[[object], object],
) -> Any:
    """The root of an archive; the two functions say what persistent ids in its two pickles stand for."""
    script_runner = in_dialect(runner, script_dialect(Declarations(records, places.code)), records.limits)
    root = records.pickle(places.objects, script_runner, load_object)
    if places.constants in records:
        constants = records.pickle(places.constants, script_runner, load_constant)
        if type(constants) not in (tuple, list):
            raise FormatError("the constants are no tuple", record=places.constants)
        add_constants(root, ((f"c{number}", value) for number, value in enumerate(constants)))
    return root


def _records_in(records: ZipRecords, folder: str) -> Callable[[str, int, DType | None], Storage]:
    def make(key: str, nbytes: int, dtype: DType | None) -> Storage:
        return records.storage(f"{folder}/{key}", nbytes, dtype)

    return make

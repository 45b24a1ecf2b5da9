"""torch.package archives: pickled resources together with the source code that they need.

    resource          anything that `save_pickle`, `save_text`, `save_binary` or `save_module` put in
    storages          `.data/N.storage` (1.9 and later), `data/N` (1.8)
    extern_modules    modules that are not in the package, a line each; in `.data/` since 1.9

The code is not run: objects of its classes are inert records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ptfile.errors import FormatError, UnsafeError, UnsupportedError, located
from ptfile.formats.pickles import PickleRunner, TrustingRunner, in_dialect
from ptfile.formats.storages import LoadedStorages, MapLocation
from ptfile.formats.torchscript_format import ScriptPlaces, read_script
from ptfile.formats.torchscript_pickles import script_storages
from ptfile.formats.vocabulary import LOOK_INTO_IT, Dialect
from ptfile.formats.zip_records import ZipRecords
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import Global, InertName
from ptfile.machine.policy import Meaning
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

SCRIPT = Global("torch.jit._script", "unpackage_script_module")
"""How a package refers to a TorchScript module in it."""
SCRIPT_FOLDER = ".data/ts_code/"
STORAGE_SUFFIX = ".storage"
_PICKLED = re.compile(rb"\x80[\x02-\x05]")
"""PROTO and its version: `save_pickle` writes protocol 3."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a package keeps what is no resource."""

    storage: str
    aside: re.Pattern[str]


_LAYOUTS = {
    ".data/extern_modules": _Layout(".data/{}" + STORAGE_SUFFIX, re.compile(r"\.data/.*|byteorder")),
    "extern_modules": _Layout("data/{}", re.compile(r"data/\d+|extern_modules|version")),  # PyTorch 1.8
}


class PackageReader:
    """A package, open. Its value is a dict of all resources in it, by path (`model/weights.pkl`).

    What was pickled is the value of the pickle; all else, texts and source code too, is the bytes that it is.
    """

    format = "package"

    def __init__(self, records: ZipRecords) -> None:
        self._records = records
        layout = next((layout for mark, layout in _LAYOUTS.items() if mark in records), None)
        if layout is None:
            raise FormatError("it has no list of extern_modules, so it is no package")
        self._layout = layout

    def load(self, runner: PickleRunner, map_location: MapLocation) -> dict[str, Any]:
        """The resources, with storages that have read nothing yet. Objects of the package's own classes are inert.

        Raises FormatError, UnsafeError for another name outside the table, TensorError, LimitError; UnsupportedError
        if the code of the package would have to be run.
        """
        if isinstance(runner, TrustingRunner):
            fix = "Load it with unknown='inert' to look into it, or with torch.package to run it"
            raise UnsupportedError("a torch.package archive brings code of its own, which ptfile does not run", fix=fix)
        records = self._records
        with located(file=records.source.name):
            names = [name for name in records.names if not self._layout.aside.fullmatch(name)]
            inner = in_dialect(runner, package_dialect(names), records.limits)
            persistent = _Persistent(records, runner, LoadedStorages(self._make, map_location))
            return {name: self._resource(name, inner, persistent.load) for name in names}

    def storages(self) -> Sequence[Storage]:
        """The storages that the value asked for, in the order in which they stand in the file."""
        return self._records.storages()

    def fill(self) -> None:
        """Read them all, in that order."""
        self._records.fill()

    def about(self) -> dict[str, str]:
        """What the file says about itself."""
        return self._records.about()

    def _resource(self, name: str, runner: PickleRunner, load_persistent: Callable[[object], object]) -> Any:
        content = self._records.read(name)
        if _PICKLED.match(content) and content.endswith(b"."):
            return self._records.pickle(name, runner, load_persistent)
        return content

    def _make(self, key: str, nbytes: int, dtype: DType | None) -> Storage:
        return self._records.storage(self._layout.storage.format(key), nbytes, dtype)


def package_dialect(resources: Iterable[str]) -> Dialect:
    """What the pickles of a package may say: the names in its own code are its data."""
    sources = (name for name in resources if name.endswith(".py") and not name.startswith(".data/"))
    code = {name.removesuffix(".py").removesuffix("/__init__") for name in sources}
    modules = {path.replace("/", ".") for path in code}
    return Dialect({(SCRIPT.module, SCRIPT.name): Meaning()}, is_data=modules.__contains__, advice=LOOK_INTO_IT)


class _Persistent:
    """What the persistent ids of a package stand for, the same in all of its pickles."""

    def __init__(self, records: ZipRecords, runner: PickleRunner, storages: LoadedStorages) -> None:
        self._records = records
        self._runner = runner
        self._storages = storages
        self._made: dict[int, object] = {}
        self._scripts: dict[str, object] = {}

    def load(self, persistent_id: object) -> object:
        """`("storage", class, key, location, numel)`, or `("reduce_package", number, function, arguments)`.

        The number tells one object from another; PyTorch 1.8 to 1.10 wrote none.
        """
        if type(persistent_id) is not tuple or not persistent_id:
            raise FormatError("a persistent id is no tuple")
        kind, *parts = persistent_id
        if kind == "reduce_package" and len(parts) in (2, 3):
            *number, function, arguments = parts
            if type(arguments) is not tuple or not all(type(part) is int for part in number):
                raise FormatError("a persistent id does not say how an object is made")
            if not number:
                return self._object(function, arguments)
            if number[0] not in self._made:
                self._made[number[0]] = self._object(function, arguments)
            return self._made[number[0]]
        if kind == "storage" and len(parts) == 4:
            storage_class, key, location, numel = parts
            key = str(key) if type(key) is int else key  # since 1.9
            return self._storages.load((kind, storage_class, key, location, numel))
        raise FormatError(f"a persistent id of kind {kind!r:.40} with {len(parts)} parts")

    def _object(self, function: object, arguments: tuple[Any, ...]) -> object:
        if function == SCRIPT and len(arguments) == 1 and type(arguments[0]) is str:
            return self._script(arguments[0])
        if not isinstance(function, InertName):
            # A builder of PyTorch's tensors does not take the package as its first argument, as these functions do.
            raise UnsafeError(f"a persistent id calls {function!s:.80}", name=str(function)[:80])
        return InertRecord(function, arguments)

    def _script(self, number: str) -> object:
        """A TorchScript module, which shares its storages with the package."""
        if number not in self._scripts:
            folder = f"{SCRIPT_FOLDER}{number}/"
            places = ScriptPlaces(f"{folder}data.pkl", f"{folder}constants.pkl", f"{SCRIPT_FOLDER}code/")
            load = script_storages(self._storages, STORAGE_SUFFIX)
            self._scripts[number] = read_script(self._records, places, self._runner, load, load)
        return self._scripts[number]

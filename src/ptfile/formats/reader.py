"""What every format offers to the API: the value first, its bytes when they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ptfile.formats.pickles import PickleRunner
from ptfile.formats.storages import MapLocation
from ptfile.tensors.storage import Storage


class FormatReader(Protocol):
    """One checkpoint file, open."""

    @property
    def format(self) -> str:
        """The name of the format: `zip`, `legacy`, `tar`, `torchscript`, `package` or `export`."""

    def load(self, runner: PickleRunner, map_location: MapLocation) -> Any:
        """The value, with storages that have read nothing yet."""

    def storages(self) -> Sequence[Storage]:
        """The storages that the value asked for, in the order in which they stand in the file."""

    def fill(self) -> None:
        """Read them all, in that order."""

    def about(self) -> dict[str, str]:
        """What the file says about itself, in its own words, which are not checked; reads what it takes to know."""

"""20,000 dicts of 40 scalars: an optimizer's state or a log, where the pickle is everything."""

from __future__ import annotations

import pickle

from harness import Contestant, Context
from libraries import Ptfile
from round_trip import file_of, round_trip
from trees import Dicts

FULL = Dicts(20_000)
QUICK = Dicts(2_000)


class Pickle(Contestant):
    """The limit: C pickle on its own, with neither a container nor any check."""

    def __init__(self, context: Context) -> None:
        self._tree = QUICK if context.quick else FULL
        self._path = file_of(context, "pickle")


class PickleDump(Pickle):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._value = self._tree.build(Ptfile())

    def before(self) -> None:
        self._path.unlink(missing_ok=True)

    def run(self) -> None:
        with self._path.open("wb") as file:
            pickle.dump(self._value, file, protocol=2)


class PickleLoad(Pickle):
    def run(self) -> object:
        with self._path.open("rb") as file:
            return pickle.load(file)

    def check(self, result: object) -> None:
        self._tree.check(Ptfile(), result)


WORK = round_trip(
    name="dicts",
    title="20,000 dicts of 40 scalars",
    quick_title="2,000 dicts of 40 scalars",
    full=FULL,
    quick=QUICK,
    tiny=Dicts(2),
    saving={"pickle": PickleDump},
    loading={"pickle": PickleLoad},
    quick_rounds=1,
    scratch=256 << 20,
)

"""One tensor of 5 ints, to a path and back, many times: the cost of a call.

The file of the time before is replaced each time. The figure is for one call.
"""

from __future__ import annotations

from functools import partial

from harness import Contestant, Context, Operation, Work
from libraries import LIBRARIES, Library
from round_trip import check_same_bytes, file_of
from trees import Ints

_TREE = Ints()


class _Many(Contestant):
    def __init__(self, name: str, context: Context) -> None:
        self.loops = 100 if context.quick else 500
        self._library: Library = LIBRARIES[name]()
        self._path = file_of(context, name)
        self._value = _TREE.build(self._library)


class SaveMany(_Many):
    def run(self) -> None:
        for _ in range(self.loops):
            self._library.save(self._value, self._path)


class LoadMany(_Many):
    def run(self) -> object:
        for _ in range(self.loops):
            loaded = self._library.load(self._path)
        return loaded

    def check(self, result: object) -> None:
        _TREE.check(self._library, result)


WORK = Work(
    name="five_ints",
    title="5 ints",
    quick_title="5 ints",
    quick_rounds=1,
    operations=(
        Operation(
            "save",
            {name: partial(SaveMany, name) for name in LIBRARIES},
            check_same_bytes,
        ),
        Operation(
            "load",
            {name: partial(LoadMany, name) for name in LIBRARIES},
        ),
    ),
)

"""1 GiB in 256 tensors, saved to a BytesIO and loaded from it: what stands in memory twice, and what need not."""

from __future__ import annotations

from functools import partial
from io import BytesIO

from harness import Contestant, Context, Operation, Work
from libraries import LIBRARIES
from trees import Tensors
from works.gib import size


class InMemory(Contestant):
    def __init__(self, name: str, context: Context) -> None:
        self._library = LIBRARIES[name]()
        self._tree: Tensors = size(context)
        self._value = self._tree.build(self._library)
        self.payload = self.touches = self._tree.payload
        tiny = BytesIO()
        self._library.save(Tensors(2, 16).build(self._library), tiny)
        tiny.seek(0)
        self._library.load(tiny)


class SaveInMemory(InMemory):
    """The file's bytes are the result."""

    def run(self) -> BytesIO:
        file = BytesIO()
        self._library.save(self._value, file)
        return file

    def check(self, result: object) -> None:
        assert isinstance(result, BytesIO)
        result.seek(0)
        self._tree.check(self._library, self._library.load(result))


class LoadInMemory(InMemory):
    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context)
        self._file = BytesIO()
        self._library.save(self._value, self._file)
        del self._value

    def before(self) -> None:
        self._file.seek(0)

    def run(self) -> object:
        return self._library.load(self._file)

    def check(self, result: object) -> None:
        self._tree.check(self._library, result)


WORK = Work(
    name="gib_memory",
    title="1 GiB in 256 tensors, BytesIO",
    quick_title="128 MiB in 32 tensors, BytesIO",
    operations=(
        Operation("save", {name: partial(SaveInMemory, name) for name in LIBRARIES}),
        Operation("load", {name: partial(LoadInMemory, name) for name in LIBRARIES}),
    ),
    fresh=True,
    rounds=2,
    in_quick=False,
)

"""`ptfile ls` on a file of 1 GiB (256 tensors, with holes), as a process of its own, beside `import torch`."""

from __future__ import annotations

from harness import Contestant, Context, Operation, Work
from works.imports import Import, python
from works.sparse import COUNT, sparse_file


class List(Contestant):
    def __init__(self, context: Context) -> None:
        self._context = context
        self._path = sparse_file(context.folder, 1 << 30)

    def run(self) -> str:
        return python(self._context, "-m", "ptfile", "ls", str(self._path))

    def check(self, result: object) -> None:
        assert isinstance(result, str)
        assert result.count("float32") >= COUNT


WORK = Work(
    name="listing",
    title="ls of 1 GiB",
    quick_title="ls of 1 GiB",
    operations=(Operation("list", {"ptfile": List, "torch": lambda context: Import("import torch", context)}),),
    in_quick=False,
    scratch=64 << 20,
    on_disk=True,
)

"""The works, one in each file, in the order in which they are measured. A new one is a file and a name here."""

from __future__ import annotations

from importlib import import_module

from harness import Work

NAMES = (
    *("gib", "mapped", "gib_disk", "gib_memory", "cold_slice", "listing"),
    *("small_tensors", "dicts", "five_ints", "imports", "scale"),
)


def load_work(name: str) -> Work:
    work: Work = import_module(f"works.{name}").WORK
    assert work.name == name
    return work

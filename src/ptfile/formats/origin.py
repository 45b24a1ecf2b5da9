"""What a file says of who wrote it. Few formats name a version of PyTorch; which records there are narrows it down.

The versions are those of the golden corpus and of PyTorch's sources: a rule says no more than the file shows. Programs
other than PyTorch, ptfile among them, write what some PyTorch writes.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType

from ptfile.formats.opening import EXPORTED_ARCHIVE

_OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "legacy": "any PyTorch (before 1.6 it was the usual format)",
        "tar": "PyTorch 0.1.9 or older",
        "safetensors": "the safetensors library",
        "package": "torch.package, PyTorch 1.9 or newer",
    }
)
"""By format, where no record says more."""


def writer(kind: str, records: Container[str], facts: Mapping[str, str]) -> str:
    """Which versions of PyTorch write such a file.

    kind: the format's name; records: those of a zip file, by their short names; facts: what a reader's `about` says.

    >>> writer("zip", {".format_version", "byteorder"}, {"version": "3"})
    'PyTorch 2.7 or newer'
    >>> writer("zip", set(), {"version": "3"})
    'PyTorch 1.6 to 2.0'
    """
    if kind in _OTHERS:
        return _OTHERS[kind]
    if kind == "export":
        return "torch.export, PyTorch " + ("2.9 or newer" if EXPORTED_ARCHIVE in records else "2.1 to 2.8")
    if ".format_version" in records:
        return "PyTorch 2.7 or newer"
    if ".data/serialization_id" in records:
        return "PyTorch 2.1 or newer" if kind == "torchscript" else "PyTorch 2.1 to 2.6"
    if facts.get("version") in ("1", "2"):
        return "PyTorch 1.0 to 1.5"
    return "PyTorch 1.6 to 2.0"

"""The golden corpus: files that ten versions of PyTorch wrote, and what is in each (see corpus/README.md)."""

from __future__ import annotations

import functools
import gzip
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tests.golden.walk import Node

ARCHIVES = Path(__file__).parent / "corpus"
_ENDING = ".tar.xz"


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One file that `torch.save` (or another of PyTorch's ways) wrote."""

    version: str
    """The archive that it is in: `torch-2.13.0-py3.11`, or `synthetic`."""
    name: str

    def __str__(self) -> str:
        return f"{self.version}/{self.name}"

    @property
    def kind(self) -> str:
        """The form of the file, by its name: zip, legacy, torchscript, package, pt2, dcp, or synthetic."""
        if self.version == "synthetic":
            return self.version
        for mark, kind in _KINDS.items():
            if mark in self.name:
                return kind
        raise AssertionError(f"{self} is of no known kind")

    @property
    def is_python2(self) -> bool:
        return "py2" in str(self)


_KINDS = {
    ".zip.": "zip",
    "_zip": "zip",
    ".legacy.": "legacy",
    "_legacy": "legacy",
    ".jit.pt": "torchscript",
    ".ptl": "torchscript",
    ".package.pt": "package",
    ".pt2": "pt2",
    ".dcp": "dcp",
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the JSON beside a file says about it."""

    tree: Node
    storages: dict[str, Node]
    reload: Node
    """What came of loading the file in the version that had written it."""
    description: Node
    """All of it, with the options that the file was saved with."""


@functools.cache
def versions() -> tuple[str, ...]:
    """The archives, oldest version first."""
    names = [path.name.removesuffix(_ENDING) for path in ARCHIVES.glob("*" + _ENDING)]
    return tuple(sorted(names, key=lambda name: [int(part) for part in name.split("-")[1:2] for part in part.split(".")]))


@functools.cache
def files() -> tuple[CorpusFile, ...]:
    """Every file that has an expectation beside it."""
    found = []
    for version in versions():
        with tarfile.open(ARCHIVES / (version + _ENDING)) as archive:
            names = {Path(member.name).name for member in archive}
        found += [CorpusFile(version, name) for name in sorted(names) if f"{name}.json" in names]
    return tuple(found)


class Corpus:
    """The corpus, unpacked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for version in versions():
            with tarfile.open(ARCHIVES / (version + _ENDING)) as archive:
                archive.extractall(folder, filter="data")

    def path(self, file: CorpusFile) -> Path:
        return self._folder / file.version / file.name

    @contextmanager
    def opened(self, file: CorpusFile) -> Iterator[Path | BinaryIO]:
        """What a user would hand to `load`: the path, or a stream where the file is compressed as a whole."""
        if file.name.endswith(".gz"):
            with gzip.open(self.path(file)) as stream:
                yield stream  # type: ignore[misc]
        else:
            yield self.path(file)

    def expectation(self, file: CorpusFile) -> Expectation:
        """What a file holds."""
        description = self._json(file.version, file.name)
        twin = description.get("same_tree_as")
        tree = self._json(file.version, twin.removesuffix(".json")) if twin else description
        return Expectation(tree["tree"], tree["storages"], description.get("reload") or {}, description)

    def _json(self, version: str, name: str) -> dict[str, Any]:
        described: dict[str, Any] = json.loads((self._folder / version / f"{name}.json").read_text("utf-8"))
        return described

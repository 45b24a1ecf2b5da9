"""The golden corpus: files that ten versions of PyTorch wrote, and what is in each (see corpus/README.md)."""

from __future__ import annotations

import functools
import gzip
import json
import re
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
    def number(self) -> str:
        """The version of PyTorch: `2.13.0`; empty for the synthetic files."""
        return self.version.partition("-")[2].partition("-")[0]

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
        return self.version.endswith("-py2.7") or ".py2." in self.name


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


_LOST = {"pickler_cloudpickle_lambda.zip.pt.json": "pickler_dill_lambda.zip.pt.json"}
"""A description that the archives lack, because the file that it is of was too large, and one of the same value."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the JSON beside a file says about it."""

    tree: Node
    storages: dict[str, Node]
    reload: Node
    """What came of loading the file in the version that had written it."""
    description: Node
    """All of it, with the options that the file was saved with."""

    def is_lost_in_pytorch(self, path: str) -> bool:
        """Whether PyTorch itself got something else there, or nothing, when it loaded the file again."""
        first: str = self.reload.get("first", ("",))[0]
        return first == path or first.startswith((f"{path}.", f"{path}["))


@functools.cache
def versions() -> tuple[str, ...]:
    """The archives, oldest version first."""
    names = [path.name.removesuffix(_ENDING) for path in ARCHIVES.glob("*" + _ENDING)]
    return tuple(sorted(names, key=lambda name: [int(part) for part in re.findall(r"[0-9]+", name)]))


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
    """The corpus, unpacked: the files in a folder, the descriptions in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptions: dict[str, bytes] = {}
        for version in versions():
            with tarfile.open(ARCHIVES / (version + _ENDING)) as archive:
                for member in archive:
                    self._unpack(archive, member)

    def _unpack(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if not member.name.endswith(".json"):
            archive.extract(member, self._folder, filter="data")
            return
        stream = archive.extractfile(member)
        assert stream is not None
        self._descriptions[member.name.removesuffix(".json")] = stream.read()

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
        tree = self._json(file.version, _LOST.get(twin, twin).removesuffix(".json")) if twin else description
        if description.get("skip_data"):
            tree = _without_bytes(tree)
        return Expectation(tree["tree"], tree["storages"], description.get("reload") or {}, description)

    def _json(self, version: str, name: str) -> dict[str, Any]:
        described: dict[str, Any] = json.loads(self._descriptions[f"{version}/{name}"])
        return described


def _without_bytes(tree: Node) -> Node:
    """A description without what depends on the bytes of storages."""
    stripped: Node = json.loads(
        json.dumps(tree),
        object_hook=lambda node: {key: node[key] for key in node if key not in ("sha256", "hex", "first")},
    )
    return stripped

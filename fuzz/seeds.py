"""Where fuzzing begins: files of the golden corpus, and the pickles in them.

`python -m fuzz.seeds` chooses the few that are committed in `fuzz/corpus`; `fuzz.run` begins with many more.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from tests.golden.corpus import ARCHIVES

from fuzz.containers import records_of
from fuzz.targets import CORPUS, TARGETS

CHOSEN = re.compile(
    r"torch-2\.13\.0[^/]*/(tensor_basic|dtype_(bool|bfloat16|complex64|float8_e4m3fn|uint16)|sparse_(coo|csr)|quantized_per_(tensor|channel)"
    r"|nested_(strided|jagged)|meta_tensor|py_(bytes|datetime|dict|set|deque|complex|dataclass|enum|ordereddict|path|slice)"
    r"|np_(scalars|structured|datetime64|float16)|module_tiny|optim_(adam|sgd)|parameter|storage_(float|untyped)|torch_(size|dtypes|device))"
    r"\.(zip|legacy)\.pt"
    r"|torch-1\.0\.1[^/]*/(py_dict|np_scalars|module_tiny|storage_float|tensor_attributes).*"
    r"|torch-1\.4\.0[^/]*/(tensor_basic|jit_tiny).*|synthetic/.*|torch-1\.10\.2[^/]*/(sparse_coo|package).*"
)
"""Names in the golden corpus of what is committed as well; whatever else is small is used when fuzzing."""
_OTHERS = ("zip", "torchscript")
"""Folders of golden files that are no archives."""
_SMALL = 6_000
_GENERATED = 24


def files(most: int = 8_192) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each golden file of at most so many bytes."""
    for archive in sorted(ARCHIVES.glob("*.tar.xz")):
        with tarfile.open(archive) as opened:
            for member in opened:
                stream = opened.extractfile(member) if member.isfile() and member.size <= most else None
                if stream is not None and not member.name.endswith(".json"):
                    yield member.name, stream.read()
    for folder in _OTHERS:
        for path in sorted((ARCHIVES.parent / folder).iterdir()):
            if path.suffix in (".pt", ".ptl", ".pt2") and path.stat().st_size <= most:
                yield f"{folder}/{path.name}", path.read_bytes()


def inputs(target: str, *, committed: bool) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of what a target begins with."""
    rng = Random(target)
    of_files = TARGETS[target].corpus == "load"
    of_pickles = TARGETS[target].corpus == "machine"
    for name, content in files(_SMALL) if of_files or of_pickles else ():
        if committed and not (CHOSEN.fullmatch(name) or name.partition("/")[0] in _OTHERS):
            continue
        if of_files:
            yield name, content
        else:
            pickles = [record for path, record in records_of(content) if path.endswith(".pkl")]
            yield from ((f"{name}-{number}", data) for number, data in enumerate(pickles) if len(data) <= _SMALL)
    for number in range(_GENERATED):
        yield f"generated-{number}", TARGETS[target].generate(rng)


def write(folder: Path, found: Iterable[tuple[str, bytes]]) -> None:
    """A file for each, named by its content."""
    folder.mkdir(parents=True, exist_ok=True)
    for _, data in found:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def main() -> None:
    """Write the committed corpus; what is there from before stays."""
    for name in {target.corpus for target in TARGETS.values()}:
        write(CORPUS / name, inputs(name, committed=True))


if __name__ == "__main__":
    main()

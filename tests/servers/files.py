"""Large checkpoints for servers, which take no room on the disk: the bytes of their tensors are a hole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ptfile.formats.zip_saving import ZipOptions, ZipSave
from ptfile.sinks import FileSink


@dataclass(frozen=True)
class OnDisk:
    """A file as a server's body."""

    path: Path

    def __len__(self) -> int:
        return self.path.stat().st_size

    def __getitem__(self, place: slice) -> bytes:
        with self.path.open("rb") as file:
            file.seek(place.start)
            return file.read(place.stop - place.start)


def save_hollow(value: object, path: Path) -> OnDisk:
    """Save a value with zeros for all elements of its tensors, as a sparse file without checksums."""
    with FileSink(path) as sink:
        ZipSave(value, "model", options=ZipOptions(checksum=False, contents=False)).write(sink)
    return OnDisk(path)

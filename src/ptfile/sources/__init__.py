"""Bytes in: whatever a checkpoint is read from, as a size and reads at any offset."""

from ptfile.sources.base import ConcurrentSource, DistantSource, Source, ViewSource, announce
from ptfile.sources.file_object import FileObjectSource
from ptfile.sources.local import LocalSource
from ptfile.sources.mapped import MappedSource
from ptfile.sources.memory import MemorySource
from ptfile.sources.opening import lasting_path, open_file, open_source
from ptfile.sources.part import PartSource, part_of
from ptfile.sources.read_ahead import ReadAhead
from ptfile.sources.small_file import SmallFileSource
from ptfile.sources.stream import StreamSource

__all__ = [
    "ConcurrentSource",
    "DistantSource",
    "FileObjectSource",
    "LocalSource",
    "MappedSource",
    "MemorySource",
    "PartSource",
    "ReadAhead",
    "SmallFileSource",
    "Source",
    "StreamSource",
    "ViewSource",
    "announce",
    "lasting_path",
    "open_file",
    "open_source",
    "part_of",
]

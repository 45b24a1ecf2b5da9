"""Write what a format has prepared to where it goes."""

from __future__ import annotations

from ptfile.formats.legacy_writer import LegacySave
from ptfile.formats.zip_saving import ZipSave
from ptfile.sinks import FileSink, MemorySink, Sink
from ptfile.sinks.small_file import SMALL


def write_out(prepared: ZipSave | LegacySave, sink: Sink) -> None:
    """Write it to a sink that has not been entered. Raises OSError."""
    if isinstance(sink, FileSink) and isinstance(prepared, ZipSave) and prepared.nbytes <= SMALL:
        made = MemorySink(sink.name)
        prepared.write(made)
        sink.put(made.content)
    else:
        with sink:
            prepared.write(sink)

"""Write what a format has prepared to where it goes."""

from __future__ import annotations

from ptfile.formats.legacy_writer import LegacySave
from ptfile.formats.zip_saving import ZipSave
from ptfile.sinks import FileSink, Sink, StreamSink


def write_out(prepared: ZipSave | LegacySave, sink: Sink) -> None:
    """Write it to a sink that has not been entered. Raises OSError."""
    # Others, which are far away, have to be asked first whether anything can be put there.
    small = prepared if isinstance(prepared, ZipSave) and prepared.is_small else None
    if small is not None and isinstance(sink, FileSink):
        sink.put(small.small_file())
    elif small is not None and isinstance(sink, StreamSink):
        with sink:
            sink.write(small.small_file())
    else:
        with sink:
            prepared.write(sink)

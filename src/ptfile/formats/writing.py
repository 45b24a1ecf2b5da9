"""Write what a format has prepared to where it goes."""

from __future__ import annotations

from ptfile.formats.legacy_writer import LegacySave
from ptfile.formats.zip_saving import ZipSave
from ptfile.sinks import FileSink, Sink


def write_out(prepared: ZipSave | LegacySave, sink: Sink) -> None:
    """Write it to a sink that has not been entered. Raises OSError."""
    if isinstance(prepared, LegacySave) or not prepared.is_small:
        with sink:
            prepared.write(sink)
        return
    content = prepared.small_file()
    if isinstance(sink, FileSink):
        sink.put(content)
    else:
        with sink:
            sink.expect(len(content))
            sink.write(content)

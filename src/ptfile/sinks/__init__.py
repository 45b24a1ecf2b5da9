"""Bytes out: whatever a checkpoint is written to, from its first byte to its last."""

from ptfile.sinks.base import CopyingSink, Sink
from ptfile.sinks.local_file import FileSink
from ptfile.sinks.opening import open_sink
from ptfile.sinks.stream import StreamSink

__all__ = ["CopyingSink", "FileSink", "Sink", "StreamSink", "open_sink"]

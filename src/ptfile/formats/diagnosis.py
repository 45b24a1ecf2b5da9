"""What has happened to a file that cannot be read, as far as the file itself tells. Called when reading has failed."""

from __future__ import annotations

import re

from ptfile.containers.sniff import Kind
from ptfile.containers.zip_salvage import zeros_at_end, zeros_at_start
from ptfile.errors import FormatError, PtfileError
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.salvage import BrokenZip
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources import Source

AGAIN = "Copy or download the file again"
REPAIR = f"{AGAIN}, or save what is left of it: ptfile repair"
_MANY_ZEROS = 512
"""Bytes: fewer zeros than a sector of a disk are no hole."""
_LFS_FIELDS = re.compile(rb"^oid (\S{1,100})\n(?:.*\n)*?size (\d{1,20})$", re.MULTILINE)
_HTML_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,100}?)\s*<", re.IGNORECASE)


def no_checkpoint(kind: Kind, head: bytes, source: Source, limits: Limits) -> FormatError:
    """The error for a file that looks like something else. head: its first bytes, those that `kind` is told by."""
    if kind in (Kind.UNKNOWN, Kind.ZEROS) and _broken(source, limits) is not None:
        problem = "it does not begin as a checkpoint, but goes on as one: its first bytes are damaged"
        return FormatError(problem, fix=REPAIR, file=source.name)
    problem = f"it is no checkpoint of PyTorch: it looks like {kind.looks}"
    if kind is Kind.LFS_POINTER and (fields := _LFS_FIELDS.search(head)):
        problem += f", as the object {_text(fields[1])} of {int(fields[2])} bytes"
    if kind is Kind.HTML and (title := _HTML_TITLE.search(head)):
        problem += f", with the title {_text(title[1])!r}"
    if kind is Kind.ZEROS and (zeros := zeros_at_start(source)) < source.size:
        problem = (
            f"its start is lost: its first {zeros} bytes are zeros, space that was set aside and never written, or "
            "that the disk has lost"
        )
    return FormatError(problem, fix=kind.fix, file=source.name)


def broken_zip(error: FormatError, source: Source, limits: Limits) -> FormatError:
    """The error for a zip file whose directory cannot be read, with how much is missing where that can be known."""
    rest = _broken(source, limits)
    size = rest.full_size() if rest else None
    fix = REPAIR if rest and rest.fault else error.fix or AGAIN
    zeros, problem = zeros_at_end(source), error.problem
    if size is not None:
        problem = f"cut off at byte {source.size} of {size}: {size - source.size} bytes are missing at its end"
    if zeros >= _MANY_ZEROS:
        problem += (
            f"; from byte {source.size - zeros} on there are only zeros, space that was set aside and never written"
        )
    told = FormatError(problem, fix=fix, file=error.file, record=error.record, offset=error.offset)
    told.__cause__ = error
    return told


def _broken(source: Source, limits: Limits) -> BrokenZip | None:
    """What is left of a zip file; None if that is nothing, or it never was one."""
    text = Python2Text("latin1")  # only names and sizes are looked at
    try:
        return BrokenZip(source, limits, SafeRunner(limits, "inert", text))
    except PtfileError:
        return None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")

"""What a scan found, as sentences for people."""

from __future__ import annotations

from collections.abc import Iterator

from ptfile._scan import Scan
from ptfile.cli import text
from ptfile.formats.scan_report import PickleReport, Verdict
from ptfile.machine.recorder import Finding

MOST_LINES = 20
"""Lines on one file."""


def finding(found: Finding) -> str:
    """One finding, without its place."""
    if found.action in ("sets", "asks for"):
        return found.reason
    if found.action == "gives":
        return f"would call {found.call}: {found.reason}"
    about = f", which {found.does}" if found.does else f", which is not in {_TABLE}"
    if found.action == "calls":
        return f"would call {found.call}{about}"
    if found.action == "makes":
        return f"would make {found.call}{about}"
    when = " when it is called" if found.does else ""
    where = ", behind the fault" if found.behind_fault else ""
    return f"names {found.name}{about}{when}{where}"


_TABLE = "ptfile's table"


def place(report: PickleReport, offset: int | None) -> str:
    """Where something is in a file: record and byte."""
    byte = [] if offset is None else [f"byte {offset}"]
    return ", ".join([*([report.record] if report.record else []), *byte])


def headline(scan: Scan) -> str:
    """What is said of a file in its first line, behind its name and verdict."""
    pickles = text.count(len(scan.pickles), "pickle")
    if scan.verdict is None:
        return f"it looks like {scan.kind}" if ":" not in scan.kind else ""
    refusal = f"ptfile.load refuses it ({scan.refused_as})" if scan.refusal else "ptfile.load reads it"
    return f"{pickles}; {refusal}"


def details(scan: Scan) -> Iterator[str]:
    """The lines below it; none for a file of which there is nothing to say."""
    lines = list(_lines(scan))
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"{text.count(len(lines) - MOST_LINES, 'more line')}: --json has all"


def _lines(scan: Scan) -> Iterator[str]:
    for report in scan.pickles:
        aside = "" if report.reached or not _is_checkpoint(scan) else " (ptfile.load does not look at it)"
        for found in report.findings:
            yield f"{place(report, found.offset)}: {finding(found)}{aside}"
        if report.more:
            yield f"{place(report, None) or 'the file'}: {text.count(report.more, 'more finding')} of this kind"
        if report.fault:
            word = "incomplete" if report.verdict is Verdict.INCOMPLETE else "malformed"
            yield f"{place(report, report.fault_offset)}: {word}: {report.fault}{aside}"
    for problem in scan.problems:
        where = f"{problem.record}: " if problem.record else ""
        yield f"{where}{problem.problem}{'. ' if problem.fix else ''}{problem.fix}"
    if scan.refusal and scan.verdict is Verdict.CLEAN and _is_checkpoint(scan):
        yield f"ptfile.load refuses it all the same: {scan.refusal}"


def _is_checkpoint(scan: Scan) -> bool:
    """Whether a load gets as far as to a pickle."""
    return any(report.reached for report in scan.pickles)


def total(scans: list[Verdict | None], failed: int, pickles: int) -> str:
    """The last line."""
    counts = [(str(verdict), scans.count(verdict)) for verdict in Verdict]
    counts += [("without a pickle", scans.count(None)), ("not readable", failed)]
    said = ", ".join(f"{count:,} {word}" for word, count in counts if count)
    files = text.count(len(scans) + failed, "file")
    return f"{files}, {text.count(pickles, 'pickle')}: {said}" if said else "no files"

"""A scan as SARIF 2.1.0, which code hosts and editors show at the place of each finding.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from ptfile._scan import Scan
from ptfile.cli import scan_text
from ptfile.cli.printable import printable
from ptfile.formats.scan_report import PickleReport, Verdict

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULES: Mapping[Verdict, tuple[str, str]] = {
    Verdict.UNSAFE: ("A pickle names or calls what a checkpoint has no need of", "error"),
    Verdict.MALFORMED: ("A pickle breaks a rule, so that two readers may take it for two things", "error"),
    Verdict.INCOMPLETE: ("Something could not be read to its end", "warning"),
}
_IDS = list(_RULES)


def document(scans: Sequence[Scan], failed: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The object that `--sarif` prints. `failed`: files that could not be opened, and why."""
    driver = {
        "name": "ptfile",
        "version": version("ptfile"),
        "rules": [
            {
                "id": verdict.value,
                "shortDescription": {"text": description},
                "defaultConfiguration": {"level": level},
            }
            for verdict, (description, level) in _RULES.items()
        ],
    }
    notes = [
        {"level": "error", "message": _message(why), "locations": [{"physicalLocation": _artifact(file)}]}
        for file, why in failed
    ]
    invocation = {"executionSuccessful": not failed, "toolExecutionNotifications": notes}
    results = [result for scan in scans for result in _results(scan)]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "invocations": [invocation], "results": results}],
    }


def _results(scan: Scan) -> Iterator[dict[str, Any]]:
    for report in scan.pickles:
        for found in report.findings:
            text = scan_text.finding(found)
            level = "error" if found.does else "warning"
            yield _result(Verdict.UNSAFE, text, _location(scan.file, report, found.offset), level)
        if report.fault:
            verdict = Verdict.INCOMPLETE if report.verdict is Verdict.INCOMPLETE else Verdict.MALFORMED
            yield _result(verdict, report.fault, _location(scan.file, report, report.fault_offset))
    for problem in scan.problems:
        yield _result(Verdict.INCOMPLETE, problem.problem, _in_record(_artifact(scan.file), problem.record))
    if scan.verdict is Verdict.UNSAFE and not scan.findings:
        yield _result(Verdict.UNSAFE, scan.refusal, _in_record(_artifact(scan.file), ""))


def _result(verdict: Verdict, text: str, location: dict[str, Any], level: str = "") -> dict[str, Any]:
    return {
        "ruleId": verdict.value,
        "ruleIndex": _IDS.index(verdict),
        "level": level or _RULES[verdict][1],
        "message": _message(text),
        "locations": [location],
    }


def _message(text: str) -> dict[str, str]:
    """Plain text (3.11): doubled braces are no placeholders, and what the file says makes no link and no command."""
    return {"text": printable(text).replace("{", "{{").replace("}", "}}").replace("](", "] (")}


def _location(file: str, report: PickleReport, offset: int | None) -> dict[str, Any]:
    """In bytes of the file, where those of the record stand there as they are."""
    physical = _artifact(file)
    if report.record_offset is not None and offset is not None:
        physical["region"] = {"byteOffset": report.record_offset + offset, "byteLength": 1}
    return _in_record(physical, report.record)


def _in_record(physical: dict[str, Any], record: str) -> dict[str, Any]:
    logical = [{"fullyQualifiedName": record, "kind": "member"}] if record else []
    return {"physicalLocation": physical, **({"logicalLocations": logical} if logical else {})}


def _artifact(file: str) -> dict[str, Any]:
    path = file.replace(os.sep, "/").removeprefix("./")
    uri = quote(os.fsencode(path))
    is_absolute = os.path.isabs(file)  # noqa: PTH117  (a name, not a path to open)
    return {"artifactLocation": {"uri": f"file://{'' if uri.startswith('/') else '/'}{uri}" if is_absolute else uri}}

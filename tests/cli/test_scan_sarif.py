"""SARIF 2.1.0: every object has the properties that the standard has for it, of the types that it says."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import ptfile
from ptfile.cli.scan_sarif import document
from tests.formats.zip_file import zip_of
from tests.hostile.pickle_assembler import PROTO, STOP, call, name, plain
from tests.hostile.sections import SECTIONS

Shape = Mapping[str, Any]
"""By the name of a property: its type, or a shape, or a list of one of these; `!` behind a name: it has to be there."""
LEVELS = ("none", "note", "warning", "error")
MESSAGE: Shape = {"text!": str, "markdown": str, "id": str, "arguments": [str]}
PHYSICAL: Shape = {
    "artifactLocation": {"uri": str, "uriBaseId": str, "index": int},
    "region": {"byteOffset": int, "byteLength": int, "message": MESSAGE},
}
LOGICAL: Shape = {"name": str, "fullyQualifiedName": str, "kind": str, "index": int}
LOCATION: Shape = {"id": int, "physicalLocation": PHYSICAL, "logicalLocations": [LOGICAL], "message": MESSAGE}
RULE: Shape = {"id!": str, "shortDescription": MESSAGE, "defaultConfiguration": {"level": LEVELS, "enabled": bool}}
RESULT: Shape = {"ruleId": str, "ruleIndex": int, "level": LEVELS, "message!": MESSAGE, "locations": [LOCATION]}
NOTIFICATION: Shape = {"message!": MESSAGE, "level": LEVELS, "locations": [LOCATION]}
RUN: Shape = {
    "tool!": {"driver!": {"name!": str, "version": str, "informationUri": str, "rules": [RULE]}},
    "invocations": [{"executionSuccessful!": bool, "toolExecutionNotifications": [NOTIFICATION], "exitCode": int}],
    "results": [RESULT],
}
LOG: Shape = {"$schema": str, "version!": ("2.1.0",), "runs!": [RUN]}
"""What of sections 3.13 to 3.58 a scan has any use for."""


def faults(value: Any, shape: Any, path: str = "log") -> list[str]:
    """Where a value is not of a shape."""
    if isinstance(shape, tuple):
        return [] if value in shape else [f"{path} is {value!r}"]
    if isinstance(shape, type):
        return [] if type(value) is shape else [f"{path} is a {type(value).__name__}"]
    if isinstance(shape, list):
        if type(value) is not list:
            return [f"{path} is no array"]
        return [fault for place, item in enumerate(value) for fault in faults(item, shape[0], f"{path}[{place}]")]
    known = {key.rstrip("!"): inner for key, inner in shape.items()}
    missing = [f"{path} has no {key[:-1]}" for key in shape if key.endswith("!") and key[:-1] not in value]
    unknown = [f"{path} has {key}" for key in value if key not in known]
    return missing + unknown + [
        fault for key, item in value.items() if key in known for fault in faults(item, known[key], f"{path}.{key}")
    ]  # fmt: skip


def messages(value: Any) -> list[str]:
    """The texts of all results."""
    return [result["message"]["text"] for result in value["runs"][0]["results"]]


def check(log: dict[str, Any]) -> None:
    """What holds for every log."""
    assert faults(log, LOG) == []
    run = log["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        for location in result["locations"]:
            place = location["physicalLocation"]
            # 3.4.3: a valid URI reference; 3.30.9: both count from 0.
            assert re.fullmatch(r"(file://)?[A-Za-z0-9/._~%!$&'()*+,;=@-]*", place["artifactLocation"]["uri"])
            assert all(number >= 0 for number in place.get("region", {}).values())
    for text in messages(log):
        assert text
        assert not set("{}") & set(text.replace("{{", "").replace("}}", ""))
        assert "](" not in text


@pytest.mark.parametrize("section", SECTIONS)
def test_the_log_of_hostile_files_has_the_shape_of_the_standard(section: str) -> None:
    """Each of the rules comes up in it."""
    cases = SECTIONS[section][::5]
    scans = [replace(ptfile.scan(io.BytesIO(case.build())), file=f"{case.id}.pt") for case in cases]
    log = json.loads(json.dumps(document(scans, [("a {0} b/[x](y)", "it is {gone}")])))
    check(log)
    assert len(log["runs"][0]["results"]) > 10 or section == "other"
    assert not log["runs"][0]["invocations"][0]["executionSuccessful"]


def test_what_a_file_says_is_text_in_a_message() -> None:
    """No placeholder, no link, and no command for a terminal; in the name of a record, it is escaped as JSON is."""
    body = PROTO + call(name("os", "system"), plain({"[click](https://example.com) {0} \x1b[2J": 1})) + STOP
    found = replace(ptfile.scan(zip_of({"data.pkl": body})), file="a:b?c#d %.pt")
    log = document([found], [])
    check(log)
    assert messages(log) == [
        "would call os.system({{'[click] (https://example.com) {{0}} \\x1b[2J': 1}}), which runs a shell command"
    ]
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%3Ab%3Fc%23d%20%25.pt"


def test_a_wrong_log_is_seen() -> None:
    """The shapes can fail."""
    log = document([], [("x", "why")])
    assert faults(log, LOG) == []
    assert faults({**log, "version": "2.0.0", "more": 1}, LOG) == ["log has more", "log.version is '2.0.0'"]
    del log["runs"][0]["invocations"][0]["executionSuccessful"]
    assert faults(log, LOG) == ["log.runs[0].invocations[0] has no executionSuccessful"]

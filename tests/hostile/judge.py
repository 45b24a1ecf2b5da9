"""What is wrong with an answer."""

from __future__ import annotations

import re
from typing import Any

from tests.hostile.case import LETTERS, Case, Fails, Loads, PyTorchs, Refuses
from tests.hostile.ways import expected

SECONDS = 5
"""Of the processor, that a file may take in a test. Each takes under a second on a machine that does nothing else."""
MEMORY = 64 << 20
"""Bytes that a file may take ..."""
MEMORY_FOR_A_BYTE = 16
"""... beyond as many for each of its own."""
_REFUSALS = frozenset({"RuntimeError", "UnpicklingError", "ValueError", "TypeError", "EOFError", "UnicodeDecodeError"})
"""What `torch.load` raises for bad files."""
_OF_BUILDERS = _REFUSALS | {
    "AssertionError", "AttributeError", "IndexError", "KeyError", "NotImplementedError", "OverflowError",
    "UnicodeEncodeError",
}  # fmt: skip
"""What PyTorch's builders raise for arguments that are wrong."""
_MOST_TEXT = 1_000


def faults(case: Case, way: str, report: dict[str, Any], size: int) -> list[str]:
    """In words; none if all is as it should be. `size`: of the file, in bytes."""
    if "died" in report:
        return [f"the process did not survive it: {report['died']}"]
    outcome = expected(case, way)
    found = [f"it made Python do this: {event}" for event in report["events"]]
    if report["processor"] > SECONDS:
        found.append(f"it took {report['processor']:.1f} s")
    if report["peak"] > MEMORY + MEMORY_FOR_A_BYTE * size:
        found.append(f"it took {report['peak'] >> 20} MiB")
    if isinstance(outcome, Loads):
        found += [f"it should load: {report['error']}: {report['message']}"] if "error" in report else []
        found += [report["check"]] if "check" in report else []
    elif "error" not in report:
        found += [] if isinstance(outcome, PyTorchs) else ["it should be refused and is not"]
    elif isinstance(outcome, Fails):
        found += _differences(outcome, report) + _bad_words(outcome, report)
    elif isinstance(outcome, (Refuses, PyTorchs)):
        found += _foreign(outcome, report)
    return found


def _differences(outcome: Fails, report: dict[str, Any]) -> list[str]:
    """Between an error of ptfile's and what it should be."""
    classes = [LETTERS[letter].__name__ for letter in outcome.letters]
    wanted = dict(outcome.more)
    if outcome.record is not None:
        wanted |= {"record": outcome.record}
    if outcome.offset is not None:
        wanted |= {"offset": outcome.offset}
    found = report["fields"]
    text = [] if outcome.says in report["message"] else [f"not said: {outcome.says}"]
    text += [] if report["error"] in classes else [f"not {' or '.join(classes)} but {report['error']}"]
    differing = {name: found.get(name) for name in wanted if found.get(name) != wanted[name]}
    if report["error"] not in {kind.__name__ for kind in LETTERS.values()}:
        return [f"{report['error']}: {report['message']}"]
    if differing or text:
        text.append(f"{differing}: {report['message']}")
    return text


def _bad_words(outcome: Fails, report: dict[str, Any]) -> list[str]:
    """What a person would miss in the message: the file, the place, what to do."""
    message, fields = report["message"], report["fields"]
    if "problem" not in fields or not outcome.file:
        return []
    found = []
    if not message.startswith(fields["file"] or "no file"):
        found.append(f"does not begin with the file: {message}")
    if fields["record"] and fields["record"] not in message:
        found.append(f"does not name the record {fields['record']}: {message}")
    if fields["offset"] is not None and f"byte {fields['offset']}: " not in message:
        found.append(f"does not name the byte {fields['offset']}: {message}")
    if len(message) > _MOST_TEXT + len(fields["file"] or "") or not re.fullmatch(r"[^\n\r\0\x1b]*", message):
        found.append(f"is not a sentence or two: {message!r}")
    if not message.partition(f": {fields['problem']}. ")[2]:
        found.append(f"does not say what to do: {message}")
    return found


def _foreign(outcome: Refuses | PyTorchs, report: dict[str, Any]) -> list[str]:
    known = _OF_BUILDERS if isinstance(outcome, PyTorchs) else _REFUSALS
    known |= {kind.__name__ for kind in LETTERS.values()}
    return [] if report["error"] in known else [f"{report['error']}: {report['message']}"]

"""What a scan says of one pickle, and of what it could not look into."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ptfile.machine.recorder import Finding, NameUse


class Verdict(str, Enum):
    """Of a pickle, or of a file; the worst comes first."""

    UNSAFE = "unsafe"
    """It names or calls something outside the loader's table."""
    MALFORMED = "malformed"
    """It breaks a rule of pickles or of tensors, so that two readers may take it for two things."""
    INCOMPLETE = "incomplete"
    """It could not be read to its end: cut off, too large, packed in a way that was not opened, not readable."""
    CLEAN = "clean"
    """It was read to its end, and a load would refuse nothing in it."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class PickleReport:
    """One pickle in a file, and all that a load would refuse in it."""

    record: str
    """The record that it is in, with its folder; files inside files are joined by ` > `. Empty: the file itself."""
    offset: int
    """Where it begins: bytes from the start of the record if there is one, else of the file."""
    nbytes: int
    """Up to its end, or to the fault that ended it."""
    record_offset: int | None
    """Where the record begins, from the start of the file; None where its bytes are compressed. The file itself: 0."""
    verdict: Verdict
    findings: tuple[Finding, ...]
    """What a load refuses, in the order of the pickle; offsets count as that of the pickle does."""
    more: int
    """Findings that were not kept: there is a bound."""
    names: tuple[NameUse, ...]
    """Every name in it, allowed or not."""
    more_names: int
    fault: str
    """What makes it malformed or incomplete; empty if nothing does."""
    fault_offset: int | None
    reached: bool
    """Whether `ptfile.load` of the file runs it, or one with the same bytes. The others are there all the same, for
    those who take the file apart."""

    @property
    def refused(self) -> bool:
        """Whether a load that runs it refuses it."""
        return self.verdict is not Verdict.CLEAN


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file that could not be looked into as it should."""

    record: str
    """As in `PickleReport`; empty: the file itself."""
    problem: str
    """In words."""
    fix: str = ""
    """What to do about it."""

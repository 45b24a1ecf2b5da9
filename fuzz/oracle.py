"""What has to be true of every input, as functions that a target calls. Nothing here needs a fuzzer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fuzz.fingerprint import fingerprint
from fuzz.watch import watching
from ptfile.errors import PtfileError


class Violation(Exception):  # noqa: N818  (it is a finding, of which the fuzzer collects many)
    """An input for which one of the promises does not hold."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of reading an input: a value, or an error of the kinds that are promised."""

    value: Any = None
    error: PtfileError | OSError | None = None

    @property
    def loaded(self) -> bool:
        return self.error is None

    def __str__(self) -> str:
        return "a value" if self.error is None else f"{type(self.error).__name__}: {self.error}"


def attempt(what: str, read: Callable[[], Any], path: str | None = None) -> Outcome:
    """Read; only PtfileError and OSError may escape, and Python may not be asked for anything (but to open `path`)."""
    with watching(path) as events:
        try:
            outcome = Outcome(read())
        except (PtfileError, OSError) as error:
            outcome = Outcome(error=error)
        except Exception as error:
            raise Violation(f"{what} let a {type(error).__name__} escape") from error
    require(not events, f"{what} caused the event {events[:1]}")
    if outcome.error is not None:
        str(outcome.error)  # a message is computed from what the file says, and may fail as well
    return outcome


def require(is_so: bool, problem: str) -> None:
    """Raise Violation unless it is so."""
    if not is_so:
        raise Violation(problem)


def require_same(what: str, first: Any, second: Any) -> None:
    """Raise Violation unless two loaded values are the same in types, numbers, bytes, sharing and attributes."""
    left, right = fingerprint(first), fingerprint(second)
    if left != right:
        place = next((n for n, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), -1)
        raise Violation(f"{what} differ at part {place}: {left[place]!r:.200} and {right[place]!r:.200}")


def require_same_outcome(what: str, first: Outcome, second: Outcome) -> None:
    """Raise Violation unless both loaded the same, or failed with the same type of error."""
    if first.loaded and second.loaded:
        require_same(what, first.value, second.value)
    else:
        require(type(first.error) is type(second.error), f"{what} differ: {first}; {second}")

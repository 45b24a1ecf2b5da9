"""`ptfile.scan`: what the pickles in a file would do to who runs them, and whether `ptfile.load` refuses the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ptfile._progress import Counter
from ptfile._types import Path, Progress, Readable
from ptfile.containers.sniff import HEAD_SIZE, sniff
from ptfile.errors import PtfileError, UnsafeError
from ptfile.formats.opening import open_format
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.scan_report import PickleReport, Problem, Verdict
from ptfile.formats.scanning import scan_source
from ptfile.limits import Limits
from ptfile.machine.fast import BuildTensor
from ptfile.machine.recorder import Finding
from ptfile.machine.vm import Python2Text
from ptfile.sources import Source, open_source
from ptfile.stores.urls import StorageOptions

_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class _NotingRunner(SafeRunner):
    """Runs pickles as a load does, and knows afterwards which."""

    ran: set[tuple[int, int]] = field(default_factory=set)

    def run(
        self,
        data: bytes,
        load_persistent: Callable[[object], object],
        start: int = 0,
        tensor: BuildTensor | None = None,
    ) -> tuple[Any, int]:
        self.ran.add((len(data), hash(data)))
        return SafeRunner.run(self, data, load_persistent, start, tensor)

    def has_run(self, data: bytes) -> bool:
        """Whether a pickle of these bytes was run."""
        return (len(data), hash(data)) in self.ran


@dataclass(frozen=True, slots=True)
class Scan:
    """What `scan` found."""

    file: str
    """The path, or the kind of object that the bytes came from."""
    nbytes: int
    """Bytes of the file."""
    kind: str
    """What it looks like by its first bytes: "a zip file"."""
    pickles: tuple[PickleReport, ...]
    """Every pickle in it, in the order of the file, also those that a load does not look at."""
    problems: tuple[Problem, ...]
    """What could not be looked into as it should."""
    refusal: str
    """Why `ptfile.load` refuses the file; empty if it does not, as far as can be told without reading tensors."""
    refused_as: str
    """The class of the error that it raises: `UnsafeError`; empty as above."""

    @property
    def verdict(self) -> Verdict | None:
        """The worst of its pickles', or `INCOMPLETE` if there are problems; None for a file without pickles."""
        verdicts = {report.verdict for report in self.pickles}
        if self.refused_as == UnsafeError.__name__:
            verdicts.add(Verdict.UNSAFE)
        if self.problems:
            verdicts.add(Verdict.INCOMPLETE)
        return next((verdict for verdict in Verdict if verdict in verdicts), None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all pickles."""
        return tuple(finding for report in self.pickles for finding in report.findings)


def scan(
    f: Path | Readable,
    *,
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
    progress: Progress | None = None,
) -> Scan:
    """Say what each pickle in a file would have done to who runs it. Nothing of it is run, imported or opened.

    f: a path, a URL, or a binary file object that can seek, which is read from where it stands. It need be no
        checkpoint.
    storage_options: how to open the store that a URL is in (docs/remote.md).
    progress: is called with the place in the file, in bytes, up to which it was scanned, and the size of the file.

    What a pickle may do is what `ptfile.load` lets it: the same table decides. A file that is damaged or means harm is
    described, not an error: raises OSError for one that cannot be read, and nothing else for what is in it.

    >>> import io, os, pickle, ptfile
    >>> class Harm:
    ...     def __reduce__(self):
    ...         return eval, ("1 + 1",)
    >>> report = scan(io.BytesIO(pickle.dumps(Harm(), 2)))
    >>> report.verdict, report.findings[0].call, report.findings[0].does
    (<Verdict.UNSAFE: 'unsafe'>, "__builtin__.eval('1 + 1')", 'runs Python code')
    """
    with open_source(f, mmap=False, storage_options=storage_options) as source:
        head = bytes(source.read(0, min(HEAD_SIZE, source.size)))
        kind = sniff(head, source.size)
        runner = _NotingRunner(limits, "error", Python2Text())
        refusal = _refusal(source, runner)
        counter = Counter(progress, source.size)
        found = list(scan_source(source, limits, runner.has_run, counter.reach))
        counter.finish()
    pickles = [one for one in found if isinstance(one, PickleReport)]
    problems = [one for one in found if isinstance(one, Problem)]
    return Scan(
        file=source.name,
        nbytes=source.size,
        kind=kind.looks,
        pickles=tuple(pickles),
        problems=tuple(problems),
        refusal=refusal.problem if refusal else "",
        refused_as=_public_class(refusal) if refusal else "",
    )


def _public_class(error: PtfileError) -> str:
    """The name of the class among those that `ptfile.errors` has."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == PtfileError.__module__)


def _refusal(source: Source, runner: SafeRunner) -> PtfileError | None:
    """The error of a load that reads no tensors."""
    try:
        open_format(source, runner.limits).load(runner, None)
    except PtfileError as error:
        return error
    return None

"""Whether some bytes are a pickle, and what is to be said of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ptfile.errors import FormatError, LimitError, PtfileError, UnsafeError
from ptfile.formats.legacy_ids import LoadedIds
from ptfile.formats.package_format import SCRIPT as PACKAGED_SCRIPT
from ptfile.formats.package_format import STORAGE_SUFFIX, package_dialect
from ptfile.formats.pickle_sequence import CutPickle
from ptfile.formats.scan_report import PickleReport, Verdict
from ptfile.formats.storages import LoadedStorages
from ptfile.formats.torchscript_pickles import SCRIPT, script_storages
from ptfile.formats.vocabulary import PLAIN, Dialect, policy
from ptfile.limits import Limits
from ptfile.machine.decoder import find_end
from ptfile.machine.inert import InertRecord
from ptfile.machine.infamous import does
from ptfile.machine.names import InertName
from ptfile.machine.opcodes import BY_CODE, CutOffError
from ptfile.machine.policy import Meaning, Policy
from ptfile.machine.recorder import MOST_FINDINGS, Finding, Recording, record, unread
from ptfile.machine.sketch import shortened
from ptfile.machine.sweep import looks_up, may_stray, names_from, opcodes_from
from ptfile.tensors.dtypes import DType
from ptfile.tensors.storage import Storage

_PROTO = re.compile(rb"\x80[\x00-\x05]")
_CAN_BE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
"""What can be a name in Python. Text that happens to be opcodes has others."""
_FRAME = BY_CODE[0x95].code
_FEW_OPCODES = 4
"""With so many opcodes behind a PROTO, broken bytes are a broken pickle rather than numbers of a tensor."""

PLAIN_POLICY = policy("error")
NOTHING = Policy({}, {})
"""What the small pickles of a file may name: nothing."""
SCRIPT_POLICY = policy("error", SCRIPT)
_JIT = "torch.jit._pickle"
_TABLE_NAMES: Mapping[tuple[str, str], Meaning] = {
    (_JIT, "build_tensor_from_id"): Meaning(call=lambda _number: InertRecord(_JIT, ())),
    # PyTorch 1.1 makes them without arguments, and gives them a state.
    **{("__main__", name): Meaning(new=lambda: InertRecord(_JIT, ())) for name in ("TensorID", "IntList")},
}
TABLE_POLICY = policy("error", replace(SCRIPT, names={**SCRIPT.names, **_TABLE_NAMES}))
"""For archives of TorchScript of PyTorch 1.0 to 1.2, whose pickles refer to a table of tensors."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the pickles of one place are run."""

    policy: Policy
    limits: Limits
    ids: Callable[[], Ids]
    """What persistent ids stand for, anew for each pickle."""
    reached: Callable[[bytes], bool]
    """Whether a load runs a pickle with these bytes."""


class Ids:
    """Stand-ins for what persistent ids stand for: storages of the right size, which have no bytes."""

    def __init__(self, *, is_package: bool = False) -> None:
        self.sizes: dict[str, int] = {}
        """Bytes of each storage, by its key."""
        self._is_package = is_package
        storages = LoadedStorages(self._make, None)
        self._by_text = storages.load
        self._of_five = script_storages(storages, STORAGE_SUFFIX if is_package else "")
        self._of_legacy = LoadedIds(storages).load

    def load(self, persistent_id: object) -> object:
        """Raises FormatError for what no format writes, UnsafeError for a storage class that is none."""
        if type(persistent_id) is tuple and persistent_id and type(persistent_id[0]) in (str, bytes):
            if self._is_package and persistent_id[0] == "reduce_package":
                return _packaged(*persistent_id[1:])
            if len(persistent_id) in (4, 6):
                return self._of_legacy(persistent_id)
            if self._is_package and len(persistent_id) == 5 and type(persistent_id[2]) is int:
                persistent_id = (*persistent_id[:2], str(persistent_id[2]), *persistent_id[3:])
            return self._of_five(persistent_id)
        if type(persistent_id) is str and persistent_id.endswith("None)"):
            return self._of_legacy(persistent_id)
        return self._by_text(persistent_id)

    def _make(self, key: str, nbytes: int, _dtype: DType | None) -> Storage:
        self.sizes[key] = nbytes
        return Storage.deferred(nbytes, unread)


class AnyIds(Ids):
    """The same for pickles of other programs: what no format of PyTorch writes is theirs."""

    def load(self, persistent_id: object) -> object:
        try:
            return super().load(persistent_id)
        except UnsafeError:
            raise
        except PtfileError:
            return unread()


def package_ids() -> Ids:
    """Those of a package, which also names functions that make objects."""
    return Ids(is_package=True)


def _packaged(*parts: Any) -> object:
    """([number,] function, arguments), as in `package_format`."""
    if len(parts) not in (2, 3):
        raise FormatError("a persistent id does not say how an object is made")
    function = parts[-2]
    if function != PACKAGED_SCRIPT and not isinstance(function, InertName):
        raise UnsafeError(f"a persistent id calls {function!s:.80}", name=str(function)[:80])
    return unread()


def package_policy(names: Iterator[str]) -> Policy:
    """For the resources of a package: the classes of its own code are data."""
    dialect: Dialect = package_dialect(names)
    return policy("error", dialect) if dialect is not PLAIN else PLAIN_POLICY


# one pickle


def may_begin(head: bytes) -> bool:
    """Whether bytes that begin like this can be a pickle. Cheap for the numbers of tensors."""
    if not head or head[0] not in BY_CODE:
        return False
    if _PROTO.match(head):
        return True
    try:
        find_end(head)
    except CutOffError:
        return True
    except FormatError:  # only a name before that is of interest, or another way to go on
        return may_stray(head, sys.maxsize) or any(True for _ in names_from(head, 0))
    return True


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of taking some bytes for a pickle."""

    report: PickleReport
    is_pickle: bool
    """Whether they are one, as far as can be seen, and not numbers or text that look like one."""
    recording: Recording
    ids: Ids


def judge(cut: CutPickle, reading: Reading, place: tuple[str, int | None]) -> Judged:
    """Run some bytes as a pickle. `place`: the record, and where that begins in the file."""
    ids = reading.ids()
    found = record(cut.data, reading.policy, ids.load, limits=reading.limits)
    behind = () if found.ended else tuple(_behind(cut.data, found.end, reading.policy))
    # If the bytes end where they were cut off for a reason (a limit, the end of the file), that is the fault.
    error = cut.fault if isinstance(found.fault, CutOffError) and cut.fault else found.fault
    findings = tuple(_moved(finding, cut.start) for finding in (*found.findings, *behind))
    report = PickleReport(
        record=place[0],
        offset=cut.start,
        nbytes=found.end,
        record_offset=place[1],
        verdict=_verdict(findings, found, error, cut.data),
        findings=findings,
        more=found.more,
        names=tuple(replace(use, offset=use.offset + cut.start) for use in found.names),
        more_names=found.more_names,
        fault=shortened(error.problem) if error else "",
        fault_offset=_fault_offset(found, cut) if error else None,
        reached=reading.reached(cut.data),
    )
    return Judged(report, _is_pickle(cut, found, behind), found, ids)


def with_trailing(report: PickleReport, nbytes: int, end: int) -> PickleReport:
    """The report on a pickle that bytes follow which are none."""
    fault = f"{nbytes} bytes follow the end of the pickle"
    verdict = Verdict.MALFORMED if report.verdict is Verdict.CLEAN else report.verdict
    return replace(report, verdict=verdict, fault=report.fault or fault, fault_offset=report.fault_offset or end)


def _is_pickle(cut: CutPickle, found: Recording, behind: tuple[Finding, ...]) -> bool:
    data = cut.data
    if _PROTO.match(data):
        if found.ended or found.names or behind or isinstance(found.fault, CutOffError) or data[2] == _FRAME:
            return True
        few = sum(1 for _ in islice(opcodes_from(data, 0), _FEW_OPCODES)) < _FEW_OPCODES
        return not few or may_stray(data, cut.rest)
    known = any(finding.does for finding in (*found.findings, *behind))
    if known or (found.names and (found.ended or found.calls)):
        return True
    if may_stray(data, cut.rest) or looks_up(data):
        return True
    # Where its opcodes go on to a STOP, and one names something, some reader might run it whatever else is wrong.
    return cut.fault is None and any(True for _ in names_from(data, 0))


def _behind(data: bytes, start: int, rules: Policy) -> Iterator[Finding]:
    """What a reader that goes on behind the fault would find named there, as far as a load refuses it."""
    left = {True: MOST_FINDINGS, False: MOST_FINDINGS}
    for position, module, name in names_from(data, 0):
        if position >= start and _CAN_BE.fullmatch(f"{module[:200]}.{name[:200]}") and rules.find(module, name) is None:
            words = does(module, name)
            if left[bool(words)]:
                left[bool(words)] -= 1
                full = shortened(f"{module[:200]}.{name[:200]}")
                yield Finding("names", full, position, None, "", words, f"the pickle names {full}", behind_fault=True)


def _moved(finding: Finding, start: int) -> Finding:
    called_at = None if finding.called_at is None else finding.called_at + start
    return replace(finding, offset=finding.offset + start, called_at=called_at) if start else finding


def _verdict(findings: tuple[Finding, ...], found: Recording, error: PtfileError | None, data: bytes) -> Verdict:
    if findings or found.more:
        return Verdict.UNSAFE
    if error is None:
        return Verdict.CLEAN
    is_cut = isinstance(found.fault, CutOffError) or isinstance(error, LimitError) or _is_cut_frame(data[found.end :])
    return Verdict.INCOMPLETE if is_cut else Verdict.MALFORMED


def _is_cut_frame(data: bytes) -> bool:
    """Whether these bytes begin with a frame that is longer than they are."""
    return data[:1] == bytes([_FRAME]) and int.from_bytes(data[1:9], "little") > len(data) - 9


def _fault_offset(found: Recording, cut: CutPickle) -> int:
    at = found.end if found.fault is None or found.fault.offset is None else found.fault.offset
    return at + cut.start

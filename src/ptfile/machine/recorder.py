"""Run a pickle to its end and take note of all that a load would refuse, instead of stopping at the first.

The real policy of the load is asked about each name, call and state. Where it refuses, that is noted and the pickle
goes on with a stand-in, which keeps nothing and runs nothing. So what a scan says cannot drift from what a load does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NoReturn

from ptfile.errors import FormatError, PtfileError, UnsafeError, UnsupportedError
from ptfile.limits import Limits
from ptfile.machine.infamous import does
from ptfile.machine.opcodes import Argument
from ptfile.machine.policy import Policy, TypeRules
from ptfile.machine.sketch import Unknown, call_text, shortened
from ptfile.machine.vm import Machine, Python2Text

MOST_FINDINGS = 100
"""Findings that are kept of one pickle; and as many more of those that are known for what they do."""
MOST_NAMES = 1_000
"""Names that are listed of one pickle."""
_LONGEST_NAME = 1 << 16
"""Characters above which a name is refused unasked: building a message of it each time would take too long."""
_SHOWN = 200
"""Characters of each half of a name that are shown."""
_STOP = b"."
_ACTIONS = {"call": "calls", "new": "makes"}
_TEXT = Python2Text("latin1")
"""Any bytes are text: no string may hide what comes behind it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in a pickle that a load refuses."""

    action: str
    """`names` (a name that nothing calls), `calls`, `makes` (an instance, without its `__init__`), `sets` (the state of
    an object), `asks for` (a persistent id), `gives` (to a function of the table, what it must not get)."""
    name: str
    """What is named, called or made: `os.system`."""
    offset: int
    """Of the opcode with the name if it is named there, else of the call: where a load stops."""
    called_at: int | None
    """Of the opcode that calls it; None if nothing does."""
    call: str
    """The call as Python would write it, as far as its arguments are known; empty if nothing calls it."""
    does: str
    """What the name is known to do, to follow "which"; empty for a name that is not known for anything."""
    reason: str
    """The load's own words."""
    behind_fault: bool = False
    """Whether it stands behind a fault, where a load no longer is, and another reader might go on."""


@dataclass(frozen=True, slots=True)
class NameUse:
    """A name in a pickle, however often it is there."""

    name: str
    """`torch._utils._rebuild_tensor_v2`."""
    count: int
    offset: int
    """Of its first opcode."""
    allowed: bool
    """Whether a load knows it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What came of running one pickle."""

    value: Any
    """Its value, with stand-ins in it; None where it has no end."""
    end: int
    """Behind its STOP; or the place of the fault."""
    fault: PtfileError | None
    """What ended it before its STOP, or the first thing in it that makes no sense; None if it is sound."""
    ended: bool
    """Whether it was run up to its STOP."""
    findings: tuple[Finding, ...]
    more: int
    """Findings that were not kept."""
    names: tuple[NameUse, ...]
    more_names: int
    calls: int
    """Names that were called, allowed or not."""


class UnreadError(PtfileError):
    """A storage was asked for its bytes, which a scan does not read."""


def record(
    data: bytes,
    policy: Policy,
    load_persistent: Callable[[object], object],
    *,
    limits: Limits | None = None,
    start: int = 0,
) -> Recording:
    """Run the pickle that begins at `start`, under a policy that refuses unknown names. Raises nothing.

    load_persistent: what persistent ids stand for; what it refuses is noted as well. Its storages may raise UnreadError
        for their bytes.
    """
    recorder = _Recorder(policy)
    machine = _RecordingMachine(recorder, recorder.persistent(load_persistent), limits=limits, text=_TEXT)
    recorder.machine = machine
    value, end, ended, fault = None, start, False, None
    try:
        value, end = machine.run(data, start)
        ended = True
    except UnsafeError as error:
        recorder.refused(error, "calls", error.name, error.name)
        end = machine.position
    except PtfileError as error:
        fault, end = error, machine.position if error.offset is None else error.offset
        if end == machine.position and data[end : end + 1] == _STOP:  # what is wrong is only what it leaves behind
            end, ended, recorder.fault = end + 1, True, recorder.fault or error
    return recorder.recording(value, end, ended, recorder.fault if ended else fault)


class _Recorder:
    """The rules for a machine: those of a policy, with notes where that refuses."""

    machine: Machine

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._findings: list[Finding] = []
        self._kept = {True: 0, False: 0}
        self._more = 0
        self._names: dict[tuple[str, str], list[Any]] = {}  # count, offset, allowed
        self._more_names = 0
        self._refused: dict[tuple[str, str], Unknown] = {}
        self._parts: dict[int, tuple[str, str]] = {}  # of refused names, by identity
        self._named: dict[int, int] = {}  # a refused name by identity: its finding that nothing has called yet
        self._offsets: dict[int, int] = {}  # a refused name by identity: where it was named last
        self._rules: dict[type, TypeRules] = {Unknown: _ANYTHING}
        self._calls = 0
        self._differs = False  # whether values are no longer those that a load would have
        self.fault: PtfileError | None = None

    def recording(self, value: Any, end: int, ended: bool, fault: PtfileError | None) -> Recording:
        names = tuple(
            NameUse(shortened(f"{module[:_SHOWN]}.{name[:_SHOWN]}"), count, offset, allowed)
            for (module, name), (count, offset, allowed) in self._names.items()
        )
        found = tuple(self._findings)
        return Recording(value, end, fault, ended, found, self._more, names, self._more_names, self._calls)

    # what the machine asks

    def resolve(self, module: str, name: str) -> Any:
        key = (module, name)
        known = self._refused.get(key)
        if known is None:
            try:
                value = _resolved(self._policy, module, name)
            except UnsafeError as error:
                known = self._refused[key] = Unknown(shortened(f"{module[:_SHOWN]}.{name[:_SHOWN]}"))
                self._parts[id(known)] = (module[:_SHOWN], name[:_SHOWN])
                reason = error.problem
            else:
                self._note_name(key, allowed=True)
                return value
        else:
            reason = f"the pickle names {known}"
        self._note_name(key, allowed=False)
        self._differs = True
        self._offsets[id(known)] = self.machine.position
        words = does(*self._parts[id(known)])
        slot = self._keep(Finding("names", known.name, self.machine.position, None, "", words, reason))
        if slot is not None:
            self._named[id(known)] = slot
        return known

    def call(self, target: Any, arguments: Any) -> Any:
        self._calls += 1
        if type(target) is Unknown:
            return self._called("calls", target, arguments)
        return self._built(target, arguments, "call", lambda: self._policy.call(target, arguments))

    def new(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None) -> Any:
        self._calls += 1
        if type(target) is Unknown:
            return self._called("makes", target, (*arguments, keywords) if keywords else arguments)
        return self._built(target, arguments, "new", lambda: self._policy.new(target, arguments, keywords))

    def rules(self, kind: type) -> TypeRules:
        found = self._rules.get(kind)
        if found is None:
            found = self._rules[kind] = self._noting(kind, self._policy.rules(kind))
        return found

    def may_be_key(self, kind: type) -> bool:
        if kind is not Unknown and not self._policy.may_be_key(kind):
            self._note_fault(FormatError(f"a {kind.__name__} cannot be a key of a dict or an element of a set"))
        return True

    def persistent(self, load: Callable[[object], object]) -> Callable[[object], object]:
        """The same look-up of persistent ids, with notes."""

        def noting(persistent_id: object) -> object:
            try:
                return load(persistent_id)
            except UnsafeError as error:
                self.refused(error, "asks for", error.name, call_text("persistent_load", (persistent_id,)))
            except PtfileError as error:
                self._note_fault(error)
            return self._stand_in("an object of a persistent id")

        return noting

    def extension(self, code: object) -> Unknown:
        """A name that the program has registered under a number."""
        name = f"copyreg extension {code!r}"
        reason = "the pickle uses an extension code, a number for a name that programs register"
        self._differs = True
        self._keep(Finding("names", name, self.machine.position, None, "", "", reason))
        return Unknown(name)

    # notes

    def refused(self, error: UnsafeError, action: str, name: str, call: str) -> None:
        """Note what the policy or a builder refused at this opcode."""
        self._differs = True
        offset = self.machine.position
        self._keep(Finding(action, shortened(name), offset, offset, shortened(call), _words(name), error.problem))

    def _built(self, target: Any, arguments: Any, how: Literal["call", "new"], build: Callable[[], object]) -> Any:
        try:
            return build()
        except UnsafeError as error:
            name = _name_of(target)
            action = "gives" if self._policy.builds(target, how) else _ACTIONS[how]
            self.refused(error, action, name, call_text(name, arguments))
        except PtfileError as error:
            self._note_fault(error)
        return self._stand_in("a result")

    def _called(self, action: str, target: Unknown, arguments: Any) -> Unknown:
        """A call of what was refused already."""
        slot = self._named.pop(id(target), None)
        position = self.machine.position
        parts = self._parts.get(id(target))
        words = does(*parts) if parts else ""
        if slot is None and self._kept[bool(words)] >= MOST_FINDINGS:
            self._more += 1
            return self._stand_in("a result")
        text = call_text(target.name, arguments)
        if slot is not None:
            self._findings[slot] = replace(self._findings[slot], action=action, called_at=position, call=text)
        else:
            offset = self._offsets.get(id(target), position)
            reason = f"the pickle calls {target}"
            self._keep(Finding(action, target.name, offset, position, text, words, reason))
        return Unknown(text)

    def _stand_in(self, name: str) -> Unknown:
        self._differs = True
        return Unknown(name)

    def _note_fault(self, error: PtfileError) -> None:
        """Of what makes no sense; once values differ from a load's, what follows from that is no fault."""
        tells_nothing = isinstance(error, UnreadError | UnsupportedError)
        if self.fault is None and not self._differs and not tells_nothing:
            if error.offset is None and error.record is None:
                error.offset = self.machine.position
            self.fault = error
        self._differs = True

    def _keep(self, finding: Finding) -> int | None:
        """The place among the findings; None if there are too many."""
        known = bool(finding.does)
        if self._kept[known] >= MOST_FINDINGS:
            self._more += 1
            return None
        self._kept[known] += 1
        self._findings.append(finding)
        return len(self._findings) - 1

    def _note_name(self, key: tuple[str, str], *, allowed: bool) -> None:
        use = self._names.get(key)
        if use is not None:
            use[0] += 1
        elif len(self._names) < MOST_NAMES:
            self._names[key] = [1, self.machine.position, allowed]
        else:
            self._more_names += 1

    def _noting(self, kind: type, real: TypeRules) -> TypeRules:
        """The rules for a type, which note what they refuse and go on."""
        name = kind.__name__

        def noting(rule: Callable[[Any, Any], object] | None, problem: str) -> Callable[[Any, Any], object]:
            def act(target: Any, given: Any) -> None:
                if rule is None:
                    self._note_fault(FormatError(problem))
                    return
                try:
                    rule(target, given)
                except UnsafeError as error:
                    self.refused(error, "sets", error.name, "")
                except PtfileError as error:
                    self._note_fault(error)
                except Exception as error:  # noqa: BLE001  (whatever a library makes of a hostile file's values)
                    self._note_fault(FormatError(f"{problem}, which fails ({type(error).__name__})"))

            return act

        is_plain = kind in (list, dict, set)  # what their own methods do cannot fail
        return TypeRules(
            real.extend if is_plain and real.extend else noting(real.extend, f"the pickle appends to a {name}"),
            real.update if is_plain and real.update else noting(real.update, f"the pickle stores items in a {name}"),
            real.add if is_plain and real.add else noting(real.add, f"the pickle adds elements to a {name}"),
            noting(real.set_state, f"the pickle gives a state to a {name}"),
            unguarded=real.unguarded,
            weigh=real.weigh,
        )


class _RecordingMachine(Machine):
    """A machine that asks about every name each time, and goes on behind an extension code."""

    _policy: _Recorder

    def _push_name(self, module: str, name: str) -> None:
        self._stack.append(self._policy.resolve(module, name))

    def _note_extension(self, argument: Argument) -> None:
        self._stack.append(self._policy.extension(argument))

    _actions: ClassVar[Mapping[str, Callable[[Any, Argument], None]]] = {
        **Machine._actions,  # noqa: SLF001  (its own class's)
        **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _note_extension),
    }


def _resolved(policy: Policy, module: str, name: str) -> Any:
    if len(module) + len(name) > _LONGEST_NAME:
        raise UnsafeError("the pickle names something of a name too long to tell", name=module[:_SHOWN])
    return policy.resolve(module, name)


def _nothing(_target: Any, _given: Any) -> None:
    """A stand-in keeps nothing."""


_ANYTHING = TypeRules(_nothing, _nothing, _nothing, _nothing)


def unread() -> NoReturn:
    """What a storage does that a scan is asked the bytes of."""
    raise UnreadError("a scan does not read tensors")


def _name_of(target: Any) -> str:
    if isinstance(target, type) and type(target) is type:
        return f"{target.__module__}.{target.__qualname__}"
    return shortened(str(target)) if hasattr(target, "module") else f"a {type(target).__name__}"


def _words(name: str) -> str:
    module, _, function = name.rpartition(".")
    return does(module, function)

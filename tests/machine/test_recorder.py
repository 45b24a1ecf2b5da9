"""The recorder: it notes what a load refuses, goes on to the end, and runs nothing."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest

import ptfile
from ptfile.formats.vocabulary import policy
from ptfile.machine.infamous import does
from ptfile.machine.recorder import MOST_FINDINGS, MOST_NAMES, Recording, record
from ptfile.machine.sketch import MOST_CHARACTERS, call_text, sketch
from ptfile.machine.sweep import names_from
from tests.hostile.pickle_assembler import NONE, PROTO, STOP, call, keep, kept, name, plain, tuple_of

SYSTEM = name("os", "system")
LIST_FILES = plain("ls")


def run(body: bytes) -> Recording:
    return record(PROTO + body + STOP, policy("error"), lambda persistent_id: persistent_id)


def found(recording: Recording) -> list[tuple[str, str]]:
    """What was done, and with what."""
    return [(finding.action, finding.call or finding.name) for finding in recording.findings]


CALLS = {
    "REDUCE": call(SYSTEM, LIST_FILES),
    "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93" + tuple_of(LIST_FILES) + b"R",
    "INST": b"(" + LIST_FILES + b"ios\nsystem\n",
    "OBJ": b"(" + SYSTEM + LIST_FILES + b"o",
    "OBJ, popped": b"(" + SYSTEM + LIST_FILES + b"o0N",
    "REDUCE, popped": call(SYSTEM, LIST_FILES) + b"0N",
    "POP_MARK": b"(" + call(SYSTEM, LIST_FILES) + b"1N",
    "names from the memo": plain("os") + keep(900) + plain("system") + keep(901)
    + kept(900) + kept(901) + b"\x93" + tuple_of(LIST_FILES) + b"R",
    "names that are STRING": b"S'os'\nS'system'\n\x93" + tuple_of(LIST_FILES) + b"R",
    "the function from the memo": SYSTEM + keep(900) + call(kept(900), LIST_FILES),
    "a name with dots": name("torch", "serialization.os.system") + tuple_of(LIST_FILES) + b"R",
    "a Python 2 name": call(name("__builtin__", "eval"), LIST_FILES),
    "NEWOBJ": name("subprocess", "Popen") + tuple_of(LIST_FILES) + b"\x81",
    "NEWOBJ_EX": name("subprocess", "Popen") + tuple_of(LIST_FILES) + b"}\x92",
    "in a dict's key": b"}" + call(SYSTEM, LIST_FILES) + NONE + b"s",
    "as a persistent id": call(SYSTEM, LIST_FILES) + b"Q",
    "behind BUILD": call(SYSTEM, LIST_FILES) + b"}b",
}  # fmt: skip
"""Ways to call something with "ls"."""


@pytest.mark.parametrize("body", CALLS.values(), ids=CALLS)
def test_a_call_is_noted_however_it_is_made(body: bytes) -> None:
    """One finding with the name and its argument; the pickle goes on to its end."""
    recording = run(body)
    (finding,) = recording.findings
    assert finding.action in ("calls", "makes")
    assert finding.call.startswith(f"{finding.name}('ls'")
    assert finding.does
    assert finding.called_at is not None
    assert recording.ended
    assert recording.fault is None
    assert recording.end == len(PROTO + body + STOP)


def test_a_finding_tells_where_its_name_and_its_call_stand() -> None:
    """Bytes from the start of the pickle."""
    (finding,) = run(b"N0" + call(SYSTEM, LIST_FILES)).findings
    assert finding.offset == 4
    assert finding.called_at == 4 + len(SYSTEM) + len(tuple_of(LIST_FILES))


def test_each_call_of_one_name_is_a_finding() -> None:
    """Though it is named once."""
    recording = run(SYSTEM + keep(9) + b"](" + call(kept(9), plain("a")) + call(kept(9), plain("b")) + b"e")
    assert found(recording) == [("calls", "os.system('a')"), ("calls", "os.system('b')")]


def test_a_name_that_nothing_calls_is_noted() -> None:
    """A load refuses it, and who imports it has run its module already."""
    recording = run(SYSTEM + b"0N")
    assert found(recording) == [("names", "os.system")]
    assert recording.findings[0].called_at is None


def test_an_extension_code_is_noted_with_its_call() -> None:
    """What it stands for is known to the program alone."""
    recording = run(call(b"\x82\x07", LIST_FILES))
    assert found(recording) == [("names", "copyreg extension 7"), ("calls", "copyreg extension 7('ls')")]


def test_a_call_then_garbage_gives_both() -> None:
    """The finding, and the fault behind it."""
    recording = run(call(SYSTEM, LIST_FILES) + b"0\xff\xff")
    assert found(recording) == [("calls", "os.system('ls')")]
    assert not recording.ended
    assert recording.fault is not None
    assert "0xff" in str(recording.fault)
    assert recording.end == len(PROTO + call(SYSTEM, LIST_FILES)) + 1


def test_what_a_load_lets_pass_is_no_finding() -> None:
    """The names are told all the same, with their number."""
    recording = run(tuple_of(call(name("collections", "OrderedDict")), call(name("collections", "OrderedDict"))))
    assert (recording.findings, recording.fault) == ((), None)
    (use,) = recording.names
    assert (use.name, use.count, use.offset, use.allowed) == ("collections.OrderedDict", 2, 3, True)
    assert recording.calls == 2


def test_what_a_builder_refuses_is_noted_with_its_arguments() -> None:
    """The name is in the table; what it is given is not harmless."""
    rebuild = name("torch._tensor", "_rebuild_from_type_v2")
    body = call(rebuild, SYSTEM, name("torch", "Tensor"), tuple_of(LIST_FILES), NONE)
    assert found(run(body)) == [
        ("names", "os.system"),
        ("gives", "torch._tensor._rebuild_from_type_v2(os.system, torch.Tensor, ('ls'), None)"),
    ]
    assert found(run(call(name("_codecs", "encode"), LIST_FILES, plain("rot13")))) == [
        ("gives", "_codecs.encode('ls', 'rot13')")
    ]


def test_a_state_that_a_load_refuses_is_noted() -> None:
    """An attribute that would hide a method."""
    state = b"}" + plain("__class__") + NONE + b"s"
    assert found(run(call(name("collections", "OrderedDict")) + state + b"b")) == [("sets", "__class__")]


def test_what_makes_no_sense_is_a_fault_and_not_the_end() -> None:
    """A call behind it is still found: another reader may be less strict."""
    recording = run(tuple_of(call(name("fractions", "Fraction"), NONE, NONE), call(SYSTEM, LIST_FILES)))
    assert found(recording) == [("calls", "os.system('ls')")]
    assert recording.ended
    assert isinstance(recording.fault, ptfile.FormatError)


@pytest.mark.parametrize(
    "body",
    [b")" + NONE + b"a", b")" + NONE + NONE + b"s", b")(" + NONE + b"\x90", b"\x8f" + NONE + b"b", b"]" + NONE + b"b"],
    ids=["append", "set item", "add", "state of a set", "state of a list"],
)
def test_an_opcode_that_does_not_fit_is_a_fault(body: bytes) -> None:
    """And nothing else."""
    recording = run(body)
    assert (recording.findings, recording.ended) == ((), True)
    assert isinstance(recording.fault, ptfile.FormatError)
    assert recording.fault.offset == len(PROTO + body) - 1


def test_values_left_at_the_end_are_a_fault() -> None:
    """It was read to its STOP."""
    recording = run(NONE + NONE)
    assert recording.ended
    assert recording.end == 5
    assert isinstance(recording.fault, ptfile.FormatError)


def test_findings_are_bounded_and_the_worst_are_kept() -> None:
    """Harmless names do not crowd out the one that is known for harm; the number of the others is told."""
    others = b"".join(name("a", f"b{number}") + b"0" for number in range(3 * MOST_FINDINGS))
    recording = run(others + call(SYSTEM, LIST_FILES))
    assert len(recording.findings) == MOST_FINDINGS + 1
    assert recording.more == 2 * MOST_FINDINGS
    assert recording.findings[-1].call == "os.system('ls')"


def test_names_are_bounded() -> None:
    """With the number of those left out."""
    recording = run(b"".join(name("a", f"b{number}") + b"0" for number in range(MOST_NAMES + 7)) + NONE)
    assert (len(recording.names), recording.more_names) == (MOST_NAMES, 7)


def shared_lists(depth: int) -> bytes:
    body = b"]"
    for number in range(depth):
        body += b"r" + number.to_bytes(4, "little") + b"0](" + kept(number) * 10 + b"e"
    return body


@pytest.mark.parametrize(
    "argument",
    [shared_lists(30), b"]" + keep(1) + kept(1) + kept(1) + b"a", b"K\x00" * 1 + b"\x85" * 20_000,
     plain("x" * 1_000_000), plain(10**4000), plain(list(range(100_000)))],
    ids=["shared", "itself", "deep", "long", "huge", "many"],
)  # fmt: skip
def test_arguments_are_told_without_a_walk_into_them(argument: bytes) -> None:
    """In a bounded text, at once."""
    start = time.process_time()
    (finding,) = run(call(SYSTEM, argument)).findings
    assert finding.call.startswith("os.system(")
    assert len(finding.call) <= MOST_CHARACTERS
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "piece",
    [SYSTEM + b"0", call(SYSTEM, LIST_FILES) + b"0", kept(0) + kept(1) + b"\x930", b"\x82\x010", b")Na0",
     kept(2) + b")R0"],
    ids=["names", "calls", "long names", "codes", "faults", "calls of one"],
)  # fmt: skip
def test_the_time_is_linear_in_the_number_of_findings(piece: bytes) -> None:
    """Ten times as many take about ten times as long."""
    setup = plain("m" * 1_000_000) + keep(0) + plain("n") + keep(1) + SYSTEM + keep(2)

    def seconds(count: int) -> float:
        body = setup + piece * count + NONE
        start = time.process_time()
        assert run(body).ended
        return time.process_time() - start

    seconds(100)
    assert seconds(20_000) < 40 * max(seconds(2_000), 0.005)


def test_text_of_any_bytes_hides_nothing() -> None:
    """Strings of Python 2 that are no UTF-8, before a call."""
    assert found(run(b"U\x02\xff\xfe0" + call(SYSTEM, LIST_FILES))) == [("calls", "os.system('ls')")]


@pytest.mark.parametrize("protocol", range(6))
def test_what_picklers_write_is_run_to_its_end(protocol: int) -> None:
    """Their calls are found in every protocol."""
    data = pickle.dumps([Harm(), {"a": (1, 2.5, None, "x", b"y")}, {1, 2}], protocol)
    recording = record(data, policy("error"), lambda persistent_id: persistent_id)
    assert recording.ended
    assert recording.end == len(data)
    assert [finding.does for finding in recording.findings] == ["runs Python code"]


class Harm:
    def __reduce__(self) -> Any:
        return eval, ("1 + 1",)


@pytest.mark.parametrize(
    ("module", "function", "words"),
    [
        ("posix", "system", "runs a shell command"),
        ("nt", "system", "runs a shell command"),
        ("subprocess", "Popen", "starts a program"),
        ("builtins", "exec", "runs Python code"),
        ("__builtin__", "execfile", "runs Python code"),
        ("runpy", "run_path", "runs Python code"),
        ("webbrowser", "open", "opens a web page"),
        ("torch.hub", "load", "downloads code and runs it"),
        ("ctypes", "CDLL", "calls native code"),
        ("importlib", "import_module", "imports code"),
        ("torch.storage", "_load_from_bytes", "unpickles other data, without any check"),
        ("my.models", "Net", ""),
    ],
)
def test_names_known_for_harm_are_told_in_words(module: str, function: str, words: str) -> None:
    """Others have none, and are refused as well."""
    assert does(module, function) == words
    assert run(name(module, function) + b"0N").findings[0].does == words


def test_a_sketch_is_short() -> None:
    """Levels, items and texts are cut."""
    assert sketch([[1, [2]], "x" * 200]) == f"[[1, a list], '{'x' * 100}'… (200 characters)]"
    assert (
        sketch({"a": 1, b"b": 1.5, "c": {1: 2}, "d": None, "e": 0}) == "{'a': 1, b'b': 1.5, 'c': {1: 2}, 'd': None, …}"
    )
    assert call_text("f", [1]) == "f(*[1])"


def test_the_names_behind_a_fault_are_found() -> None:
    """By GLOBAL, INST and STACK_GLOBAL, up to where no opcode can be read."""
    data = (
        b"\xff"
        + SYSTEM
        + b"(iposix\nexecv\n"
        + plain("os")
        + keep(3)
        + plain("popen")
        + kept(3)
        + b"0"
        + b"\xff"
        + SYSTEM
    )
    assert [names[1:] for names in names_from(data, 1)] == [("os", "system"), ("posix", "execv")]
    texts = b"\x8c\x02os\x94\x8c\x05popen\x94\x930h\x00h\x01\x93"
    assert list(names_from(texts, 0)) == [(13, "os", "popen"), (19, "os", "popen")]

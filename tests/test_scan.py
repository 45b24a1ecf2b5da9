"""`ptfile.scan`: it says clean exactly when a load does not refuse, and it runs nothing."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ptfile
from ptfile.formats.vocabulary import policy
from ptfile.machine.infamous import does
from tests.formats.zip_file import BAD_GLOBAL, EMPTY_DICT, GOLDEN, zip_of
from tests.golden.corpus import Corpus, files
from tests.hostile.pickle_assembler import (
    NONE,
    PROTO,
    STOP,
    call,
    checkpoint,
    keep,
    kept,
    name,
    plain,
    storage,
    tuple_of,
)
from tests.hostile.zip_builder import Entry, Zip

TENSOR = tuple_of(storage("FloatStorage", "0", plain(2)), plain(0), plain((2,)), plain((1,)), b"\x89", b"}")
STATE = tuple_of(plain(1), plain((0,)), call(name("numpy", "dtype"), plain("O8"), b"\x89", b"\x88"), b"\x89", b"]")
BODIES = {
    "nothing": NONE,
    "a tensor": name("torch._utils", "_rebuild_tensor_v2") + TENSOR + b"R",
    "a parameter": call(name("torch._utils", "_rebuild_parameter"),
                        name("torch._utils", "_rebuild_tensor_v2") + TENSOR + b"R", b"\x88", b"}"),
    "a counter": call(name("collections", "Counter"), b"}"),
    "a size": call(name("torch", "Size"), plain((1, 2))),
    "os.system": call(name("os", "system"), plain("ls")),
    "a Python 2 name": call(name("__builtin__", "eval"), plain("1")),
    "a Python 2 name that is harmless": call(name("__builtin__", "set"), plain([1])),
    "a name never used": name("os", "system") + b"0N",
    "a harmless name never used": name("torch", "float32") + b"0N",
    "a name with dots": name("collections", "OrderedDict.fromkeys") + b"0N",
    "a name in a call": call(name("builtins", "getattr"), name("torch", "Tensor"), plain("foo")),
    "a class called": call(name("builtins", "int"), plain(5)),
    "a storage class called": call(name("torch", "FloatStorage"), plain(5)),
    "a class made": name("collections", "OrderedDict") + b")\x81",
    "bytes by another codec": call(name("_codecs", "encode"), plain("x"), plain("zip")),
    "bytes": call(name("_codecs", "encode"), plain("x"), plain("latin1")),
    "a default factory": call(name("collections", "defaultdict"), name("os", "system")),
    "a builder that is none": call(name("torch._tensor", "_rebuild_from_type_v2"), name("builtins", "set"),
                                   name("torch", "Tensor"), tuple_of(), b"}"),
    "a storage that is none": storage("Tensor", "0", plain(2)),
    "an array of objects": call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"),
                                plain((0,)), plain(b"b")) + STATE + b"b",
    "an attribute that hides": call(name("collections", "OrderedDict")) + b"}" + plain("update") + NONE + b"sb",
    "an attribute": call(name("collections", "OrderedDict")) + b"}" + plain("_metadata") + NONE + b"sb",
    "an extension": b"\x82\x01",
    "an object of its own": name("__torch__", "Net") + b")\x81",
    "a result called": call(call(name("collections", "OrderedDict"))),
    "INST": b"(" + plain("ls") + b"ios\nsystem\n",
    "OBJ": b"(" + name("os", "system") + plain("ls") + b"o",
}  # fmt: skip
"""Bodies of pickles in the zip format; storage 0 has eight bytes."""


def outcome(data: bytes) -> str:
    """The class of the error that a load ends with, or nothing."""
    kinds = (ptfile.FormatError, ptfile.UnsafeError, ptfile.LimitError, ptfile.TensorError, ptfile.UnsupportedError)
    try:
        ptfile.load(io.BytesIO(data))
    except kinds as error:
        return next(kind.__name__ for kind in kinds if isinstance(error, kind))
    return ""


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_scan_agrees_with_a_load(body: bytes) -> None:
    """Unsafe, malformed or clean as the load raises UnsafeError, another error or none."""
    data = checkpoint(body, b"\0" * 8)
    report = ptfile.scan(io.BytesIO(data))
    (one,) = report.pickles
    error = outcome(data)
    assert (one.verdict is ptfile.Verdict.UNSAFE) == (error == "UnsafeError") == bool(one.findings)
    assert (one.verdict is ptfile.Verdict.CLEAN) == (error == "")
    assert report.refused_as == error
    assert one.reached


@pytest.mark.parametrize("unsafe", [True, False])
def test_the_bodies_are_of_both_kinds(unsafe: bool) -> None:
    """Else the test above would say little."""
    errors = [outcome(checkpoint(body, b"\0" * 8)) for body in BODIES.values()]
    assert sum((error == "UnsafeError") == unsafe for error in errors) >= 8


def test_a_scan_agrees_with_a_load_over_the_corpus(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For every file that PyTorch wrote, of every version and format."""
    corpus = Corpus(tmp_path_factory.mktemp("corpus"))
    wrong: list[str] = []
    refused = clean = 0
    for file in files():
        path = corpus.path(file)
        if not path.is_file() or path.suffix == ".gz":
            continue
        error = outcome(path.read_bytes())
        report = ptfile.scan(path)
        found = any(one.findings for one in report.pickles if one.reached)
        is_clean = report.verdict is (ptfile.Verdict.CLEAN if report.pickles else None)
        refused, clean = refused + (error == "UnsafeError"), clean + (error == "")
        if found != (error == "UnsafeError") or (error == "" and not is_clean) or report.refused_as != error:
            wrong.append(f"{file}: {error or 'loads'}, {report.verdict}, {report.refused_as}")
    assert wrong == []
    assert refused > 500
    assert clean > 3000


BROKEN = {
    "items of a list": (b"]NNs", "malformed"),
    "elements of a dict": (b"}Na", "malformed"),
    "an unhashable key": (b"}]Ns", "malformed"),
    "a tensor as a key": (b"}" + name("torch._utils", "_rebuild_tensor_v2") + TENSOR + b"RNs", "malformed"),
    "a key too deep": (b"})" + b"\x85" * 20_000 + b"Ns", "malformed"),
    "marks too deep": (b"(" * 5_000, "incomplete"),
    "a counter of texts": (call(name("collections", "Counter"), b"}NXx".replace(b"X", b"U\x01") + b"s"), "malformed"),
    "bytes beyond the end": (b"\x8e" + b"\xff" * 7 + b"\x7f", "incomplete"),
    "a negative length": (b"\x8b\xff\xff\xff\xff", "malformed"),
    "no number": (b"Ix1\n", "malformed"),
    "too many digits": (b"I" + b"9" * 10_000 + b"\n", "malformed"),
    "no UTF-8": (b"X\x01\0\0\0\xff", "malformed"),
    "a frame too long": (b"\x95\xff\xff\0\0\0\0\0\0N", "incomplete"),
    "no value": (b"a", "malformed"),
    "no mark": (b"Nt", "malformed"),
    "an open mark": (b"(N", "malformed"),
    "values left": (b"NN", "malformed"),
    "a key without a value": (b"}(Nu", "malformed"),
    "a memo entry that is not there": (b"h\x05", "malformed"),
    "a PROTO in the middle": (b"N0\x80\x02N", "malformed"),
    "no opcode": (b"\xff", "malformed"),
    "a persistent id that is none": (NONE + b"Q", "malformed"),
    "a key that is a path": (storage("FloatStorage", "../x", plain(2)), "malformed"),
    "a view outside of its storage": (name("torch._utils", "_rebuild_tensor_v2")
                                      + TENSOR.replace(plain((2,)), plain((3,))) + b"R", "malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "verdict"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_a_rule_is_told(body: bytes, verdict: str) -> None:
    """A load refuses it, and nothing in it would run."""
    report = ptfile.scan(io.BytesIO(checkpoint(body, b"\0" * 8)))
    (one,) = report.pickles
    assert (str(one.verdict), one.findings, one.reached) == (verdict, (), True)
    assert one.fault
    assert one.fault_offset is not None
    assert report.refused_as in ("FormatError", "LimitError", "TensorError")


@pytest.mark.parametrize(("body", "verdict"), BROKEN.values(), ids=BROKEN)
def test_a_call_before_the_fault_is_told_with_it(body: bytes, verdict: str) -> None:
    """Both: what was called, and what ended it."""
    del verdict
    report = ptfile.scan(io.BytesIO(checkpoint(call(name("os", "system"), plain("ls")) + b"0" + body)))
    assert [finding.call for finding in report.findings] == ["os.system('ls')"]
    assert report.verdict is ptfile.Verdict.UNSAFE


OPCODES = st.sampled_from(
    [
        *(
            b"N",
            b"(",
            b"t",
            b"]",
            b"}",
            b")",
            b"R",
            b"o",
            b"\x81",
            b"b",
            b"s",
            b"a",
            b"u",
            b"e",
            b"0",
            b"2",
            b"1",
            b"Q",
        ),
        *(
            b"\x85",
            b"\x86",
            b"\x87",
            b"\x8f",
            b"\x90",
            b"\x91",
            b"K\x01",
            b"\x92",
            b"\x93",
            b"h\x00",
            b"q\x00",
            b"\x82\x01",
        ),
        *(plain("x"), plain("os"), plain("system"), plain("storage"), plain("latin1"), plain(b"b"), plain((0,))),
        *(name("os", "system"), name("a.b", "C"), name("collections", "OrderedDict"), name("_codecs", "encode")),
        *(name("builtins", "set"), name("torch", "Size"), name("torch", "FloatStorage"), name("numpy", "dtype")),
        *(name("torch._tensor", "_rebuild_from_type_v2"), name("torch._utils", "_rebuild_tensor_v2")),
    ]
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(OPCODES, max_size=25))
def test_a_scan_agrees_with_a_load_on_random_pickles(pieces: list[bytes]) -> None:
    """What loads is clean; what a load finds unsafe first is a finding; nothing but a report comes out."""
    data = checkpoint(b"".join(pieces), b"\0" * 8)
    report = ptfile.scan(io.BytesIO(data))
    error = outcome(data)
    assert report.refused_as == error
    found = [finding for one in report.pickles for finding in one.findings]
    if error == "UnsafeError":
        assert found
    if error == "":
        assert report.verdict is ptfile.Verdict.CLEAN
    if not found and report.pickles and error:
        assert report.pickles[0].verdict is not ptfile.Verdict.CLEAN


def frame(inside: bytes) -> bytes:
    """FRAME, and what is in it."""
    return b"\x95" + len(inside).to_bytes(8, "little") + inside


class Dummy:
    """What stands for every name while Python's own unpickler runs: it takes whatever is done to it."""

    def __new__(cls, *_args: Any, **_keywords: Any) -> Any:
        return object.__new__(cls)

    def __call__(self, *_args: Any) -> Any:
        return Dummy()

    def __setstate__(self, state: Any) -> None: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
    def append(self, item: Any) -> None: ...
    def extend(self, items: Any) -> None: ...
    def add(self, item: Any) -> None: ...


def looked_up(data: bytes) -> set[tuple[str, str]]:
    """The names that Python's own unpickler asks for, in all pickles that stand one behind the other."""
    asked: set[tuple[str, str]] = set()

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            asked.add((module, name))
            return Dummy

        def persistent_load(self, _persistent_id: Any) -> Any:
            return Dummy()

    stream = io.BytesIO(data)
    with contextlib.suppress(Exception):
        while stream.tell() < len(data):
            Unpickler(stream, encoding="latin1").load()
    return asked


CALL = b"X\x02\0\0\0ls\x85R"
STRAYING = {
    "a frame ends in a name": frame(b"Ncabc") + b"os\nsystem\n" + CALL,
    "a frame ends in the length of a text": frame(b"X\0\0") + b"\2\0\0\0ab" + b"cos\nsystem\n" + CALL + bytes(1 << 18),
    "a frame ends in a text of no form": frame(b"Sx") + b"'a'\n0cos\nsystem\n" + CALL,
    "a frame in a frame": frame(b"N" + frame(b"NNN")[:-3] + b"U") + b"NNNcos\nsystem\n" + CALL,
    "a frame ends in a name of no form": b"\x80\x02(" + frame(b"i\xff") + b"a\nb\ncos\nsystem\n" + CALL,
    "a frame ends behind the pickle": frame(b"N.U\xff") + b"cos\nsystem\n" + CALL,
}


@pytest.mark.parametrize("data", STRAYING.values(), ids=STRAYING)
def test_bytes_that_python_s_unpickler_takes_for_others_are_a_pickle(data: bytes) -> None:
    """It buffers frames, and of a file loses what is left of one that ends too early: opcodes are then elsewhere."""
    assert ("os", "system") in looked_up(data)
    assert ptfile.scan(io.BytesIO(data)).verdict not in (None, ptfile.Verdict.CLEAN)


@pytest.mark.parametrize("between", [b"X\1\0\0\0x0", b"(X\1\0\0\0x1"])
def test_a_name_behind_a_fault_may_take_a_stack_to_be_told(between: bytes) -> None:
    """What the texts on it are is not known there. That there are some is."""
    data = b"N0\x80\x02" + b"X\2\0\0\0os" + between + b"X\6\0\0\0system\x93" + CALL
    assert ptfile.scan(io.BytesIO(data)).verdict not in (None, ptfile.Verdict.CLEAN)


def test_numbers_that_begin_as_a_frame_does_are_no_pickle() -> None:
    numbers = [np.array([0x95, 0, 0x4E], "<i8"), np.array([0x3_95, 0x4E4E_4E00, 5], "<i8"), np.full(8, 0x95, "u1")]
    for array in numbers:
        assert ptfile.scan(io.BytesIO(array.tobytes())).verdict is None


STRICT = st.sampled_from(
    [b"\x80\x02", b"\x80\x04", b"\x95\x03\0\0\0\0\0\0\0", b"\x95\x10\0\0\0\0\0\0\0", b".", b"ios\nsystem\n", b"S'os'\n"]
)


@settings(max_examples=2000, deadline=None)
@given(st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"\x80\x00"]), st.lists(OPCODES | STRICT, max_size=15))
def test_whatever_python_s_unpickler_looks_up_is_told(head: bytes, pieces: list[bytes]) -> None:
    """It is less strict: what it gets to is never called clean, nor no pickle at all if it could do harm."""
    data = head + b"".join(pieces)
    outside = {names for names in looked_up(data) if policy("error").find(*names) is None}
    report = ptfile.scan(io.BytesIO(data))
    if outside and (head or any(does(*names) for names in outside)):
        assert report.verdict not in (None, ptfile.Verdict.CLEAN)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["", "zip", "pickle", "legacy", "tar"]))
def test_any_bytes_give_a_report(data: bytes, kind: str) -> None:
    """Never an error."""
    if kind == "zip":
        data = Zip([Entry(content=data)]).build()
    elif kind == "pickle":
        data = PROTO + data
    elif kind == "legacy":
        data = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + data
    assert isinstance(ptfile.scan(io.BytesIO(data)), ptfile.Scan)


@pytest.mark.parametrize(
    "path", sorted(path for path in GOLDEN.iterdir() if path.suffix != ".json"), ids=lambda path: path.name
)
def test_any_cut_or_changed_file_gives_a_report(path: Path) -> None:
    """Truncation at every tenth, and a byte changed at every twentieth."""
    data = path.read_bytes()
    for part in range(10):
        assert isinstance(ptfile.scan(io.BytesIO(data[: len(data) * part // 10])), ptfile.Scan)
    for part in range(20):
        at = len(data) * part // 20
        changed = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        assert isinstance(ptfile.scan(io.BytesIO(changed)), ptfile.Scan)


WATCHED = """
import io, json, sys
import ptfile
from tests.everything import import_all
import_all()
import gzip, bz2, lzma, encodings.cp437, encodings.latin_1, encodings.unicode_escape, encodings.raw_unicode_escape
bodies = [bytes.fromhex(body) for body in json.load(sys.stdin)]
ptfile.scan(io.BytesIO(bodies[0]))
seen = []
allowed = {"object.__getattr__", "builtins.id"}
on = True
def hook(event, arguments):
    if on and event not in allowed:
        seen.append(event + " " + repr(arguments)[:100])
sys.addaudithook(hook)
verdicts = [str(ptfile.scan(io.BytesIO(body)).verdict) for body in bodies]
on = False
print(json.dumps([verdicts, seen]))
"""


def test_nothing_is_imported_run_or_opened(tmp_path: Path) -> None:
    """An audit hook sees no event at all while pickles are scanned that would do harm."""
    canary = tmp_path / "canary"
    touch = plain(f"touch {canary}")
    calls = [
        call(name("os", "system"), touch),
        call(name("builtins", "eval"), plain(f"open({str(canary)!r}, 'w')")),
        call(name("builtins", "exec"), plain("import this")),
        call(name("builtins", "open"), plain(str(canary)), plain("w")),
        call(name("subprocess", "Popen"), touch),
        call(name("importlib", "import_module"), plain("antigravity")),
        call(name("runpy", "run_path"), plain(str(canary))),
        call(name("webbrowser", "open"), plain("http://127.0.0.1:9")),
        call(name("socket", "create_connection"), tuple_of(plain("127.0.0.1"), plain(9))),
        call(name("ctypes", "CDLL"), plain("libc.so.6")),
        call(name("torch.hub", "load"), plain("a/b"), plain("c")),
        call(name("torch._tensor", "_rebuild_from_type_v2"), name("os", "system"), NONE, tuple_of(touch), NONE),
        b"(" + touch + b"ios\nsystem\n",
        b"(" + name("os", "system") + touch + b"o0N",
        plain("this") + keep(1) + plain("s") + keep(2) + kept(1) + kept(2) + b"\x93",
        b"\x82\x01",
    ]
    data = [form for body in calls for form in (checkpoint(body), PROTO + body + STOP)]
    data += [zip_of({"a.pt": checkpoint(calls[0])}, deflated=True).getvalue()]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        input=json.dumps([body.hex() for body in data]),
        capture_output=True,
        encoding="utf-8",
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verdicts, seen = json.loads(done.stdout)
    assert set(verdicts) == {"unsafe"}
    assert seen == []
    assert not canary.exists()


def test_a_path_a_file_object_and_its_position(tmp_path: Path) -> None:
    """What `f` may be."""
    path = tmp_path / "x.pkl"
    path.write_bytes(b"junk" + BAD_GLOBAL)
    with path.open("rb") as file:
        file.seek(4)
        report = ptfile.scan(file)
    assert report.verdict is ptfile.Verdict.UNSAFE
    path.write_bytes(EMPTY_DICT)
    report = ptfile.scan(path)
    assert (report.file, report.nbytes, report.verdict) == (str(path), 4, ptfile.Verdict.CLEAN)
    with pytest.raises(FileNotFoundError):
        ptfile.scan(tmp_path / "none")


def test_the_refusal_is_the_load_s_own() -> None:
    """Its words, and the class of its error."""
    data = checkpoint(BODIES["os.system"])
    with pytest.raises(ptfile.UnsafeError) as caught:
        ptfile.load(io.BytesIO(data))
    report = ptfile.scan(io.BytesIO(data))
    assert (report.refusal, report.refused_as) == (caught.value.problem, "UnsafeError")
    assert report.findings[0].offset == caught.value.offset
    assert report.findings[0].reason == caught.value.problem


def test_a_file_that_a_load_refuses_for_its_tensors_can_be_clean() -> None:
    """The scan is about what pickles do; the refusal says the rest."""
    report = ptfile.scan(io.BytesIO(checkpoint(BODIES["a tensor"], b"\0" * 4)))
    assert report.verdict is ptfile.Verdict.CLEAN
    assert report.refused_as == "TensorError"


def test_no_value_is_shared_with_the_report() -> None:
    """A report is plain data: it can be pickled."""
    report = ptfile.scan(io.BytesIO(checkpoint(BODIES["os.system"])))
    again: Any = pickle.loads(pickle.dumps(report))
    assert again == report

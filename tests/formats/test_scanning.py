"""Every pickle in a file is found, wherever it is; what is none is not taken for one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import pickletools
import random
import struct
import tarfile
import time
from collections.abc import Mapping
from typing import Any

import pytest

import ptfile
from ptfile.containers import zip_structs as zs
from ptfile.formats import scanning
from tests.formats import old_files
from tests.formats.old_files import Call, Name, floats, legacy, pickled, storage, tar, tensor
from tests.formats.zip_file import BAD_GLOBAL, EMPTY_DICT, EMPTY_TUPLE, zip_of
from tests.hostile.pickle_assembler import NONE, PROTO, call, checkpoint, name
from tests.hostile.zip_builder import Entry, Zip

HARM = BAD_GLOBAL
"""A pickle with a call of posix.system("ls")."""
UNSAFE, CLEAN, MALFORMED, INCOMPLETE = (
    ptfile.Verdict.UNSAFE,
    ptfile.Verdict.CLEAN,
    ptfile.Verdict.MALFORMED,
    ptfile.Verdict.INCOMPLETE,
)
SYSTEM = Call(Name("posix", "system"), ("ls",))


def scan(data: bytes) -> ptfile.Scan:
    return ptfile.scan(io.BytesIO(data))


def zipped(records: Mapping[str, bytes], root: str = "net/", **options: Any) -> bytes:
    return zip_of(records, root=root, **options).getvalue()


def verdicts(report: ptfile.Scan) -> dict[tuple[str, int], tuple[str, bool]]:
    """By record and offset: the verdict, and whether a load gets there."""
    return {(one.record, one.offset): (str(one.verdict), one.reached) for one in report.pickles}


# zip files


def test_every_record_of_a_checkpoint_is_looked_at() -> None:
    """Names mean nothing: a load ignores what a scan reports."""
    data = zipped(
        {"data.pkl": EMPTY_DICT, "data/0": b"\0" * 100, "data/1": HARM, "readme.txt": HARM, "version": b"3\n"}
    )
    report = scan(data)
    assert verdicts(report) == {
        ("net/data.pkl", 0): ("clean", True),
        ("net/data/1", 0): ("unsafe", False),
        ("net/readme.txt", 0): ("unsafe", False),
    }
    assert report.refusal == ""
    assert report.verdict is UNSAFE
    assert ptfile.load(io.BytesIO(data)) == {}


@pytest.mark.parametrize("deflated", [False, True])
def test_a_zip_file_that_is_no_checkpoint_is_looked_into(deflated: bool) -> None:
    """Stored and compressed records; text and pictures are no pickles."""
    report = scan(zipped({"a.txt": b"hello " * 99, "x.png": b"\x89PNG\r\n\x1a\n", "b": HARM}, "", deflated=deflated))
    assert verdicts(report) == {("b", 0): ("unsafe", False)}
    assert (report.pickles[0].record_offset is None) is deflated
    assert report.refused_as == "FormatError"


def test_offsets_lead_to_the_bytes() -> None:
    """Of the record in the file, of the name in the record."""
    data = zipped({"data.pkl": b"\x80\x02N0" + HARM[2:]})
    (report,) = scan(data).pickles
    (finding,) = report.findings
    assert report.record_offset is not None
    assert data[report.record_offset + finding.offset :].startswith(b"cposix\nsystem\n")
    assert finding.called_at is not None
    assert data[report.record_offset + finding.called_at :].startswith(b"R.")


def test_files_inside_files_are_looked_into() -> None:
    """Zip, tar, legacy and gzip files as records."""
    inner = zipped({"data.pkl": HARM})
    records = {"a.pt": inner, "b.tar": tar({"c.pkl": HARM}), "d.gz": gzip.compress(inner), "e.pt": legacy(SYSTEM)}
    assert {(one.record, str(one.verdict)) for one in scan(zipped(records, "")).pickles if one.findings} == {
        ("a.pt > net/data.pkl", "unsafe"),
        ("b.tar > c.pkl", "unsafe"),
        ("d.gz > unpacked > net/data.pkl", "unsafe"),
        ("e.pt", "unsafe"),
    }


def test_files_inside_files_have_an_end() -> None:
    """What is too deep is said, and makes the answer incomplete."""
    data = HARM
    for _ in range(10):
        data = zipped({"x": data}, "")
    report = scan(data)
    assert (report.verdict, len(report.problems)) == (INCOMPLETE, 1)
    assert "4 deep" in report.problems[0].problem


def test_torchscript_pickles_may_say_what_those_of_torchscript_say() -> None:
    """Classes of the archive are its data, in its code's pickles too; others are not."""
    own = b"\x80\x02c__torch__\nNet\n)\x81}b."
    records = {
        "data.pkl": own,
        "constants.pkl": EMPTY_TUPLE,
        "code/__torch__.py.debug_pkl": own[:-1] + b"\x85.",
        "bytecode.pkl": HARM,
    }
    assert verdicts(scan(zipped(records))) == {
        ("net/data.pkl", 0): ("clean", True),
        ("net/constants.pkl", 0): ("clean", True),
        ("net/code/__torch__.py.debug_pkl", 0): ("clean", False),
        ("net/bytecode.pkl", 0): ("unsafe", False),
    }
    assert scan(zipped({"data.pkl": own})).verdict is UNSAFE


def test_tables_of_the_oldest_torchscript() -> None:
    """`attributes.pkl` refers to tensors by number, in PyTorch 1.1 by a class of its own."""
    numbers = b"\x80\x02(c__main__\nTensorID\n)\x81K\x00bt."
    model = b'{"mainModule": {}, "tensors": []}'
    report = scan(zipped({"model.json": model, "attributes.pkl": numbers, "tensors/0": b"\0\0\0\0"}))
    assert verdicts(report) == {("net/attributes.pkl", 0): ("clean", True)}


def test_packages_may_name_their_own_code() -> None:
    """And nothing else; what they store by a function of theirs is told if that is someone else's."""
    thing = b"\x80\x03cmine\nThing\n)\x81}b."
    own = b"\x80\x03(X\x0e\x00\x00\x00reduce_packageK\x07cmine\nmake\nK\x01\x85tQ."
    other = own.replace(b"cmine\nmake\n", b"cposix\nsystem\n")
    records = {".data/extern_modules": b"", "mine.py": b"", "a.pkl": thing, "b.pkl": own}
    assert scan(zipped(records)).verdict is CLEAN
    report = scan(zipped({**records, "c.pkl": other, "d.pkl": HARM}))
    assert [one.record for one in report.pickles if one.verdict is UNSAFE] == ["net/c.pkl", "net/d.pkl"]
    assert report.pickles[2].findings[-1].action == "asks for"
    assert scan(zipped({"data.pkl": thing})).verdict is UNSAFE


def test_bytes_behind_a_checkpoint_s_pickle_are_a_fault() -> None:
    """What follows is looked at as well."""
    report = scan(zipped({"data.pkl": EMPTY_DICT + b"junk"}))
    assert (report.pickles[0].verdict, report.pickles[0].fault) == (MALFORMED, "4 bytes follow the end of the pickle")
    assert report.pickles[0].fault_offset == len(EMPTY_DICT)
    both = scan(zipped({"data.pkl": EMPTY_DICT + HARM}))
    assert verdicts(both)["net/data.pkl", len(EMPTY_DICT)] == ("unsafe", False)


def test_a_changed_record_is_told_and_its_pickle_all_the_same() -> None:
    """Whose checksum is wrong; other readers may not look at that."""
    data = zipped({"data.pkl": EMPTY_DICT, "x.pkl": HARM})
    report = scan(data.replace(b"ls\x85R.", b"LS\x85R."))
    assert [finding.call for finding in report.findings] == ["posix.system('LS')"]
    assert ["checksum" in problem.problem for problem in report.problems] == [True]


@pytest.mark.parametrize("method", [zs.STORED, zs.DEFLATED])
@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: Zip([entry]).build()[:-30],
        lambda entry: Zip([entry], before=b"#!/bin/sh\n").build()[10:] + b"more",
        lambda entry: Zip([entry, Entry(b"a/data.pkl", b"\x80\x02N.")]).build(),
        lambda entry: Zip([Entry(**{**vars(entry), "local_name": b"b/data.pkl"})]).build(),
        lambda entry: Zip([Entry(**{**vars(entry), "flags": entry.flags | 1})]).build(),
        lambda entry: Zip([Entry(**{**vars(entry), "crc": 5})]).build(),
        lambda entry: Zip([Entry(**{**vars(entry), "in_directory": False})]).build(),
    ],
    ids=["cut off", "bytes behind", "twice", "names differ", "encrypted", "checksum", "not in the directory"],
)
def test_a_broken_zip_file_hides_nothing(damage: Any, method: int) -> None:
    """A strict reader refuses it, and the call is found."""
    report = scan(damage(Entry(b"a/data.pkl", HARM, method)))
    assert "posix.system('ls')" in [finding.call for finding in report.findings]
    assert report.problems
    assert report.refusal


def test_a_zip_file_behind_something_else_is_looked_into() -> None:
    """As in a program that unpacks itself; a pickle may stand before it, too."""
    for before in (b"#!/bin/sh\n", PROTO + b"N."):
        report = scan(before + zipped({"data.pkl": HARM}))
        assert "posix.system('ls')" in [finding.call for finding in report.findings]
        assert "does not begin as one" in report.problems[0].problem


def test_zip_files_behind_one_another_are_all_looked_into() -> None:
    """As distributed checkpoints have them."""
    data = checkpoint(NONE) + checkpoint(call(name("os", "system")))
    report = scan(data)
    assert [(one.record, one.verdict) for one in report.pickles] == [
        ("zip file at byte 0 > a/data.pkl", CLEAN),
        (f"zip file at byte {len(checkpoint(NONE))} > a/data.pkl", UNSAFE),
    ]
    assert not report.problems


def test_records_that_unpack_forever_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a bound for each record, and one for all."""
    monkeypatch.setattr(scanning, "_MOST_UNPACKED", 1 << 20)
    part = zipped({"a": pickled("x" * 100_000)}, "", deflated=True)
    report = scan(zipped({str(number): part for number in range(40)}, "", deflated=True))
    assert report.verdict is INCOMPLETE
    assert len(report.pickles) == 10
    assert "too many bytes" in report.problems[0].problem


# legacy files


def test_all_five_pickles_of_a_legacy_file_are_looked_at() -> None:
    """And the elements behind them are not."""
    value = tensor(storage("7", 2), (2,))
    report = scan(legacy(value, ("7",), floats(1.5, 2.5)))
    assert [(one.verdict, one.reached) for one in report.pickles] == [(CLEAN, True)] * 5
    assert report.refusal == ""


@pytest.mark.parametrize("number", range(5))
def test_a_call_in_any_of_the_five(number: int) -> None:
    """A load refuses each of them."""
    parts: list[Any] = [old_files.MAGIC, 1001, old_files.SYS_INFO, {}, []]
    parts[number] = [SYSTEM] if number else SYSTEM
    data = b"".join(pickled(part) for part in parts)
    if number:
        assert [bool(one.findings) for one in scan(data).pickles].index(True) == number
    else:
        assert scan(data).pickles[0].findings
    with pytest.raises(ptfile.PtfileError):
        ptfile.load(io.BytesIO(data))


def test_the_small_pickles_of_a_legacy_file_name_nothing() -> None:
    """What the object may name, they may not."""
    data = legacy({}, sys_info=Call(Name("collections", "OrderedDict"), ()))
    report = scan(data)
    assert [bool(one.findings) for one in report.pickles] == [False, False, True, False, False]
    assert report.refused_as == "UnsafeError"


def test_checkpoints_behind_one_another_are_all_looked_at() -> None:
    """A load of the file reads the first, and one of the open file the next."""
    first = legacy(tensor(storage("7", 2), (2,)), ("7",), floats(1.5, 2.5))
    report = scan(first + legacy(SYSTEM) + HARM)
    assert [one.verdict for one in report.pickles] == [CLEAN] * 5 + [CLEAN] * 3 + [UNSAFE, CLEAN] + [UNSAFE]
    assert [one.reached for one in report.pickles] == [True] * 5 + [False] * 6
    assert report.pickles[8].findings[0].offset > len(first)


def test_a_legacy_file_that_is_cut_off_is_incomplete() -> None:
    """What it would have called before the end is told."""
    whole = legacy([SYSTEM, "x" * 100])
    assert scan(whole[:-60]).verdict is UNSAFE
    assert scan(legacy(["x" * 100])[:-60]).verdict is INCOMPLETE


# tar files


def tar_checkpoint(**members: bytes) -> bytes:
    sys_info = pickled({"little_endian": True})
    storages = pickled(1) + pickled(("1", "cpu", Name("torch", "FloatStorage"))) + floats(1.5, 2.5) + pickled([])
    tensors = pickled(1) + pickled(("2", "1", Name("torch", "FloatTensor"))) + struct.pack("<i4x3q", 1, 2, 1, 0)
    return tar({"sys_info": sys_info, "storages": storages, "tensors": tensors, "pickle": pickled({}), **members})


def test_the_pickles_of_a_tar_checkpoint() -> None:
    """Those between the numbers, too."""
    report = scan(tar_checkpoint())
    assert [one.record for one in report.pickles] == ["sys_info", *["storages"] * 3, *["tensors"] * 2, "pickle"]
    assert {one.verdict for one in report.pickles} == {CLEAN}
    assert all(one.reached for one in report.pickles)


@pytest.mark.parametrize("member", ["sys_info", "storages", "tensors", "pickle", "more"])
def test_a_call_in_any_member_of_a_tar_checkpoint(member: str) -> None:
    """Also in one that a load does not look at."""
    report = scan(tar_checkpoint(**{member: pickled(SYSTEM)}))
    assert [finding.call for finding in report.findings] == ["posix.system('ls')"]


def test_a_tar_archive_of_files_is_looked_into() -> None:
    """Whatever else is in it: folders and links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("models")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        link = tarfile.TarInfo("models/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for file, data in (("models/a.pt", zipped({"data.pkl": HARM})), ("models/b.txt", b"text\n")):
            info = tarfile.TarInfo(file)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert [one.record for one in scan(buffer.getvalue()).pickles] == ["models/a.pt > net/data.pkl"]
    assert [one.record for one in scan(gzip.compress(buffer.getvalue())).pickles] == [
        "unpacked > models/a.pt > net/data.pkl"
    ]


def test_a_tar_file_that_is_a_pickle_as_well_is_both() -> None:
    """The name of its first member begins a pickle."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("cposix\nsystem\n(S'ls'\ntR."))
    report = scan(buffer.getvalue())
    assert report.kind == "a tar file"
    assert "posix.system('ls')" in [finding.call for finding in report.findings]


# pickles by themselves


@pytest.mark.parametrize("protocol", range(6))
def test_bare_pickles_behind_one_another(protocol: int) -> None:
    """All of them, in every protocol."""
    parts = [pickled(value, protocol) for value in ([1, 2], "x", SYSTEM, None)]
    report = scan(b"".join(parts))
    starts = [sum(map(len, parts[:number])) for number in range(4)]
    assert [(one.offset, str(one.verdict)) for one in report.pickles] == list(
        zip(starts, ["clean", "clean", "unsafe", "clean"], strict=True)
    )
    assert report.refused_as == "FormatError"


def test_bytes_behind_a_bare_pickle_are_a_fault() -> None:
    """They are told with their number."""
    report = scan(pickled([1, 2]) + b"\x00\x01\x02")
    assert [(one.verdict, one.fault) for one in report.pickles] == [(MALFORMED, "3 bytes follow the end of the pickle")]


@pytest.mark.parametrize("protocol", range(6))
def test_a_cut_off_pickle_is_incomplete(protocol: int) -> None:
    """Its calls up to there are told."""
    whole = pickled([SYSTEM, "x" * 300], protocol)
    assert scan(whole[:-100]).verdict is UNSAFE
    if protocol > 1:  # without PROTO, it could be anything
        assert scan(pickled([1, 2, "x" * 300], protocol)[:-100]).verdict is INCOMPLETE


@pytest.mark.parametrize(
    "trick",
    [b"\x80\x02", b"\x95\x03\x00\x00\x00\x00\x00\x00\x00", b"N" * 3 + b"(",
     b"\x95\x20\0\0\0\0\0\0\0\x95\1\0\0\0\0\0\0\0"],
    ids=["a second PROTO", "a frame that cuts an opcode", "values left", "a frame in a frame"],
)  # fmt: skip
def test_what_strictness_refuses_hides_no_call_behind_it(trick: bytes) -> None:
    """Python's own unpickler goes on there."""
    data = b"\x80\x04" + trick + HARM[2:]
    report = scan(data)
    assert "posix.system" in [finding.name for finding in report.findings]
    assert report.verdict is UNSAFE


@pytest.mark.parametrize("padding", [0, 1000])
@pytest.mark.parametrize("function", [b"cposix\nsystem\n", b"cmy.own\nharm\n"])
def test_a_pickle_needs_no_header_to_be_one(padding: int, function: bytes) -> None:
    """A PROTO that stands too late hides nothing, be it near the start or far from it."""
    data = b"N0\x80\x02" + b"N0" * padding + function + b"(S'ls'\ntR."
    assert pickletools_agrees(data)
    report = scan(data)
    assert report.verdict is UNSAFE
    assert scan(zipped({"data.pkl": EMPTY_DICT, "data/0": data})).verdict is UNSAFE


def pickletools_agrees(data: bytes) -> bool:
    """Python's own walk finds a STOP at the end."""
    return [opcode.name for opcode, _, _ in pickletools.genops(data)][-1] == "STOP"


def test_names_behind_a_fault_say_so() -> None:
    """They are no part of what a load sees."""
    report = scan(b"\x80\x04N0\x80\x04" + HARM[2:])
    (finding,) = report.findings
    assert (finding.name, finding.behind_fault) == ("posix.system", True)
    assert "PROTO" in report.pickles[0].fault


def test_a_pickle_too_large_is_incomplete() -> None:
    """It is not run, and the limit is said."""
    data = pickle.dumps(["x" * 100_000], 2)
    report = ptfile.scan(io.BytesIO(data), limits=ptfile.Limits(pickle_size=10_000))
    assert report.verdict is INCOMPLETE
    assert "too large" in report.pickles[0].fault


# what is no pickle


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 1000,
        b"hello, world\n" * 100,
        b"cat\ndog\nmouse\n",
        b"import os\nos.system('ls')\n",
        b"(lp and other text\n",
        b"\x89PNG\r\n\x1a\n" + b"x" * 100,
        b"GGUF" + bytes(range(256)),
        b"\x93NUMPY\x01\x00" + b"x" * 300,
        b"<html><body>",
        b'{"a": 1}',
        struct.pack("<Q", 40) + b'{"a":{"dtype":"F32","shape":[0]}}       ',
        b"K" * 5000,
        b"N" * 5000,
        b"\x80\x02\x00\x00",
        b"\x80\x7f" + b"x" * 100,
    ],
)
def test_what_is_no_pickle_is_no_finding(data: bytes) -> None:
    """Text, pictures, safetensors, numbers."""
    report = scan(data)
    assert (report.pickles, report.problems) == ((), ())
    assert report.verdict is None


def test_numbers_are_not_taken_for_pickles() -> None:
    """Random bytes, small integers and text in tensors."""
    source = random.Random(5)
    records = {f"data/{number}": source.randbytes(200) for number in range(3000)}
    records |= {f"small/{number}": bytes(source.choices(range(40, 120), k=50)) for number in range(3000)}
    report = scan(zipped({"data.pkl": EMPTY_DICT, **records}))
    assert [one.record for one in report.pickles] == ["net/data.pkl"]
    assert not report.problems


@pytest.mark.parametrize(
    ("pack", "kind"), [(gzip.compress, "a gzip file"), (bz2.compress, "a bzip2 file"), (lzma.compress, "an xz file")]
)
def test_packed_files_are_opened(pack: Any, kind: str) -> None:
    """Where Python has a module for it; damage makes the answer incomplete."""
    report = scan(pack(HARM))
    assert (report.kind, report.verdict) == (kind, UNSAFE)
    assert scan(pack(HARM)[:-12]).verdict is INCOMPLETE


@pytest.mark.parametrize("head", [b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"])
def test_packed_files_that_are_not_opened_are_told(head: bytes) -> None:
    """A scan that says nothing of them would say too much."""
    report = scan(head + bytes(100))
    assert report.verdict is INCOMPLETE
    assert "not opened" in report.problems[0].problem
    assert report.problems[0].fix


# hostile sizes


def test_many_small_pickles_take_linear_time() -> None:
    """And there is an end to them."""

    def seconds(count: int) -> float:
        start = time.process_time()
        assert scan(b"\x80\x02N." * count).pickles
        return time.process_time() - start

    seconds(100)
    assert seconds(9_000) < 40 * max(seconds(900), 0.005)
    report = scan(b"\x80\x02N." * 10_100)
    assert len(report.pickles) == 10_000
    assert report.verdict is INCOMPLETE


def test_many_headers_in_a_broken_file_take_linear_time() -> None:
    """Each could claim the rest of the file."""
    header = zs.local_header(b"a", 0, 0) + b"(S'"

    def seconds(count: int) -> float:
        start = time.process_time()
        assert scan(header * count + b"x" * 100_000).problems
        return time.process_time() - start

    seconds(100)
    assert seconds(8_000) < 40 * max(seconds(800), 0.02)


def test_a_fifo_like_object_is_no_file() -> None:
    """What cannot seek is read into memory first, by its owner."""
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read, "rb") as pipe, pytest.raises(ptfile.UnsupportedError):
        ptfile.scan(pipe)


def test_headers_that_have_all_the_others_inside_are_not_followed_forever() -> None:
    """Sixty kilobytes: each of two thousand headers begins a damaged zip file of all that are behind it."""
    header = zs.LOCAL.pack(zs.LOCAL_SIGNATURE, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    found = ptfile.scan(io.BytesIO(header * 2_000))  # which once took hours
    assert found.verdict is INCOMPLETE
    assert "the rest was not looked at" in " ".join(problem.problem for problem in found.problems)

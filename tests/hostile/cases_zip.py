"""48 to 60: zip files that tell two stories, or none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, cast

import ptfile
from ptfile.containers import zip_structs as zs
from tests.formats.zip_file import BAD_GLOBAL, EMPTY_DICT, EMPTY_TUPLE, zip_of
from tests.hostile.case import Case, Fails, Loads
from tests.hostile.pickle_assembler import PROTO, STOP, plain, storage, tensor
from tests.hostile.zip_builder import Entry, Zip, deflate

CONTENT = b"\0\0\x80\x3f\0\0\0\x40"
PICKLED = PROTO + tensor(storage("FloatStorage", "0", plain(2)), plain((2,)), plain((1,))) + STOP
DATA, PICKLE, VERSION = b"a/data/0", b"a/data.pkl", b"a/version"
NO_CRC = "the checksum of a mapped storage is not looked at"


def archive(*more: Entry, pickled: dict[str, Any] | None = None, **knobs: Any) -> list[Entry]:
    """The records of a sound checkpoint of a tensor of two floats, [1, 2]; the knobs are those of its storage."""
    data = Entry(**{"name": DATA, "content": CONTENT, **knobs})
    return [Entry(**{"name": PICKLE, "content": PICKLED, **(pickled or {})}), data, Entry(VERSION, b"3\n"), *more]


def lie(
    number: int, variant: str, letter: str, says: str, file: Zip | Callable[[], bytes], record: str | None = None
) -> Case:
    build = file.build if isinstance(file, Zip) else file
    return Case(number, variant, build, Fails(letter, says, record))


def of_storage(number: int, variant: str, letter: str, says: str, **knobs: Any) -> Case:
    """A storage whose local header or bytes are wrong, which no one sees who does not read it."""
    return lie(number, variant, letter, says, Zip(archive(**knobs)), "data/0").unread()


def sound(number: int, variant: str, build: Callable[[], bytes]) -> Case:
    return Case(number, variant, build, Loads(is_right))


def is_right(value: ptfile.Tensor) -> None:
    assert value.tolist() == [1, 2]


def whole(**knobs: Any) -> Zip:
    """A sound file but for the knobs of its end."""
    return Zip(archive(), **knobs)


def wide(*numbers: int) -> bytes:
    """A zip64 block of an extra field."""
    return struct.pack(f"<HH{len(numbers)}Q", zs.ZIP64_EXTRA, 8 * len(numbers), *numbers)


FULL = zs.MAX32

# what ptfile does not read

ODD: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("encrypted", "it is encrypted", {"flags": 0x801}),
    ("strongly encrypted", "it is encrypted", {"flags": 0x841}),
    ("with a masked directory", "it is encrypted", {"flags": 0x2800}),
    ("patched", "ask for more than reading", {"flags": 0x820}),
    ("bzip2", "compressed by method 12", {"method": 12}),
    ("method 99", "compressed by method 99", {"method": 99}),
    ("a record of another disk", "ask for more than reading", {"disk": 1}),
)
UNSUPPORTED = (
    *(lie(48, variant, "N", says, Zip(archive(**knobs)), "a/data/0") for variant, says, knobs in ODD),
    of_storage(48, "encrypted, by its header", "F", "disagree", local_flags=0x809),
    *(
        lie(48, variant, "N", "one of several disks", whole(**knobs))
        for variant, knobs in (
            ("the second disk", {"disk": 1}),
            ("a directory on another disk", {"directory_disk": 1}),
            ("two disks", {"disks": 2}),
            ("records on another disk", {"records_here": 0, "zip64": False}),
        )
    ),
)

# checksums

CHANGED = "some of its bytes have changed"
SUMS = (
    of_storage(49, "of a storage", "F", CHANGED, crc=1).except_for(NO_CRC, mmap=Loads(is_right)),
    of_storage(49, "of a changed storage", "F", CHANGED, payload=CONTENT[:-1] + b"\0").except_for(NO_CRC, mmap=Loads()),
    of_storage(49, "of a deflated storage", "F", CHANGED, crc=1, method=8),
    lie(49, "of the pickle", "F", CHANGED, Zip(archive(pickled={"crc": 1})), "data.pkl"),
    lie(49, "of the deflated pickle", "F", CHANGED, Zip(archive(pickled={"crc": 1, "method": 8})), "data.pkl"),
    lie(49, "of the byte order", "F", CHANGED, Zip(archive(Entry(b"a/byteorder", b"little", crc=1))), "byteorder"),
    lie(49, "of the version", "F", CHANGED, Zip([*archive()[:2], Entry(VERSION, b"3\n", crc=1)]), "version"),
    sound(49, "of nothing", Zip(archive(crc=0, pickled={"crc": 0})).build),
)

# two stories about one record

DISAGREE = "and the directory disagree about it"
STORIES = (
    *(
        of_storage(50, variant, "F", DISAGREE, **knobs)
        for variant, knobs in (
            ("another name", {"local_name": b"a/data/1"}),
            ("a shorter name", {"local_name": b"a/data/"}),
            ("another length of the name", {"local_name_length": 7}),
            ("another method", {"local_method": 8}),
            ("another size", {"local_size": 6}),
            ("another compressed size", {"local_packed": 6}),
            ("another checksum", {"local_crc": 6}),
            ("no sizes and no descriptor", {"flags": 0, "local_crc": 0, "local_size": 0, "local_packed": 0}),
            ("no header", {"local_signature": b"PK\3\5"}),
            ("another size in zip64", {"local_size": FULL, "local_extra": wide(9, 8)}),
            ("a full size without zip64", {"local_size": FULL}),
        )
    ),
    of_storage(50, "a longer name", "F", DISAGREE, local_name=b"a/data/00"),
    *(
        lie(50, f"the pickle with {variant}", "F", DISAGREE, Zip(archive(pickled=knobs)), "data.pkl")
        for variant, knobs in (
            ("another name", {"local_name": b"a/data.pkk"}), ("another method", {"local_method": 8}),
            ("another size", {"local_size": 6}),
        )
    ),
    lie(50, "stored in fewer bytes", "F", "are said to be stored in", Zip(archive(packed=7)), "a/data/0"),
    sound(50, "sizes in the descriptor only", Zip(archive()).build),
    sound(50, "sizes in the header only", Zip(archive(flags=0)).build),
)  # fmt: skip

# places

PLACES = (
    lie(51, "an offset past the end", "F", "", Zip(archive(offset=10_000))),
    lie(51, "an offset in another record", "F", "", Zip(archive(offset=5))),
    lie(51, "two records in one place", "F", "bytes into", Zip([*archive(), Entry(b"a/x", in_file=False, offset=0)])),
    lie(51, "a size past the end", "F", "bytes into", Zip(archive(size=10_000, packed=10_000))),
    lie(51, "a size over the directory", "F", "into the directory", Zip([*archive()[:2], Entry(VERSION, b"3\n", size=90, packed=90)])),
    lie(51, "a size over the next record", "F", "bytes into", Zip(archive(size=90, packed=90))),
    lie(51, "a directory that begins earlier", "F", "", whole(directory_offset=3, zip64=False)),
    lie(51, "a directory that begins later", "F", "", whole(directory_offset=10_000, zip64=False)),
    lie(51, "a directory that is smaller", "F", "", whole(directory_size=50, zip64=False)),
    lie(51, "a directory that is larger", "F", "", whole(directory_size=10_000, zip64=False)),
    lie(51, "a record too few", "F", "after its 2 records", whole(records=2, records_here=2, zip64=False)),
    lie(51, "a record too many", "F", "4 records are said to be", whole(records=4, records_here=4, zip64=False)),
    lie(51, "records too many", "F", "65535 records", whole(records=65_535, records_here=65_535, zip64=False)),
    lie(51, "no directory header", "F", "of the directory is damaged", Zip(archive(signature=b"PK\1\3"))),
    lie(51, "a name that overruns", "F", "of the directory is damaged", Zip(archive(name_length=60_000))),
    lie(51, "an extra field that overruns", "F", "of the directory is damaged", Zip(archive(extra_length=60_000))),
    lie(51, "an extra block that overruns", "F", "in the directory is damaged",
        Zip(archive(extra=struct.pack("<HH", 0x5455, 9)))),
    lie(51, "an extra block that is cut", "F", "in the directory is damaged", Zip(archive(extra=b"FB\0"))),
    of_storage(51, "a local extra field that overruns", "F", "overruns", local_extra_length=60_000),
    of_storage(51, "a local extra field over the payload", "F", "", local_extra_length=9),
    of_storage(51, "a local extra block that overruns", "F", "is damaged", local_extra=struct.pack("<HH", 0x4246, 3)),
)  # fmt: skip

# names

TWICE = "two records have this name"
NAMES = (
    lie(52, "twice", "F", TWICE, Zip([*archive(), *archive()[:1]]), "a/data.pkl"),
    lie(52, "equal but for case", "F", TWICE, Zip(archive(Entry(b"a/DATA.pkl"))), "a/DATA.pkl"),
    lie(52, "a NUL", "F", "has a NUL", Zip(archive(Entry(b"a/data.pkl\0x")))),
    lie(52, "a backslash", "F", "a backslash", Zip(archive(Entry(b"a\\data.pkl")))),
    lie(52, "empty", "F", "is empty", Zip(archive(Entry(b"")))),
    lie(52, "no UTF-8", "F", "no UTF-8", Zip(archive(Entry(b"a/\xff")))),
    lie(52, "a folder with content", "F", "a folder but has content", Zip(archive(Entry(b"a/data/"))), "a/data/"),
    lie(52, "two roots", "F", "without data.pkl in a folder", Zip(archive(Entry(b"b/data.pkl", PICKLED)))),
    lie(52, "no root", "F", "without data.pkl in a folder", Zip([Entry(b"data.pkl", PICKLED), Entry(b"version", b"3\n")])),
    lie(52, "no records", "F", "without data.pkl", Zip()),
    lie(52, "no pickle", "F", "without data.pkl", Zip(archive()[1:])),
    lie(52, "a root above another", "F", "without data.pkl", Zip([Entry(b"x/a/data.pkl", PICKLED)])),
)  # fmt: skip


def settings(variant: str, record: str, content: bytes, letter: str, says: str) -> Case:
    others = [entry for entry in archive() if entry.name != f"a/{record}".encode()]
    return lie(53, variant, letter, says, Zip([*others, Entry(f"a/{record}".encode(), content)]), record)


ALIGNMENT = "PyTorch does not use it for reading"
SETTINGS = (
    settings("no byte order", "byteorder", b"", "F", "instead of little or big"),
    settings("another byte order", "byteorder", b"middle", "F", "instead of little or big"),
    settings("a byte order and more", "byteorder", b"little\n", "F", "instead of little or big"),
    settings("a long byte order", "byteorder", b"little" * 100_000, "F", "instead of little or big"),
    settings("an enormous version", "version", b"9" * 5_000, "F", "is no version"),
    settings("a version that is no number", "version", b"three", "F", "is no version"),
    settings("a version of other digits", "version", "٣".encode(), "F", "is no version"),
    settings("a version that is no text", "version", b"\xff", "F", "no UTF-8"),
    settings("a negative version", "version", b"-3", "F", "is no version"),
    settings("version 0", "version", b"0", "F", "is no version"),
    settings("no version", "version", b"", "F", "is no version"),
    *(
        settings(f"an alignment that is {variant}", ".storage_alignment", content, "F", "alignment").except_for(
            ALIGNMENT, torch=Loads()
        )
        for variant, content in (
            ("enormous", b"9" * 5_000), ("too large", b"131072"), ("0", b"0"), ("negative", b"-64"), ("text", b"large"),
        )
    ),
)  # fmt: skip

# deflate

DEFLATED: dict[str, Any] = {"method": zs.DEFLATED}
PACKED = deflate(CONTENT)
BOMB = {"limit": "inflated", "allowed": 64 << 20}


def bomb(size: int) -> bytes:
    """A storage of zeros, deflated a thousand times."""
    pickled = PROTO + tensor(storage("ByteStorage", "0", plain(size)), plain((size,)), plain((1,))) + STOP
    return Zip(archive(content=bytes(size), method=zs.DEFLATED, pickled={"content": pickled})).build()


BOMBS = (
    Case(54, "a bomb", lambda: bomb(65 << 20), Fails("L", "would inflate to", "data/0", None, BOMB)).unread(),
    Case(
        54,
        "a bomb as the pickle",
        lambda: Zip(archive(pickled={"content": PICKLED + bytes(65 << 20), **DEFLATED})).build(),
        Fails("L", "would inflate to", "data.pkl", None, BOMB),
    ),
    Case(
        54,
        "a bomb that is said to be small",
        lambda: Zip(archive(payload=deflate(bytes(50 << 20)), size=8, **DEFLATED)).build(),
        Fails("F", "more than its 8 bytes", "data/0"),
    ).unread(),
    of_storage(54, "more than it says", "F", "more than its 8 bytes", payload=deflate(CONTENT + b"x"), **DEFLATED),
    of_storage(54, "less than it says", "F", "inflates to 7 bytes", payload=deflate(CONTENT[:-1]), size=8, **DEFLATED),
    of_storage(54, "no deflate", "F", "compressed bytes are damaged", payload=b"\xff" * 20, **DEFLATED),
    of_storage(54, "cut", "F", "", payload=PACKED[:-2], **DEFLATED),
    of_storage(54, "bytes behind", "F", "bytes follow the end of its compressed", payload=PACKED + b"more", **DEFLATED),
    of_storage(54, "nothing", "F", "inflates to 0 bytes", payload=b"", **DEFLATED),
    lie(
        54, "the pickle, cut", "F", "", Zip(archive(pickled={"payload": deflate(PICKLED)[:-3], **DEFLATED})), "data.pkl"
    ),
    sound(54, "sound", Zip(archive(pickled=DEFLATED, **DEFLATED)).build),
)

# bytes that belong to nothing

NO_RECORD = "belong to no record"
JUNK = (
    lie(55, "in front", "F", "looks like nothing known", whole(before=b"#!/bin/sh\n")),
    lie(55, "in front, like a zip", "F", "is said to be at byte", whole(before=b"PK\3\4junk")),
    lie(55, "before the first record", "F", "before the first record", Zip(archive(pickled={"before": b"PK\3\4junk"}))),
    of_storage(55, "behind a storage", "F", NO_RECORD, after=b"junk"),
    lie(55, "behind the pickle", "F", NO_RECORD, Zip(archive(pickled={"after": b"junk"})), "data.pkl"),
    of_storage(55, "a descriptor of another length", "F", NO_RECORD, descriptor=bytes(20)),
    lie(55, "much between records", "F", NO_RECORD, Zip(archive(after=bytes(70_000))), "a/data/0"),
    lie(55, "in the directory", "F", "goes on for 4 bytes", whole(directory_tail=b"junk")),
    lie(55, "before the end", "F", NO_RECORD, whole(before_end=b"junk")),
    lie(55, "before an end without zip64", "F", NO_RECORD, whole(before_end=b"junk", zip64=False)),
    lie(55, "behind the end", "F", "something was put behind it", whole(after=b"junk")),
    lie(55, "an end in a comment", "F", "it has two ends", whole(comment=Zip().build())),
    lie(55, "an end inside a comment", "F", "it has two ends", whole(comment=Zip().build() + b"x")),
    lie(55, "two files", "F", "is said to be at byte", lambda: whole().build() + Zip(archive(Entry(b"a/x"))).build()),
    lie(55, "a comment that is too long", "F", "they do not end with the directory", whole(comment_length=5)),
    lie(55, "before the directory", "F", "", whole(before_directory=b"junk")).except_for(
        "it stands behind the version, which is read", inspect=Fails("F", NO_RECORD, "version")
    ),
    lie(55, "a record that is not listed", "F", NO_RECORD, Zip(archive(Entry(b"a/x", in_directory=False)))),
)

# zip64

ZIP64 = (
    *(
        lie(56, variant, "F", says, whole(**knobs))
        for variant, says, knobs in (
            ("another count", "disagree", {"records64": 2}),
            ("another size of the directory", "disagree", {"directory_size64": 10}),
            ("another place of the directory", "disagree", {"directory_offset64": 10}),
            ("an end elsewhere", "is said to be at byte 0", {"end64_offset": 0}),
            ("an end far away", "cut off", {"end64_offset": 1 << 62}),
            ("an end at no place", "is said to be at byte", {"end64_offset": (1 << 64) - 1}),
            ("an end of another size", "disagree", {"follow64": 100}),
            ("no end", "is damaged or gone", {"end64_signature": b"PK\6\5"}),
            ("huge numbers", "", {"records": 0xFFFF, "records_here": 0xFFFF, "records64": 1 << 62,
                                  "directory_size": FULL, "directory_size64": 1 << 63}),
            ("as many records as bytes", "", {"records": 0xFFFF, "records_here": 0xFFFF, "records64": 1 << 40}),
        )
    ),
    *(
        lie(56, variant, "F", says, Zip(archive(**knobs)))
        for variant, says, knobs in (
            ("a full size without a block", "bytes into", {"size": FULL, "packed": FULL}),
            ("sizes that lie", "bytes into", {"size": FULL, "packed": FULL, "extra": wide(800, 800)}),
            ("huge sizes", "bytes into", {"size": FULL, "packed": FULL, "extra": wide((1 << 64) - 1, (1 << 64) - 1)}),
            ("a huge offset", "", {"offset": FULL, "extra": wide((1 << 64) - 1)}),
            ("a block without need", "in the directory is damaged", {"extra": wide(8, 8)}),
            ("a block that is too short", "in the directory is damaged", {"size": FULL, "packed": FULL, "extra": wide(8)}),
        )
    ),
    sound(56, "the truth", Zip(archive(size=FULL, packed=FULL, extra=wide(8, 8))).build),
)  # fmt: skip

# many, cut, unread


def many() -> bytes:
    empty = (Entry(f"a/data/{number}".encode(), b"", flags=zs.FLAG_UTF8) for number in range(1, 60_001))
    return Zip(archive(*empty)).build()


def cut(tenth: int) -> Callable[[], bytes]:
    def build() -> bytes:
        content = Zip(archive(Entry(b"a/data/1", bytes(5000)))).build()
        return content[: len(content) * tenth // 10]

    return build


def without(start: int, length: int) -> bytes:
    content = Zip(archive(Entry(b"a/data/1", bytes(5000)))).build()
    return content[:start] + content[start + length :]


REST = (
    sound(57, "empty records", many),
    *(
        Case(58, f"{tenth} tenths", cut(tenth), Fails("F", "How much is missing stood in that directory"))
        for tenth in range(1, 10)
    ),
    Case(58, "a hole", lambda: without(1000, 777), Fails("F", "cut off: 777 bytes are missing")),
    Case(58, "an end alone", lambda: Zip(zip64=False).build()[:-1], Fails("F", "How much is missing stood")),
    Case(58, "all but a byte", lambda: Zip(archive()).build()[:-1], Fails("F", "How much is missing stood")),
    sound(59, "a pickle beside it", Zip(archive(Entry(b"a/extra.pkl", BAD_GLOBAL))).build),
    sound(59, "a pickle as a storage", Zip(archive(Entry(b"a/data/1", BAD_GLOBAL))).build),
    sound(59, "a pickle in a folder", Zip(archive(Entry(b"a/x/data.pkl", BAD_GLOBAL))).build),
    sound(59, "a pickle in a comment", whole(comment=BAD_GLOBAL).build),
)

# TorchScript


def script(variant: str, **records: bytes) -> Case:
    """An archive with a bad name in one of its pickles."""
    files = {"data.pkl": b"\x80\x02c__torch__\nM\n)\x81}b.", "constants.pkl": EMPTY_TUPLE}
    files |= {name.replace("_pkl", ".pkl"): content for name, content in records.items()}
    bad = next((name for name, content in files.items() if content == BAD_GLOBAL), None)
    expected = Fails("U", "posix.system", bad, 2, {"name": "posix.system"}) if bad else Loads()
    return Case(60, variant, lambda: zip_of(files).getvalue(), expected)


def no_tuple(case: Case) -> Case:
    """What stands for the call is not what should be there."""
    other = Fails("F", "are no tuple", cast("Fails", case.expected).record)
    return case.except_for("an inert record is no tuple", inert=other, inspect=other)


ATTRIBUTE = b'{"mainModule": {"attributes": [{"name": "a", "type": "int", "id": "0"}]}, "tensors": []}'
SCRIPTS = (
    script("as a record"),
    script("bad data", data_pkl=BAD_GLOBAL),
    no_tuple(script("bad constants", constants_pkl=BAD_GLOBAL)),
    no_tuple(
        Case(
            60,
            "a bad attribute of 1.0",
            lambda: zip_of({"model.json": ATTRIBUTE, "attributes.pkl": BAD_GLOBAL}).getvalue(),
            Fails("U", "posix.system", "attributes.pkl", 2, {"name": "posix.system"}),
        )
    ),
    Case(
        60,
        "a name that only looks like one",
        lambda: zip_of({"data.pkl": b"\x80\x02c__torch___x\ny\n.", "constants.pkl": EMPTY_TUPLE}).getvalue(),
        Fails("U", "__torch___x.y", "data.pkl", 2, {"name": "__torch___x.y"}),
    ),
    Case(60, "plain", lambda: zip_of({"data.pkl": EMPTY_DICT, "constants.pkl": EMPTY_TUPLE}).getvalue(), Loads()),
)

CASES = (
    *UNSUPPORTED, *SUMS, *STORIES, *PLACES, *NAMES, *SETTINGS, *BOMBS, *JUNK, *ZIP64, *REST, *SCRIPTS,
)  # fmt: skip

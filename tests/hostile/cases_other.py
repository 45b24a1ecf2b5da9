"""61 to 64: the formats before zip, and what is no checkpoint."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
from typing import Any

from tests.formats.old_files import MAGIC, SYS_INFO, Call, Id, Name, floats, legacy, pickled, storage, tar, tensor
from tests.formats.tar_file import (
    FLOAT_TENSOR,
    FLOATS,
    ONE_STORAGE,
    ONE_TENSOR,
    checkpoint,
    geometry,
    storages,
    tensors,
)
from tests.hostile.case import Case, Fails

RUN = Call(Name("posix", "system"), ("true",))
WHOLE = tensor(storage("1", 3), (3,))
NUMBERS = floats(1, 2, 3)


def wrong(
    number: int, variant: str, letters: str, says: str, content: bytes, record: str | None = None, **more: Any
) -> Case:
    return Case(number, variant, lambda: content, Fails(letters, says, record, more.pop("offset", None), more))


def in_any_case(case: Case) -> Case:
    """Around the object's own pickle there is nothing that a record could stand for."""
    return case.except_for("only the object may hold records", inert=case.expected, inspect=case.expected)


# calls


def of_five(place: int, variant: str, tail: bytes = b"") -> Case:
    """A legacy file one of whose pickles calls something; `tail` follows the call instead of what should."""
    parts: list[Any] = [MAGIC, 1001, SYS_INFO, {"w": WHOLE}, ["1"]]
    parts[place] = RUN
    if place == 3:
        parts[4] = []
    pickles = [pickled(part) for part in parts]
    offset = sum(map(len, pickles[:place])) + len(b"\x80\x02")
    content = b"".join(pickles) + NUMBERS
    if tail:
        content = b"".join(pickles[: place + 1])[:-1] + tail
    case = wrong(61, variant, "U", "the pickle names posix.system", content, offset=offset, name="posix.system")
    return in_any_case(case) if place != 3 else case


def of_four(name: str) -> Case:
    members = {"sys_info": pickled(SYS_INFO), "pickle": pickled(1), "tensors": tensors(), "storages": storages()}
    content = tar({**members, name: pickled(RUN)})
    case = wrong(61, f"tar, {name}", "U", "the pickle names posix.system", content, name, offset=2, name="posix.system")
    return in_any_case(case) if name != "pickle" else case


GARBAGE = Fails("F", "is no pickle opcode")
CALLS = (
    of_five(1, "the version"),
    of_five(2, "the facts of the machine"),
    of_five(3, "the object"),
    of_five(4, "the keys"),
    of_five(1, "the version, then garbage", b"\xff" * 99),
    of_five(2, "the facts, then the end", b"X"),
    of_five(3, "the object, then garbage", b"\xff" * 99).except_for(
        "inert ways go on to the garbage", inert=GARBAGE, inspect=GARBAGE
    ),
    *(of_four(name) for name in ("sys_info", "storages", "tensors", "pickle")),
)

# storages


def of_keys(variant: str, says: str, keys: Any, elements: bytes = NUMBERS * 2) -> Case:
    return wrong(62, variant, "F", says, legacy(WHOLE, keys, elements))


def of_id(variant: str, letters: str, says: str, persistent_id: Any) -> Case:
    return wrong(62, variant, letters, says, legacy(persistent_id, ("1",), NUMBERS))


def counts(count: int) -> Case:
    content = legacy(WHOLE, ("1",), struct.pack("<q3f", count, 1, 2, 3))
    case = wrong(62, f"a count of {count}", "T", "storage 1 has", content, offset=len(content) - 20)
    return case.unread()


def of_tar(variant: str, letters: str, says: str, record: str, **members: Any) -> Case:
    return Case(62, f"tar, {variant}", lambda: checkpoint(**members), Fails(letters, says, record))


STORAGES = (
    *(counts(count) for count in (0, 2, 4, 1 << 40, -3, 2**63 - 1, -(2**63))),
    wrong(62, "a terabyte", "F", "bytes are missing", legacy(tensor(storage("1", 1 << 38), (1,)), ("1",),
                                                            struct.pack("<q", 1 << 38) + bytes(100))),
    wrong(62, "cut off", "F", "5 bytes are missing", legacy(WHOLE, ("1",), NUMBERS)[:-5]),
    of_keys("no keys", "not in the list", []),
    of_keys("a key twice", "twice", ["1", "1"]),
    of_keys("a key of nothing", "not in the object", ["1", "2"]),
    of_keys("a key that is no text", "not one of texts", ["1", 2]),
    of_keys("a hundred thousand keys of nothing", "not in the object", [str(number) for number in range(1, 100_000)]),
    of_keys("keys in a dict", "not one of texts", {"1": 1}),
    of_keys("keys that are text", "not one of texts", "1"),
    of_id("a numel that is negative", "T", "not a count", storage("1", -1)),
    of_id("a numel that is a bool", "T", "not a count", storage("1", True)),
    of_id("a numel that is a float", "T", "not a count", storage("1", 2.0)),
    of_id("a numel that is None", "T", "not a count", storage("1", None)),
    of_id("a numel of 2**63", "T", "not a count", storage("1", 1 << 63)),
    of_id("two numels", "T", "two types or sizes", [storage("1", 3), storage("1", 2)]),
    of_id("two dtypes", "T", "two types or sizes", [storage("1", 3), storage("1", 3, "IntStorage")]),
    of_id("a key with a path", "F", "cannot be the key", storage("../1", 3)),
    of_id("an id of five parts", "F", "neither a storage", Id(("storage", Name("torch", "FloatStorage"), "1", "cpu", 3))),
    of_id("an id that is text", "F", "neither a storage", Id("1")),
    *(
        of_id(f"a view {view}", "T", "view", storage("1", 3, view=view))
        for view in (("2", 0, 4), ("2", 3, 1), ("2", -1, 1), ("2", 0, -1), ("2", 2**64, 1), ("2", True, 1), ("2", 0.0, 1))
    ),
    *(
        of_id(f"a view {view}", "F", "", [storage("1", 3), storage("1", 3, view=view)])
        for view in (("2", 0), "2", (2, 0, 1), ("1", 0, 3))
    ),
    of_id("a view in two places", "T", "two places", [storage("1", 3, view=("2", 0, 1)), storage("1", 3, view=("2", 1, 1))]),
    of_id("a tensor outside", "T", "bytes into a storage of 12", tensor(storage("1", 3), (4,))),
    of_id("a tensor outside a view", "T", "bytes into a storage of 4", tensor(storage("1", 3, view=("2", 1, 1)), (2,))),
    wrong(62, "an id among the keys", "F", "a persistent id outside", legacy(WHOLE, [Id("1")], NUMBERS)),
    *(
        of_tar(f"{numel} elements of 4", "FT", "", "storages",
               storages=storages(((1, "cpu", FLOATS), struct.pack("<q4f", numel, 1, 2, 3, 4))))
        for numel in (5, 3, -1, 1 << 40, 1 << 62, -(1 << 63))
    ),
    *(
        of_tar(variant, "FT", "", "storages", value=1, storages=broken, tensors=tensors())
        for variant, broken in (
            ("a key twice", storages(((1, "cpu", FLOATS), floats(1)), ((1, "cpu", FLOATS), floats(1)))),
            ("a key that is text", storages((("1", "cpu", FLOATS), floats(1)))),
            ("a class that is none", storages(((1, "cpu", "FloatStorage"), floats(1)))),
            ("2**70 storages", pickled(2**70)),
            ("a negative number of storages", pickled(-1) + pickled([])),
            ("bytes behind", ONE_STORAGE + b"more"),
            ("nothing", b""),
            ("a view of nothing", storages(views=[(2, 1, 0, 0)])),
            ("a view outside", storages(((1, "cpu", FLOATS), floats(1, 2, 3, 4)), views=((2, 1, 3, 2),))),
            ("a view with the key of its root", storages(((1, "cpu", FLOATS), floats(1, 2)), views=((1, 1, 0, 1),))),
        )
    ),
    *(
        of_tar(variant, "FT", "", "tensors", tensors=broken)
        for variant, broken in (
            ("a tensor of nothing", tensors(((10, 2, FLOAT_TENSOR), geometry((1,), (1,))))),
            ("a tensor with the key of a storage", tensors(((1, 1, FLOAT_TENSOR), geometry((1,), (1,))))),
            ("a tensor beyond", tensors(((10, 1, FLOAT_TENSOR), geometry((5,), (1,))))),
            ("a tensor with an offset", tensors(((10, 1, FLOAT_TENSOR), geometry((2,), (1,), 3)))),
            ("a negative size", tensors(((10, 1, FLOAT_TENSOR), geometry((-1,), (1,))))),
            ("a negative stride", tensors(((10, 1, FLOAT_TENSOR), geometry((2,), (-1,), 2)))),
            ("a size that overflows", tensors(((10, 1, FLOAT_TENSOR), geometry((1 << 62, 8), (1 << 62, 1))))),
            ("a tensor that is cut off", ONE_TENSOR[:-8]),
            ("more tensors than there are", pickled(1 << 40)),
        )
    ),
    of_tar("an id of nothing", "F", "there is no tensor or storage with the key 11", "pickle", value=Id("11")),
    of_tar("an id that is a number", "F", "neither a key nor a class", "pickle", value=Id(10)),
)  # fmt: skip

# tar


def special(kind: bytes) -> bytes:
    """A file with a member of another kind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        info = tarfile.TarInfo("storages")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    return buffer.getvalue()


def with_size(field: bytes) -> bytes:
    """A sound file whose first header states another size."""
    content = bytearray(checkpoint())
    at = content.index(b"sys_info", 512)  # behind its extended header
    content[at + 124 : at + 136] = field
    content[at + 148 : at + 156] = b" " * 8
    content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    return bytes(content)


def extended(data: bytes) -> bytes:
    """A file that begins with an extended header of this content."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(data)
    return info.tobuf() + data.ljust(-(-len(data) // 512) * 512, b"\0") + checkpoint()


def rank(number: int) -> Case:
    data = tensors(((10, 1, FLOAT_TENSOR), struct.pack("<2i99q", number, 0, *range(99))))
    return wrong(
        63, f"{number} dimensions", "F", f"a tensor has {number} dimensions", checkpoint(tensors=data), "tensors"
    )


MEMBERS = {"sys_info": pickled(SYS_INFO), "pickle": pickled(1), "tensors": tensors(), "storages": storages()}
TARS = (
    *(
        wrong(63, variant, "F", "is no regular file", special(kind))
        for variant, kind in (
            ("a symlink", tarfile.SYMTYPE), ("a hard link", tarfile.LNKTYPE), ("a folder", tarfile.DIRTYPE),
            ("a FIFO", tarfile.FIFOTYPE), ("a device", tarfile.CHRTYPE), ("a block device", tarfile.BLKTYPE),
        )
    ),
    wrong(63, "a sparse file", "F", "", special(tarfile.GNUTYPE_SPARSE)),
    *(rank(number) for number in (-1, 65, 1000, 2**31 - 1, -(2**31))),
    *(
        wrong(63, f"without {name}", "F", f"without {name}", tar({k: data for k, data in MEMBERS.items() if k != name} | {"x": b""}))
        for name in MEMBERS
    ),
    wrong(63, "a member twice", "F", "twice", tar({"sys_info": b""}).rstrip(b"\0").ljust(1536, b"\0") + checkpoint()),
    wrong(63, "a name with a path", "F", "without", tar({f"../{name}": data for name, data in MEMBERS.items()})),
    wrong(63, "a size beyond the file", "F", "the file is cut off", with_size(b"77777777777\0")),
    wrong(63, "a size in base 256", "F", "", with_size(b"\x80" + b"\xff" * 11)),
    wrong(63, "a negative size", "F", "", with_size(b"\xff" * 12)),
    wrong(63, "a large extended header", "F", "a header of 1000000 bytes", extended(b"1" * 1_000_000)),
    wrong(63, "an extended header of a negative size", "F", "", extended(b"17 size=-1000000\n")),
    wrong(63, "bytes behind the pickle", "F", "1 bytes follow", tar({**MEMBERS, "pickle": pickled(1) + b"."}), "pickle"),
    *(
        wrong(63, f"cut at {tenth} tenths", "F", "", checkpoint().rstrip(b"\0")[: len(checkpoint().rstrip(b"\0")) * tenth // 10])
        for tenth in range(1, 10)
    ),
)  # fmt: skip

# what is no checkpoint


def no_checkpoint(variant: str, content: bytes, looks: str, letters: str = "F") -> Case:
    return wrong(64, variant, letters, looks, content)


LOOKS = "it looks like "
NO_CHECKPOINTS = (
    no_checkpoint("nothing", b"", f"{LOOKS}an empty file"),
    no_checkpoint("zeros", bytes(100_000), f"{LOOKS}zeros"),
    no_checkpoint("a zero", b"\0", f"{LOOKS}zeros"),
    no_checkpoint("7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(90), f"{LOOKS}a 7z archive"),
    no_checkpoint("gzip", gzip.compress(b"abc"), f"{LOOKS}a gzip file"),
    no_checkpoint("bzip2", bz2.compress(b"abc"), f"{LOOKS}a bzip2 file"),
    no_checkpoint("xz", lzma.compress(b"abc"), f"{LOOKS}an xz file"),
    no_checkpoint("PNG", b"\x89PNG\r\n\x1a\n\0\0", f"{LOOKS}a PNG image"),
    no_checkpoint("HTML", b"<!DOCTYPE html><html><body>404</body></html>", f"{LOOKS}a web page"),
    no_checkpoint("XML", b'<?xml version="1.0"?><Error/>', f"{LOOKS}an XML document"),
    no_checkpoint("JSON", b'{"error": "not found"}', f"{LOOKS}a JSON document"),
    no_checkpoint("a git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
                  "Run `git lfs pull`"),
    no_checkpoint("a safetensors file without its tensors",
                  struct.pack("<Q", 53) + b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}' + bytes(4), "no sound"),
    no_checkpoint("text", b"hello, world", f"{LOOKS}nothing known"),
    no_checkpoint("two letters", b"PK", f"{LOOKS}nothing known"),
    *(
        no_checkpoint(f"a bare pickle of protocol {protocol}", pickle.dumps({"a": [1, 2]}, protocol),
                      f"{LOOKS}a pickle that torch.save did not write")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
    no_checkpoint("a bare pickle that calls", pickled(RUN), f"{LOOKS}a pickle that torch.save did not write"),
    no_checkpoint("a legacy file whose first pickle calls", pickled(RUN) + legacy(1), f"{LOOKS}a pickle"),
    no_checkpoint("a legacy file of another version", legacy(1, version=1002), "version 1002", "N"),
    no_checkpoint("a legacy file of another machine", legacy(1, sys_info=[]), "byte order"),
    no_checkpoint("the first pickle alone", pickled(MAGIC), "cut off"),
)  # fmt: skip

CASES = (*CALLS, *STORAGES, *TARS, *NO_CHECKPOINTS)

"""What ptfile and PyTorch are known to differ on, and why: the table that `docs/differential.md` is made from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fuzz.containers import records_of
from fuzz.pickles import pieces_of

NO_ANSWER = "no answer"
"""In place of the type of an error: the process that was asked has ended, or took too long."""
Way = Literal["ptfile refuses", "ptfile loads", "values"]


@dataclass(frozen=True)
class Case:
    """One file, and what both make of it."""

    source: str
    data: bytes
    ours: str
    """The type of ptfile's error; empty if it loads."""
    ours_text: str
    theirs: str
    theirs_text: str
    found: tuple[str, ...]
    """Where the values differ, if both load."""

    @property
    def differs(self) -> bool:
        return bool(self.ours) != bool(self.theirs) or bool(self.found) or self.ours == NO_ANSWER

    @property
    def way(self) -> Way:
        if self.ours:
            return "ptfile refuses"
        return "ptfile loads" if self.theirs else "values"

    @cached_property
    def records(self) -> Mapping[str, bytes]:
        """The records of a zip file, by name without the root folder."""
        return {name.partition("/")[2]: content for name, content in records_of(self.data)}

    @cached_property
    def opcodes(self) -> frozenset[str]:
        """The opcodes in the pickle (of a legacy file, in what can be read of its pickles)."""
        return frozenset(piece.opcode.name for piece in pieces_of(self.records.get("data.pkl", self.data)))

    def __str__(self) -> str:
        return (
            f"{self.source} {self.way}: {self.ours} {self.ours_text} | {self.theirs} {self.theirs_text} | {self.found}"
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of difference."""

    way: Way
    name: str
    reason: str
    fits: Callable[[Case], bool]


def row_of(case: Case) -> Row | None:
    """The first row that explains the difference; none explains that ptfile gives no answer."""
    if case.ours == NO_ANSWER:
        return None
    return next((row for row in ROWS if row.way == case.way and row.fits(case)), None)


def _says(pattern: str) -> Callable[[Case], bool]:
    """Whether the text of the one error there is, ptfile's or PyTorch's, has this in it."""
    search = re.compile(pattern).search
    return lambda case: bool(search(case.ours_text if case.ours else case.theirs_text))


def _has(*records: str) -> Callable[[Case], bool]:
    return lambda case: any(record in case.records for record in records)


def _not_allowed(modules: str) -> Callable[[Case], bool]:
    """Whether PyTorch refuses a name of one of these modules, or one of these built-in names."""
    return _says(rf"Unsupported global: GLOBAL ({modules})(\.\S*)? was not an allowed global")


def _nested_in_legacy(case: Case) -> bool:
    return not case.records and b"_rebuild_nested_tensor" in case.data


_PACKAGES = ("constants.pkl", "model.json", "extern_modules", ".data/extern_modules", "archive_format")

ROWS: tuple[Row, ...] = (
    # ptfile refuses
    Row(
        "ptfile refuses",
        "A record with a wrong checksum",
        "Every record that is read is verified: a flipped bit must not become a weight.",
        _says("its checksum is"),
    ),
    Row(
        "ptfile refuses",
        "A zip file that contradicts itself: headers and directory, the ends, two records of one name, stray bytes",
        "Two readers must not see two files.",
        _says(
            "disagree|belong to no record|two records have this name|as a folder but|bytes into (record|the directory)"
            "|directory goes on|something was put behind|overrun|record .* of the directory|would overlap|is damaged"
            "|damaged, or the directory|bytes are said to be stored|not all in one folder|starts? at byte|cut off"
            "|its compressed bytes|comment|in the directory is no UTF-8|bytes stand before|a record's name|it inflates"
            "|zip64 end"
        ),
    ),
    Row(
        "ptfile refuses",
        "Zip features that no checkpoint has: other flags, several disks",
        "What they would change about the bytes is not known.",
        _says("ask for more than reading|several disks|compressed by method"),
    ),
    Row(
        "ptfile refuses",
        "A `version` of the archive above 10, or that is no number or no text",
        "A later version may mean something else by the same bytes.",
        _says("of the archive format|it is no UTF-8 text"),
    ),
    Row(
        "ptfile refuses",
        "A storage record of another size than the pickle says",
        "One of the two numbers is wrong.",
        _says(r"the record has \d+ bytes"),
    ),
    Row(
        "ptfile refuses",
        "One storage asked for with two element types or two sizes",
        "A storage has one type and one size. PyTorch 1.10 wrote such files for views of another dtype.",
        _says("with two types or sizes"),
    ),
    Row(
        "ptfile refuses",
        "Records that make a zip file a package, an exported program or TorchScript, beside a `data.pkl`",
        "ptfile goes by the records that only such files have, and they are not complete.",
        lambda case: (
            _has(*_PACKAGES)(case) or bool(re.search("a package without|is no JSON|the (main )?module", case.ours_text))
        ),
    ),
    Row(
        "ptfile refuses",
        "A pickle that ends with an open mark or with more than one value",
        "No pickler writes it, and what is left over would be lost.",
        _says("ends with an open mark|values on its stack instead of one"),
    ),
    Row(
        "ptfile refuses",
        "`PROTO` behind the start of a pickle, or of a protocol that does not exist; text that is no UTF-8 in a name",
        "No pickler writes it.",
        _says("PROTO .* at this place|text that is not UTF-8|it is no checkpoint of PyTorch"),
    ),
    Row(
        "ptfile refuses",
        "Bytes behind the end of a pickle that fills its record",
        "Nothing would ever read them.",
        _says("bytes follow the end of the pickle"),
    ),
    Row(
        "ptfile refuses",
        "A persistent id with a location that is no text, a count that is no int, or a class that is no storage",
        "No pickler writes it.",
        _says("location that is no text|which is not a count|a persistent id|cannot be the key|a storage has an int"),
    ),
    Row(
        "ptfile refuses",
        "A tensor whose arguments are not of the types that PyTorch writes: sizes, hooks, metadata, attributes, flags",
        "ptfile takes what PyTorch's pickler gives, and nothing that happens to work.",
        _says(
            "hooks of a tensor|has metadata that PyTorch|one stride for each size|is not a tuple of integers"
            "|attributes of a tensor|where an? .* belongs|sizes and strides are ints|offset is an int|are not numbers"
            "|a tensor was saved with hooks|whole number of elements|the class of a tensor|have no conjugate"
        ),
    ),
    Row(
        "ptfile refuses",
        "A view of bytes that its storage does not have, or with more than 64 dimensions",
        "Views are checked before a byte is read.",
        _says("bytes into a storage of|at most 64 dimensions|at most 2"),
    ),
    Row(
        "ptfile refuses",
        "A sparse, nested or quantized tensor whose parts do not fit each other",
        "They are always checked; PyTorch checks sparse tensors when it is told to.",
        _says(
            "do not fit|pointers of a|indices of a|an index of a|lies outside its shape|a nested tensor|a jagged tensor"
            "|quantized|channels have|made of .* parts|reaches outside|blocks of"
        ),
    ),
    Row(
        "ptfile refuses",
        "Elements asked of a tensor on the meta device",
        "It has none.",
        _says("on the meta device"),
    ),
    Row(
        "ptfile refuses",
        "Attributes of an `OrderedDict` that would hide its own, `__class__`, or are no text; a state that is no dict",
        "A file may not replace the methods of an object.",
        _says("would hide its own|is not a dict of attributes|has an attribute called"),
    ),
    Row(
        "ptfile refuses",
        "A state, items or elements given to an object that takes none",
        "No pickler writes it.",
        _says("gives a state to|stores items in|appends to|adds elements to|without a value"),
    ),
    Row(
        "ptfile refuses",
        "Objects made by calls that no pickler writes, of storages and tensors by a number for one",
        "The table of builders has the forms that picklers write, and a number in a file allocates nothing.",
        _says("the pickle calls|makes an instance of|cannot be built from|that its pickler never|is not built from"),
    ),
    Row(
        "ptfile refuses",
        "Keys of dicts that are tensors, lists, or tuples of many parts",
        "Hashing them can take forever, or goes by what the key is not.",
        _says("cannot be a key|a key of a dict is too"),
    ),
    Row(
        "ptfile refuses",
        "Classes of PyTorch that ptfile has no builder for, such as `DTensor`",
        'They are loaded as inert records with `unknown="inert"`.',
        _says("the pickle names torch"),
    ),
    Row(
        "ptfile refuses",
        "A name used as a class that PyTorch maps to another, such as Python 2's",
        "A name is looked up as it stands, and then as Python 2's; no other way.",
        _says("the pickle names"),
    ),
    Row(
        "ptfile refuses",
        "A legacy file whose list of storages is not that of its pickle",
        "A storage that is not filled would hold whatever was in memory.",
        _says("list of (the storages' )?keys|in the list|is twice in|the storages"),
    ),
    Row(
        "ptfile refuses",
        "A storage of a legacy file that is a part of another one, and lies outside it or has no key",
        "PyTorch takes the other one in its place, whatever the file says of the part.",
        _says("the view .* of a storage|the view of a storage|of a storage's view|one key is that of"),
    ),
    Row(
        "ptfile refuses",
        "A `byteorder` other than `little` and `big`",
        "Numbers must not be read by a guess.",
        _says("the byte order is"),
    ),
    Row(
        "ptfile refuses",
        "A `.storage_alignment` that is no number from 1 to 65,535, written as PyTorch writes it",
        "No more can be brought about by the padding of a header; PyTorch takes whatever Python makes an int of.",
        _says("is no alignment of storages"),
    ),
    Row("ptfile refuses", "Containers nested above the limit", "`Limits.depth`.", _says("nested too deep")),
    # ptfile loads
    Row(
        "ptfile loads",
        "No answer from PyTorch within the time and memory that the test gives it",
        "ptfile's work is bounded by the size of the file.",
        lambda case: case.theirs == NO_ANSWER,
    ),
    Row(
        "ptfile loads",
        "Opcodes that PyTorch's reader lacks: of protocols 3 to 5, of protocol 0, and a few between",
        "ptfile's machine knows all opcodes of protocols 0 to 5.",
        _says("Unsupported operand"),
    ),
    Row(
        "ptfile loads",
        "Arrays, scalars and dtypes of numpy",
        "They are data: ptfile builds them from checked parts. PyTorch has them on request (`add_safe_globals`).",
        _not_allowed("numpy"),
    ),
    Row(
        "ptfile loads",
        "Values of Python's library: times, paths, decimals, deques, ranges, slices, names of built-in types",
        "Each has a builder of ptfile's that takes what its pickler writes.",
        _not_allowed(
            "builtins|argparse|array|collections|datetime|decimal|fractions|pathlib|types|uuid|Ellipsis|NotImplemented|bytes|bytearray"
            "|complex|dict|float|frozenset|int|bool|str|list|tuple|set|range|slice|getattr|_codecs|copyreg"
        ),
    ),
    Row(
        "ptfile loads",
        "Builders and classes of other versions of PyTorch, generators, memory formats, `torch.nn.Buffer`",
        "ptfile reads what PyTorch 0.1 to 2.15 wrote.",
        _not_allowed("torch"),
    ),
    Row(
        "ptfile loads",
        "TorchScript, packages and exported programs",
        "They are read as trees of records and tensors.",
        lambda case: (
            bool(
                re.search("TorchScript archives|file data.pkl: file not found|not in a subdirectory", case.theirs_text)
            )
            or _has(*_PACKAGES)(case)
        ),
    ),
    Row(
        "ptfile loads",
        "Storages in `tensors/`, as PyTorch 1.4 wrote them",
        "ptfile reads all that PyTorch ever wrote.",
        lambda case: (
            any(name.startswith("tensors/") for name in case.records)
            or bool(re.search("failed locating file data/", case.theirs_text))
        ),
    ),
    Row(
        "ptfile loads",
        "A zip file without the record `version`",
        "It says nothing that the rest of the file does not.",
        _says('Expected hasRecord."version'),
    ),
    Row(
        "ptfile loads",
        "A `.data/serialization_id` or another record beside the pickle that is no text",
        "Reading needs none of them.",
        lambda case: bool(re.search("invalid literal for int|codec can't decode", case.theirs_text))
        and ".pkl" not in case.theirs_text,
    ),
    Row(
        "ptfile loads",
        "A legacy file with an untyped storage",
        "The format has a place for it; PyTorch writes such files.",
        _says("has no attribute 'dtype'"),
    ),
    Row(
        "ptfile loads",
        "A persistent id that is a text",
        "With protocol 0, PyTorch writes it.",
        _says("persistent_load id must be tuple"),
    ),
    Row(
        "ptfile loads",
        "A nested or jagged tensor in a legacy file, or one whose modules PyTorch has not imported",
        "ptfile needs no module, and waits for the bytes of the sizes.",
        lambda case: _nested_in_legacy(case) or bool(re.search(r"_dynamo|torch\.nested", case.theirs_text)),
    ),
    Row(
        "ptfile loads",
        "Ints of more than 64 bits",
        "Python has them.",
        _says("Overflow when unpacking|too large to convert|too many digits"),
    ),
    Row(
        "ptfile loads",
        "A tuple that contains itself",
        "Python's pickler writes it by taking things off the stack.",
        _says("pop from empty list"),
    ),
    Row(
        "ptfile loads",
        "A directory's fields that change nothing about the bytes of a record",
        "Each record is found and verified.",
        _says("PytorchStreamReader failed reading zip archive"),
    ),
    Row(
        "ptfile loads",
        "Attributes of a tensor that are called like PyTorch's own, such as `dtype`",
        "They are kept beside the tensor, and hide nothing of it.",
        _says("is not writable|readonly attribute"),
    ),
    Row(
        "ptfile loads",
        "Devices and classes of tensors that do not exist",
        "ptfile keeps their names as text.",
        _says("Expected one of cpu, cuda|cls must be a type|Invalid device string|must not include an index"),
    ),
    # values
    Row(
        "values",
        "A nested tensor in a legacy file",
        "Its sizes are elements of a tensor: ptfile waits for their bytes.",
        _nested_in_legacy,
    ),
    Row(
        "values",
        "A quantized tensor in a legacy file whose scales are of another type than PyTorch's",
        "PyTorch converts them before it has read them, from memory that nobody has written.",
        lambda case: not case.records and b"per_channel_affine" in case.data,
    ),
    Row(
        "values",
        "A file with `extern_modules` and `data.pkl`",
        "ptfile reads it as a package, of which `data.pkl` is one record.",
        _has("extern_modules", ".data/extern_modules"),
    ),
    Row(
        "values",
        "A set with tensors, or names of PyTorch, in it",
        "A tensor is equal to itself alone, and a name stays a name: the two sets cannot be compared.",
        lambda case: all("{" in text and re.search(r"tensor\(|<global |ptfile\.", text) for text in case.found),
    ),
    Row(
        "values",
        "The class `torch.device` itself",
        "It is `ptfile.Device`.",
        lambda case: bool(case.found) and all("'Device', PyTorch 'device'" in text for text in case.found),
    ),
    Row(
        "values",
        "A device with a number above 127",
        "ptfile keeps the number, PyTorch the lowest 8 bits of it.",
        lambda case: any(re.search("ptfile device.*index=", text) for text in case.found),
    ),
)

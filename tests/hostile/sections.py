"""The list of what a file may try, by number, with the errors that are right; and all cases by section."""

from __future__ import annotations

from collections.abc import Mapping

from tests.hostile import (
    cases_calls,
    cases_layouts,
    cases_opcodes,
    cases_other,
    cases_pickles,
    cases_proved,
    cases_tensors,
    cases_zip,
)
from tests.hostile.case import Case

SECTIONS: Mapping[str, tuple[Case, ...]] = {
    "calls": cases_calls.CASES,
    "pickles": (*cases_pickles.CASES, *cases_opcodes.CASES),
    "tensors": (*cases_tensors.CASES, *cases_layouts.CASES),
    "zip": cases_zip.CASES,
    "other": cases_other.CASES,
    "proved": cases_proved.CASES,
}

CASES: Mapping[str, Case] = {case.id: case for section in SECTIONS.values() for case in section}
"""By their names, which differ."""

ALLOWED: Mapping[int, str] = {
    1: "U",  # a name outside the table is called: GLOBAL and REDUCE
    2: "U",  # the same by STACK_GLOBAL
    3: "U",  # by INST
    4: "U",  # by OBJ, also when POP hides the result
    5: "UF+",  # names built from memo entries
    6: "U",  # names that are Python 2 strings
    7: "U",  # a name with a dot in it
    8: "U+",  # Python 2 names
    9: "U",  # EXT1, EXT2, EXT4
    10: "U",  # NEWOBJ_EX
    11: "U",  # a name that is never used
    12: "U",  # a call, then garbage
    13: "F",  # bytes after STOP
    14: "U",  # `_rebuild_from_type_v2` with what is no builder of tensors
    15: "U+",  # a state with dunder keys, keys that are no text, or keys that hide methods
    16: "UL",  # classes that allocate when called
    17: "U",  # `_codecs.encode` with anything but (text, "latin1")
    18: "F",  # a Counter that does not count
    19: "F",  # opcodes on what they do not go with
    20: "F",  # keys that cannot be hashed, and tensors
    21: "FL+",  # keys that take forever to hash
    22: "L+",  # integers that collide
    23: "L+",  # lists that double
    24: "LU+",  # a list in a list a hundred thousand deep; U where names are refused first; + for other objects
    25: "FU+",  # an object that contains itself; the same
    26: "F+",  # huge memo numbers
    27: "F",  # a length beyond the file
    28: "F",  # negative lengths
    29: "FL+",  # numbers that are none, or of a million digits
    30: "F",  # a frame whose end cuts an opcode
    31: "F+",  # bad UTF-8
    32: "FN",  # the structure: stack, marks, STOP, PROTO; N for buffers outside the pickle
    33: "FU",  # persistent ids of another form
    34: "F",  # keys of storages that are none
    35: "F",  # keys without a record
    36: "T",  # one key as two things
    37: "+",  # an odd location is kept as text
    38: "T",  # numel that is not what the record has
    39: "T",  # views outside the storage
    40: "+",  # a stride of 0 over 2**40 elements; a copy is L
    41: "+",  # overlapping strides: writing in place is T
    42: "T+",  # a rank above 64
    43: "T",  # wrong arguments of a builder
    44: "T+",  # dtypes and bytes that disagree
    45: "TN+",  # quantized, nested, meta tensors and wrappers
    46: "T+",  # sparse indices
    47: "TU",  # numpy
    48: "NF",  # encryption, unknown methods, several disks
    49: "F+",  # checksums
    50: "F+",  # local header and directory that disagree
    51: "F",  # overlaps, wrong offsets and counts, extra fields that overrun
    52: "F",  # names that are there twice, or are none; two roots, no root
    53: "F",  # byteorder, version, alignment
    54: "FL+",  # deflate
    55: "F",  # bytes that belong to nothing
    56: "F+",  # zip64 that lies
    57: "+",  # sixty thousand empty records
    58: "F",  # truncation
    59: "+",  # pickles that load never reads
    60: "U+",  # TorchScript
    61: "U",  # a call in any of the five legacy pickles
    62: "FT",  # legacy storages
    63: "F",  # tar
    64: "NF",  # what is no checkpoint
}
"""`+`: some of them load."""

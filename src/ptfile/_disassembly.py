"""`ptfile.disassemble`: the opcodes of the pickles in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ptfile._types import Path, Readable
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.tar_reader import Member, list_files
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import FormatError, LimitError, UnsafeError, located
from ptfile.formats import scan_pickles as sp
from ptfile.formats.opening import open_format, zip_dialect
from ptfile.formats.pickle_sequence import PickleSequence
from ptfile.formats.scan_tar import TORCH_MEMBERS, small_pickles
from ptfile.formats.torchscript_tables import MODEL
from ptfile.formats.zip_records import root_of
from ptfile.limits import Limits
from ptfile.machine import disasm
from ptfile.machine.disasm import Instruction
from ptfile.machine.infamous import does
from ptfile.machine.policy import Policy
from ptfile.sources import MemorySource, Source, open_source
from ptfile.sources.part import part_of
from ptfile.stores.urls import StorageOptions

_DEFAULT_LIMITS = Limits()
_NOT_KNOWN = "not in ptfile's table"
_LEGACY_PICKLES = 5
_MOST_PICKLES = 10_000
_ENDING = ".pkl"
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Disassembly:
    """One pickle. Iterating over it gives its `Instruction`s, up to STOP or to where it breaks off."""

    record: str
    """The record that it is in, with its folder; empty: the file itself."""
    start: int
    """Where it begins, in bytes from the start of the record if there is one, else of the file: as positions count."""
    data: bytes = field(repr=False)
    """Its bytes, and more that may follow."""
    policy: Policy = field(repr=False)

    def __iter__(self) -> Iterator[Instruction]:
        for line in disasm.disassemble(self.data, judge=self._judge):
            yield line if not self.start else _moved(line, self.start)

    def _judge(self, module: str, name: str) -> str:
        try:
            self.policy.resolve(module, name)
        except UnsafeError:
            return does(module, name) or _NOT_KNOWN
        return ""


def disassemble(
    f: Path | Readable,
    record: str | None = None,
    *,
    at: int | None = None,
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Iterator[Disassembly]:
    """The pickles in a file, opcode by opcode. Nothing of them is run, and broken ones are shown up to the fault.

    f: a path, a URL, or a binary file object that can seek, which is read from where it stands. It need be no
        checkpoint, if it is a pickle.
    record: which one of a zip or tar file, with its folder or without; None: all whose names end in `.pkl` of a zip
        file, the four that PyTorch wrote of a tar file. Of a legacy file: the five pickles at its start.
    at: a byte of the record, or of the file, where the one pickle begins that is wanted; `scan` tells such places.

    storage_options: how to open the store that a URL is in (docs/remote.md).

    Names that are not in the table of `load` have a warning, with what they are known to do.

    Raises FormatError for a file without such a record or pickle, and for a damaged one; LimitError, OSError.

    >>> import io, pickle
    >>> for one in disassemble(io.BytesIO(pickle.dumps([eval], 2))):
    ...     print([line.warning for line in one if line.warning])
    ['runs Python code']
    """
    with open_source(f, mmap=False, storage_options=storage_options) as source, located(file=source.name):
        head = bytes(source.read(0, min(HEAD_SIZE, source.size)))
        kind = sniff(head, source.size)
        if kind is Kind.ZIP and (record is not None or at is None):
            yield from _zip(source, record, at, limits)
        elif kind is Kind.TAR and (record is not None or at is None):
            yield from _tar(source, record, at, limits)
        elif record is not None:
            raise FormatError(f"it has no records: it looks like {kind.looks}", fix="Give the file alone")
        elif kind is Kind.LEGACY and at is None:
            yield from _sequence("", PickleSequence(source, limits), sp.PLAIN_POLICY, _LEGACY_PICKLES)
        elif kind is Kind.PICKLE or at is not None:
            if at is not None and not 0 <= at < source.size:
                raise FormatError(f"it has {source.size} bytes, and none at {at}", fix="Give a smaller number")
            yield from _sequence("", PickleSequence(source, limits, at or 0), sp.PLAIN_POLICY, _count(at), at or 0)
        else:
            open_format(source, limits)  # says what it is
            raise FormatError(f"it has no pickle that is found: it looks like {kind.looks}")


def _count(at: int | None) -> int:
    return _MOST_PICKLES if at is None else 1


def _moved(line: Instruction, by: int) -> Instruction:
    return Instruction(line.position + by, line.opcode, line.argument, line.depth, line.note, line.warning)


def _sequence(record: str, sequence: PickleSequence, rules: Policy, most: int, base: int = 0) -> Iterator[Disassembly]:
    """Pickles one behind the other."""
    for _ in range(most):
        if not sequence.rest:
            return
        cut = sequence.next()
        yield Disassembly(record, cut.start + base, cut.data, rules)
        if cut.fault is not None:
            return


def _zip(source: Source, record: str | None, at: int | None, limits: Limits) -> Iterator[Disassembly]:
    reader = ZipReader(source, limits)
    root = root_of(reader)
    names = list(reader.records)
    chosen = [name for name in names if name.endswith(_ENDING)]
    if record is not None:
        chosen = [name for name in (record, f"{root}{record}") if name in reader.records][:1]
    if not chosen:
        raise _no_record(record, names)
    mark = zip_dialect(reader.records, root)
    is_package = bool(mark and mark.endswith("extern_modules"))
    rules = sp.PLAIN_POLICY
    if is_package:
        rules = sp.package_policy(name.removeprefix(root) for name in names)
    elif mark in ("constants.pkl", MODEL):
        rules = sp.SCRIPT_POLICY
    for name in chosen:
        size = reader.records[name].size
        if size > limits.pickle_size:
            problem = "the record is too large for a pickle"
            raise LimitError(problem, limit="pickle_size", allowed=limits.pickle_size, actual=size, record=name)
        data = bytes(reader.read(reader.records[name]))
        yield from _in_record(name, data, at, rules, limits)


def _in_record(name: str, data: bytes, at: int | None, rules: Policy, limits: Limits) -> Iterator[Disassembly]:
    """The pickle that fills a record, and what follows it, should something do."""
    start = at or 0
    if not 0 <= start < len(data):
        raise FormatError(f"it has {len(data)} bytes, and none at {start}", record=name, fix="Give a smaller number")
    sequence = PickleSequence(MemorySource(data, name), limits, start)
    yield from _sequence(name, sequence, rules, _count(at), start)


def _tar(source: Source, record: str | None, at: int | None, limits: Limits) -> Iterator[Disassembly]:
    members = {member.name: member for member in list_files(source, limits)}
    chosen = [name for name in members if name in TORCH_MEMBERS] if record is None else [record]
    if not chosen or chosen[0] not in members:
        raise _no_record(record, list(members))
    for name in chosen:
        sequence = PickleSequence(_part(source, members[name]), limits, at or 0)
        if at is None and name in TORCH_MEMBERS:
            for cut, _ in small_pickles(name, sequence):
                yield Disassembly(name, cut.start, cut.data, sp.PLAIN_POLICY)
        else:
            yield from _sequence(name, sequence, sp.PLAIN_POLICY, _count(at), at or 0)


def _part(source: Source, member: Member) -> Source:
    return part_of(source, member.offset, member.size, f"{source.name}, {member.name}")


def _no_record(record: str | None, names: list[str]) -> FormatError:
    listed = ", ".join(name[:80] for name in names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    problem = f"it has no record {record[:80]}" if record is not None else f"no record's name ends in {_ENDING}"
    return FormatError(problem, fix=f"Choose one of: {listed}")

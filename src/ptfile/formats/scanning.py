"""Every pickle in a file, wherever it is: in records of any name, behind one another, in files inside the file.

What a load would look at is no limit here. Containers are read by the readers of the formats; what is a pickle is told
by its opcodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ptfile.containers import zip_structs as zs
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.tar_reader import Member, list_files
from ptfile.containers.zip_directory import Record
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import FormatError, LimitError, PtfileError
from ptfile.formats import scan_pickles as sp
from ptfile.formats.legacy_reader import lay_out
from ptfile.formats.opening import zip_dialect
from ptfile.formats.package_format import SCRIPT_FOLDER
from ptfile.formats.pickle_sequence import PickleSequence
from ptfile.formats.scan_packed import NOT_OPENED, OPENERS, unpacked
from ptfile.formats.scan_report import PickleReport, Problem
from ptfile.formats.scan_salvage import ends_as_zip, headers_in, inflated, record_at, zips_in
from ptfile.formats.scan_tar import TORCH_MEMBERS, small_pickles
from ptfile.formats.torchscript_tables import MODEL, plain_calls
from ptfile.formats.zip_records import root_of
from ptfile.limits import Limits
from ptfile.machine.policy import Policy
from ptfile.sources import MemorySource, Source
from ptfile.sources.part import part_of

Found: TypeAlias = "PickleReport | Problem"

MOST_PICKLES = 10_000
"""Pickles of one file that are looked at, one behind the other."""
_MOST_UNPACKED = 256 << 20
_PER_HEADER = 1 << 14
"""Bytes that a record of a damaged file counts for besides: a few bytes may be very many of them."""
_MOST_LEVELS = 4
"""Files inside files."""
_LEGACY_PICKLES = 5


class Budget:
    """How many more bytes may be unpacked of one file, or looked at once more: without it, packed files inside packed
    files could go on forever, as could damaged zip files whose records have each other inside.
    """

    def __init__(self) -> None:
        self._spent = 0

    def spend(self, nbytes: int) -> None:
        """Raises LimitError if it is too much."""
        self._spent += nbytes
        if self._spent > _MOST_UNPACKED:
            problem = "its records unpack or come to too many bytes: the rest was not looked at"
            raise LimitError(problem, limit="unpacked", allowed=_MOST_UNPACKED, actual=self._spent)


def _nobody(_place: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes that may be a pickle or hold some."""

    source: Source
    record: str
    """Where they are in the file: as in `PickleReport`."""
    offset: int | None
    """Where they begin in the file, if they stand there as they are."""
    level: int
    limits: Limits
    reached: Callable[[bytes], bool]
    """Whether a load runs a pickle with these bytes."""
    tell: Callable[[int], None] = _nobody
    """Is told up to where they have been gone through, if they are the whole file."""
    policy: Policy = sp.PLAIN_POLICY
    ids: Callable[[], sp.Ids] = sp.AnyIds
    budget: Budget = field(default_factory=Budget)
    has_end: bool = True
    """Whether it is known where they end; else what follows a pickle may be no part of them."""
    is_file: bool = False
    """Whether they are a file by themselves, and not a record of numbers perhaps."""

    def inside(self, name: str, part: Source, offset: int | None) -> Place:
        """A record of these bytes."""
        record = f"{self.record} > {name}" if self.record else name
        base = None if self.offset is None or offset is None else self.offset + offset
        return replace(self, source=part, record=record, offset=base, is_file=False, tell=_nobody)

    @property
    def reading(self) -> sp.Reading:
        return sp.Reading(self.policy, self.limits, self.ids, self.reached)

    @property
    def shown(self) -> tuple[str, int | None]:
        return self.record, self.offset

    def problem(self, error: PtfileError) -> Problem:
        """What was wrong here."""
        return Problem(self.record, error.problem, error.fix)


def scan_source(
    source: Source, limits: Limits, reached: Callable[[bytes], bool], tell: Callable[[int], None] = _nobody
) -> Iterator[Found]:
    """All pickles in a file, and what could not be looked into. Raises nothing but OSError.

    reached: whether a load runs a pickle with these bytes.
    tell: is told up to which place the file has been gone through.
    """
    yield from _walk(Place(source, "", 0, 0, limits, reached, tell, is_file=True))


def _walk(place: Place) -> Iterator[Found]:
    try:
        head = bytes(place.source.read(0, min(HEAD_SIZE, place.source.size)))
        kind = sniff(head, place.source.size)
        if place.level > _MOST_LEVELS and kind in _CONTAINERS:
            yield Problem(place.record, f"files inside files, {_MOST_LEVELS} deep", "Unpack the outermost first")
        elif kind in _CONTAINERS:
            yield from _CONTAINERS[kind](replace(place, level=place.level + 1))
        elif kind in NOT_OPENED:
            yield Problem(place.record, f"it looks like {kind.looks}, which was not opened", kind.fix)
        elif place.is_file and ends_as_zip(place.source):
            yield from _broken_zip(place, FormatError("it ends as a zip file and does not begin as one"))
        if kind not in (Kind.ZIP, Kind.LEGACY) and sp.may_begin(head):
            yield from _pickles(place, PickleSequence(place.source, place.limits))
    except PtfileError as error:
        yield place.problem(error)


# pickles by themselves


def _pickles(place: Place, sequence: PickleSequence) -> Iterator[Found]:
    """The pickles that stand one behind the other from here on, up to what is none."""
    waiting: list[PickleReport] = []  # those that may yet turn out to be numbers
    is_sure = False
    for _ in range(MOST_PICKLES):
        cut = sequence.next()
        place.tell(sequence.position)
        judged = sp.judge(cut, place.reading, place.shown)
        is_one = judged.is_pickle or judged.report.reached
        is_sure = is_sure or is_one
        if is_one or judged.recording.ended:
            waiting.append(judged.report)
        elif waiting and place.has_end:
            waiting[-1] = sp.with_trailing(waiting[-1], place.source.size - cut.start, cut.start)
        # Where opcodes go on to a STOP, a reader that is less strict may come to what is behind it.
        if cut.fault is not None or not sequence.rest:
            is_sure = is_sure or judged.recording.ended
            break
        if is_sure and len(waiting) > 1:
            yield waiting.pop(0)
    else:
        is_sure = True
        yield Problem(place.record, f"more than {MOST_PICKLES} pickles: the rest was not looked at")
    if is_sure:
        yield from waiting


# zip files


def _zip(place: Place) -> Iterator[Found]:
    try:
        reader = ZipReader(place.source, place.limits)
    except PtfileError as error:
        yield from _broken_zip(place, error)
    else:
        yield from _records(place, reader)


def _broken_zip(place: Place, error: PtfileError) -> Iterator[Found]:
    """Several zip files one behind the other, or a damaged one."""
    if place.level > 1:
        place.budget.spend(place.source.size)
    end, size = 0, place.source.size
    for start, reader in zips_in(place.source, place.limits, lambda at: place.tell(at // 2)):
        end = start + reader.source.size
        inside = place.inside(f"zip file at byte {start}", reader.source, start)
        yield from _records(replace(inside, level=place.level + 1), reader)
    if end == size:
        return
    yield place.problem(error)
    for offset, most in headers_in(place.source, end, lambda at: place.tell((size + at) // 2)):
        yield from _salvaged(place, offset, most)


def _salvaged(place: Place, header: int, most: int) -> Iterator[Found]:
    """What is in a record of a damaged zip file."""
    found = record_at(place.source, header, most, place.limits)
    if found is not None:
        name, offset, part = found
        place.budget.spend(_PER_HEADER + (part.size if offset is None else 0))
        yield from _walk(replace(place.inside(name, part, offset), has_end=False))


def _records(place: Place, reader: ZipReader) -> Iterator[Found]:
    root = root_of(reader)
    mark = zip_dialect(reader.records, root)
    is_package = bool(mark and mark.endswith("extern_modules"))
    if is_package:
        names = (name.removeprefix(root) for name in reader.records)
        place = replace(place, policy=sp.package_policy(names), ids=sp.package_ids)
    elif mark in ("constants.pkl", MODEL):
        place = replace(place, policy=sp.TABLE_POLICY if mark == MODEL else sp.SCRIPT_POLICY, ids=sp.Ids)
    else:
        place = replace(place, policy=sp.PLAIN_POLICY, ids=sp.Ids)
    if mark == MODEL:
        before = place.reached
        place = replace(place, reached=lambda data: before(data) or before(_plain(data)))
    script = replace(place, policy=sp.SCRIPT_POLICY)
    reader.will_look(HEAD_SIZE)
    for name, record in reader.records.items():
        place.tell(record.header_offset)
        in_script = is_package and name.removeprefix(root).startswith(SCRIPT_FOLDER)
        try:
            yield from _zip_record(script if in_script else place, reader, record)
        except PtfileError as error:
            yield place.inside(name, place.source, None).problem(error)
            if error.offset is None:  # of the record, and not of something in it
                yield from _salvaged(place, record.header_offset, record.compressed_size)


def _plain(data: bytes) -> bytes:
    """What a load of an archive of PyTorch 1.1 or 1.2 makes of a pickle before it runs it."""
    try:
        return plain_calls(data)
    except FormatError:
        return data


def _zip_record(place: Place, reader: ZipReader, record: Record) -> Iterator[Found]:
    if not record.size:
        return
    payload = reader.locate(record)
    if record.method == zs.STORED:
        part = part_of(place.source, payload, record.size, f"{place.source.name}, {record.name}")
        inside = place.inside(record.name, part, payload)
    else:
        head = inflated(place.source, payload, min(record.compressed_size, HEAD_SIZE), HEAD_SIZE)[:HEAD_SIZE]
        if not _may_hold_any(head, record.size):
            return
        place.budget.spend(record.size)
        content = MemorySource(reader.read(record), f"{place.source.name}, {record.name}")
        inside = place.inside(record.name, content, None)
    has_pickle = False
    for one in _walk(inside):
        yield one
        has_pickle = has_pickle or (isinstance(one, PickleReport) and one.record == inside.record)
    if has_pickle and record.method == zs.STORED and record.size <= place.limits.pickle_size:
        try:
            reader.read(record)
        except PtfileError as error:  # its checksum
            yield inside.problem(error)


def _may_hold_any(head: bytes, size: int) -> bool:
    kind = sniff(head, size)
    return kind in _CONTAINERS or kind in NOT_OPENED or sp.may_begin(head)


# legacy files


def _legacy(place: Place) -> Iterator[Found]:
    """Checkpoints one behind the other, five pickles each, and whatever follows them."""
    sequence = PickleSequence(place.source, place.limits)
    is_first = place.is_file
    for _ in range(MOST_PICKLES // _LEGACY_PICKLES):
        reached = replace(place, reached=lambda _, first=is_first: first)  # type: ignore[misc]
        small = replace(reached.reading, policy=sp.NOTHING)
        sizes: dict[str, int] = {}
        keys: object = None
        for number in range(_LEGACY_PICKLES):
            reading = reached.reading if number == _LEGACY_PICKLES - 2 else small
            judged = sp.judge(sequence.next(), reading, place.shown)
            place.tell(sequence.position)
            yield judged.report
            if not judged.recording.ended:
                return
            sizes, keys = {**sizes, **judged.ids.sizes}, judged.recording.value
        _, end = lay_out(keys, sizes, sequence.position)
        sequence.skip(end - sequence.position)
        if not sequence.rest:
            return
        head = bytes(place.source.read(sequence.position, min(HEAD_SIZE, sequence.rest)))
        if sniff(head, sequence.rest) is not Kind.LEGACY:
            if sp.may_begin(head):
                yield from _pickles(replace(place, reached=lambda _: False), sequence)
            return
        is_first = False
    yield Problem(place.record, f"more than {MOST_PICKLES} pickles: the rest was not looked at")


# tar files


def _tar(place: Place) -> Iterator[Found]:
    members = list(_members(place))
    names = {member.name for member in members if isinstance(member, Member)}
    is_torch = TORCH_MEMBERS.keys() <= names
    for member in members:
        if isinstance(member, Problem):
            yield member
            continue
        place.tell(member.offset)
        part = part_of(place.source, member.offset, member.size, f"{place.source.name}, {member.name}")
        inside = place.inside(member.name, part, member.offset)
        if not is_torch or member.name not in TORCH_MEMBERS:
            yield from _walk(inside) if member.size else ()
            continue
        inside = replace(inside, reached=lambda _: place.is_file)
        try:
            for cut, rules in small_pickles(member.name, PickleSequence(part, place.limits)):
                yield sp.judge(cut, replace(inside.reading, policy=rules), inside.shown).report
        except PtfileError as error:
            yield inside.problem(error)


def _members(place: Place) -> Iterator[Member | Problem]:
    try:
        yield from list_files(place.source, place.limits)
    except PtfileError as error:
        yield place.problem(error)


# packed files


def _packed(place: Place) -> Iterator[Found]:
    """A file that is compressed as a whole."""
    kind = sniff(bytes(place.source.read(0, min(HEAD_SIZE, place.source.size))), place.source.size)
    most = place.limits.inflated
    try:
        content = unpacked(place.source, kind, most)
    except FormatError:
        if place.is_file:  # else they are numbers, most likely
            raise
        return
    if len(content) > most:
        raise FormatError(f"it looks like {kind.looks}, and unpacks to more than {most} bytes", fix=kind.fix)
    place.budget.spend(len(content))
    yield from _walk(place.inside("unpacked", MemorySource(content, place.source.name), None))


_CONTAINERS: dict[Kind, Callable[[Place], Iterator[Found]]] = {
    Kind.ZIP: _zip,
    Kind.LEGACY: _legacy,
    Kind.TAR: _tar,
    **dict.fromkeys(OPENERS, _packed),
}

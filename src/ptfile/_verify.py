"""`ptfile.verify`: is this file what was saved? Everything in it is checked, and what is damaged has a name."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ptfile._collector import paused_collector
from ptfile._tree import names_by_storage
from ptfile._types import Path, Progress, Readable
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.zip_check import PIECE, check_record, check_serialization_id
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import FormatError, PtfileError, TensorError, UnsafeError, UnsupportedError
from ptfile.formats.diagnosis import AGAIN, REPAIR
from ptfile.formats.legacy_reader import LegacyFormatReader
from ptfile.formats.opening import open_format, open_zip_records
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.rebuild_layouts import check_indices, unchecked
from ptfile.formats.salvage import BrokenZip
from ptfile.formats.zip_records import ZipRecords, root_of
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources import Source, announce, open_source
from ptfile.sources.read_ahead import near
from ptfile.stores.urls import StorageOptions

_DEFAULT_LIMITS = Limits()
_NO_CHECKSUMS = "the {} format has no checksums: bytes of tensors that have changed cannot be told"
_OFF = "bytes of theirs that have changed cannot be told. The file was written with checksums off"
_FAULTS = (FormatError, TensorError, UnsafeError, UnsupportedError)
"""Errors for which a file is not ok: it is damaged, or loading it would fail."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with a file, or that keeps ptfile from reading it."""

    problem: str
    """What is wrong."""
    record: str | None = None
    """The record in the file, without its root folder; None: the file as a whole."""
    tensors: tuple[str, ...] = ()
    """The names of all tensors whose bytes are in the record, as `inspect` gives them."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found."""

    file: str
    """The path, or the kind of object that the bytes came from."""
    nbytes: int
    """Bytes of the file."""
    format: str
    """The dialect, such as `zip`; empty if the file is none of ptfile's."""
    records: int
    """How many records were read and compared with their checksums."""
    damage: tuple[Damage, ...]
    unchecked: tuple[str, ...]
    """What could not be checked, and why, in sentences."""
    advice: str = ""
    """What to do about the damage."""
    can_be_repaired: bool = False
    """Whether `repair` can save a part of a damaged file."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what could be checked. What is ok, `load` reads with `unknown="inert"`."""
        return not self.damage


@dataclass(slots=True)
class _Findings:
    file: str
    nbytes: int
    format: str = ""
    records: int = 0
    damage: list[Damage] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    advice: str = ""
    can_be_repaired: bool = False

    def add(self, error: PtfileError, tensors: tuple[str, ...] = ()) -> None:
        place = f" (at byte {error.offset})" if error.offset is not None else ""
        self.damage.append(Damage(error.problem + place, error.record, tensors))
        self.advice = self.advice or error.fix

    def result(self) -> Verification:
        if any("" in damage.tensors for damage in self.damage) and self.can_be_repaired:
            # The file is one tensor, and that is lost.
            self.can_be_repaired, self.advice = False, AGAIN
        return Verification(
            self.file, self.nbytes, self.format, self.records, tuple(self.damage), tuple(self.unchecked), self.advice,
            self.can_be_repaired,
        )  # fmt: skip


def verify(
    f: Path | Readable,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    progress: Progress | None = None,
    storage_options: StorageOptions = None,
) -> Verification:
    """Check all of a file: its structure, the checksum of every record, the bounds of every tensor.

    Also records that loading never reads, the descriptors behind records, and the serialization id, which is computed
    again. Nothing that the file names is run, and objects of unknown classes are looked into as inert records. Bytes
    are read in pieces of 1 MiB; only pickles are held in memory, and the indices of sparse tensors.

    f: a path, a URL, or a binary file object that can seek, which is read from where it stands.

    encoding, errors: how to read the strings of Python 2, as in `load`.

    storage_options: how to open the store that a URL is in (docs/remote.md).

    progress: is called with the bytes checked so far and the bytes that there are to check.

    A damaged file is no error here but a result, and so is a record that the disk cannot read; what ptfile cannot check
    it says in `unchecked`. Raises OSError if the file cannot be read at all, and LimitError.

    >>> import io, ptfile
    >>> buffer = io.BytesIO()
    >>> ptfile.save({"weight": ptfile.arange(4), "bias": ptfile.zeros(4)}, buffer)
    >>> bool(verify(io.BytesIO(buffer.getvalue())).ok)
    True
    >>> damaged = buffer.getvalue().replace(ptfile.arange(4).numpy().tobytes(), bytes(32))
    >>> [(damage.record, damage.tensors) for damage in verify(io.BytesIO(damaged)).damage]
    [('data/0', ('weight',))]
    """
    runner = SafeRunner(limits, "inert", Python2Text(encoding, errors))
    with paused_collector(), open_source(f, mmap=False, storage_options=storage_options) as source:
        findings = _Findings(source.name, source.size)
        kind = sniff(bytes(source.read(0, min(HEAD_SIZE, source.size))), source.size)
        check = _verify_zip if kind is Kind.ZIP else _verify_other
        try:
            check(source, runner, limits, findings, progress or _nobody)
        except _FAULTS as error:
            findings.add(error)
            if kind in (Kind.UNKNOWN, Kind.ZEROS):  # a zip file may have lost its first bytes
                _look_at_the_rest(source, runner, limits, findings)
        return findings.result()


def _nobody(_done: int, _total: int) -> None:
    pass


# zip


def _verify_zip(source: Source, runner: SafeRunner, limits: Limits, findings: _Findings, progress: Progress) -> None:
    findings.format = "zip"
    try:
        reader = ZipReader(source, limits)
    except (FormatError, UnsupportedError):
        try:
            open_format(source, limits)  # says more about it
        except (FormatError, UnsupportedError) as error:
            findings.add(error)
        _look_at_the_rest(source, runner, limits, findings)
        return
    faults = dict(_record_faults(reader, findings, progress))
    try:
        check_serialization_id(reader, root_of(reader))
    except FormatError as error:
        if not faults:
            findings.add(error)
    names: dict[str, tuple[str, ...]] = {}
    try:
        names, layouts = _tensor_names(reader, runner, limits, findings)
        if not faults:
            check_indices(layouts, limits)
    except _FAULTS as error:
        if error.record not in faults:
            findings.add(error)
    if faults and not names:
        names = _names_in_the_rest(source, runner, limits)
    for record, fault in faults.items():
        fault.record = record
        findings.add(fault, names.get(record, ()))
    if faults and findings.format == "zip" and names:
        findings.can_be_repaired = True
        findings.advice = REPAIR


def _record_faults(reader: ZipReader, findings: _Findings, progress: Progress) -> Iterator[tuple[str, FormatError]]:
    """The records that are damaged, by their short names."""
    root = root_of(reader)
    source = near(reader.source)
    announce(source, [(0, source.size)])
    total = sum(record.compressed_size for record in reader.records.values())
    done = 0
    without = 0

    def advance(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        progress(done, total)

    for name, record in reader.records.items():
        try:
            check_record(reader, source, record, advance)
        except FormatError as error:
            yield name.removeprefix(root), error
            continue
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            yield name.removeprefix(root), FormatError(f"the disk cannot read it: {error.strerror}", fix=REPAIR)
            continue
        findings.records += 1
        without += bool(record.size and not record.crc)
    if without:
        findings.unchecked.append(f"{without} of {len(reader.records)} records have no checksum: {_OFF}")


def _tensor_names(
    reader: ZipReader, runner: SafeRunner, limits: Limits, findings: _Findings
) -> tuple[dict[str, tuple[str, ...]], Sequence[Any]]:
    """The names of the tensors in each record, by its short name; and the tensors whose indices are to be checked.

    Raises what `load` raises, but for what can only be seen in the bytes of tensors.
    """
    records = ZipRecords(reader, limits)
    opened = open_zip_records(records)
    findings.format = opened.format
    with _noting_layouts() as layouts:
        value = opened.load(runner, None)
    root = root_of(reader)
    by_header = {record.header_offset: name.removeprefix(root) for name, record in reader.records.items()}
    storages = {id(storage): by_header.get(header, "") for header, storage in records.asked}
    names: dict[str, tuple[str, ...]] = {}
    for identity, those in names_by_storage(value, limits).items():
        record = storages.get(identity, "")
        names[record] = names.get(record, ()) + those
    return names, layouts


def _names_in_the_rest(source: Source, runner: SafeRunner, limits: Limits) -> dict[str, tuple[str, ...]]:
    """The same of a file that does not load, because of its byte order perhaps, if its pickle is whole."""
    try:
        rest = BrokenZip(source, limits, runner)
    except PtfileError:
        return {}
    names = names_by_storage(rest.value, limits)
    return {storage.record: names.get(id(storage.storage), ()) for storage in rest.storages.values()}


@contextmanager
def _noting_layouts() -> Iterator[list[Any]]:
    """Collect tensors whose indices can be checked only with their bytes."""
    found: list[Any] = []
    token = unchecked.set(found)
    try:
        yield found
    finally:
        unchecked.reset(token)


def _look_at_the_rest(source: Source, runner: SafeRunner, limits: Limits, findings: _Findings) -> None:
    """Which tensors of a file without a directory are lost."""
    try:
        rest = BrokenZip(source, limits, runner)
        rest.resolve()
    except PtfileError:
        return
    names = names_by_storage(rest.value, limits)
    for storage in rest.storages.values():
        if storage.problem:
            findings.damage.append(Damage(storage.problem, storage.record, names.get(id(storage.storage), ())))
        else:
            findings.records += storage.is_verified
    findings.can_be_repaired = True


# legacy, tar, and what is none of these


def _verify_other(source: Source, runner: SafeRunner, limits: Limits, findings: _Findings, progress: Progress) -> None:
    reader = open_format(source, limits)
    findings.format = reader.format
    findings.unchecked.append(_NO_CHECKSUMS.format(reader.format))
    with _noting_layouts() as layouts:
        reader.load(runner, None)
    if isinstance(reader, LegacyFormatReader):
        reader.check_counts()
        behind = source.size - reader.end
        if behind:
            findings.unchecked.append(f"{behind} bytes follow the checkpoint, another one perhaps")
    announce(source, [(0, source.size)])
    for start in range(0, source.size, PIECE):  # a disk may have lost some of it
        length = min(PIECE, source.size - start)
        source.read(start, length)
        progress(start + length, source.size)
    check_indices(layouts, limits)

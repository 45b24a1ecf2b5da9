"""`ptfile.info`: what a checkpoint is made of: who wrote it, where its bytes go, what is in it in vain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ptfile._inspect import Summary, TensorInfo, summarize
from ptfile._names import components
from ptfile._tree import named
from ptfile._types import Path, Readable
from ptfile.containers.sniff import HEAD_SIZE, Kind, sniff
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import PtfileError, located
from ptfile.formats.opening import open_format, open_zip_records
from ptfile.formats.origin import writer
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.reader import FormatReader
from ptfile.formats.zip_records import STORAGES, ZipRecords
from ptfile.limits import Limits
from ptfile.machine.fast import BuildTensor
from ptfile.machine.vm import Python2Text
from ptfile.sources import Source, open_source
from ptfile.stores.urls import StorageOptions
from ptfile.tensors import strides

_DEFAULT_LIMITS = Limits()
_PROTO = 0x80
_DEEPEST = 8
"""Steps of a name that are looked at for what names have in common."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the tensors, and what it comes to. A view that has several names counts once, for the first."""

    name: str
    """What they have in common: a dtype, a device, the beginning of a name."""
    tensors: int
    elements: int
    nbytes: int
    """Of their elements."""


@dataclass(frozen=True, slots=True)
class Info:
    """What `info` found."""

    summary: Summary
    """What `inspect` says of the file."""
    writer: str
    """Which versions of PyTorch write such files, as far as the file tells. Other programs write them too."""
    protocol: int | None
    """Of the first pickle; None if it says none, which is 0 or 1, and for safetensors, which has no pickle."""
    pickle_nbytes: int
    """Of all pickles that a load runs."""
    facts: Mapping[str, str]
    """What the file says of how it was written, as `Checkpoint.metadata` has it: `version`, `byteorder`."""
    unused: Mapping[str, int]
    """Records that would be storages, which nothing in the checkpoint names; with their bytes in the file."""

    @property
    def waste(self) -> int:
        """Bytes of storages in the file that no tensor reaches."""
        return self.summary.unreached + sum(self.unused.values())

    def by_dtype(self) -> tuple[Share, ...]:
        """The tensors of each dtype, the largest share first."""
        return _shares(self.summary.tensors, lambda tensor: tensor.dtype)

    def by_device(self) -> tuple[Share, ...]:
        """The tensors of each device, the largest share first."""
        return _shares(self.summary.tensors, lambda tensor: tensor.device)

    def by_prefix(self, most: int = 12) -> tuple[Share, ...]:
        """The tensors by the beginnings of their names, the largest share first.

        In place of a prefix with a large share stand those one step longer, as long as there are no more than `most`.
        A tensor that has a share of its own is there by its name. If there are too many to begin with, the smallest are
        one share at the end, called `(others)`.
        """
        parts = {tensor.name: components(tensor.name)[:_DEEPEST] for tensor in self.summary.tensors}
        opened = {""}
        closed: set[str] = set()

        def prefix(tensor: TensorInfo) -> str:
            name = ""
            for part in parts[tensor.name]:
                if name not in opened:
                    break
                name += part
            return name

        shares = _shares(self.summary.tensors, prefix)
        large = sum(share.nbytes for share in shares) // most
        while True:
            several = (share.name for share in shares if share.tensors > 1 and share.nbytes >= large)
            largest = next((name for name in several if name not in opened | closed), None)
            if largest is None:
                alone = {prefix(tensor): tensor.name for tensor in self.summary.tensors}
                by_name = (replace(one, name=alone[one.name]) if one.tensors == 1 else one for one in shares)
                return _at_most(most, tuple(by_name))
            opened.add(largest)
            finer = _shares(self.summary.tensors, prefix)
            if len(finer) <= most:
                shares = finer
            else:
                opened.discard(largest)
                closed.add(largest)


@dataclass(frozen=True, slots=True)
class _NotingRunner(SafeRunner):
    """Runs pickles, and knows afterwards how long they were."""

    ran: list[tuple[int | None, int]] = field(default_factory=list)

    def run(
        self,
        data: bytes,
        load_persistent: Callable[[object], object],
        start: int = 0,
        tensor: BuildTensor | None = None,
    ) -> tuple[Any, int]:
        value, end = SafeRunner.run(self, data, load_persistent, start, tensor)
        self.ran.append((data[start + 1] if data[start] == _PROTO else None, end - start))
        return value, end


def info(
    f: Path | Readable,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
) -> Info:
    """What a checkpoint is made of. Reads what `inspect` reads, and the small records that say how it was written.

    f: a path, a URL, or a binary file object that can seek, which is read from where it stands.

    encoding, errors: how to read the strings of Python 2, as in `load`.

    storage_options: how to open the store that a URL is in (docs/remote.md).

    Raises what `inspect` raises.

    >>> import io, ptfile
    >>> buffer = io.BytesIO()
    >>> ptfile.save({"a.w": ptfile.zeros(3, 4), "a.b": ptfile.zeros(4), "step": ptfile.tensor(7)}, buffer)
    >>> buffer.seek(0)
    0
    >>> about = info(buffer)
    >>> about.writer
    'PyTorch 2.7 or newer'
    >>> [(share.name, share.elements, share.nbytes) for share in about.by_dtype()]
    [('float32', 16, 64), ('int64', 1, 8)]
    """
    with open_source(f, mmap=False, storage_options=storage_options) as source, located(file=source.name):
        records, reader = _opened(source, limits)
        runner = _NotingRunner(limits, "inert", Python2Text(encoding, errors))
        root = reader.load(runner, None)
        summary = summarize(source.name, source.size, reader.format, named(root, limits))
        facts = reader.about()
        return Info(
            summary=summary,
            writer=writer(reader.format, records or (), facts),
            protocol=runner.ran[0][0] if runner.ran else None,
            pickle_nbytes=sum(nbytes for _, nbytes in runner.ran),
            facts=facts,
            unused=_unused(records) if records and reader.format == "zip" else {},
        )


def _opened(source: Source, limits: Limits) -> tuple[ZipRecords | None, FormatReader]:
    """The reader of a file; and its records, if it is a zip file."""
    head = bytes(source.read(0, min(HEAD_SIZE, source.size)))
    if sniff(head, source.size) is Kind.ZIP:
        try:
            records = ZipRecords(ZipReader(source, limits), limits)
            return records, open_zip_records(records)
        except PtfileError:
            return None, open_format(source, limits)  # says more about it
    return None, open_format(source, limits)


def _unused(records: ZipRecords) -> dict[str, int]:
    """The records of storages that no load asks for."""
    asked = {offset for offset, _ in records.asked}
    return {
        name: records.size(name)
        for name in records.names
        if name.startswith(STORAGES) and records.size(name) and records.header_offset(name) not in asked
    }


def _at_most(most: int, shares: tuple[Share, ...]) -> tuple[Share, ...]:
    if len(shares) <= most:
        return shares
    rest = shares[most - 1 :]
    totals = (sum(getattr(one, what) for one in rest) for what in ("tensors", "elements", "nbytes"))
    return (*shares[: most - 1], Share("(others)", *totals))


def _shares(tensors: Iterable[TensorInfo], key: Callable[[TensorInfo], str]) -> tuple[Share, ...]:
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    views = set()
    for tensor in tensors:
        total = totals[key(tensor)]
        total[0] += 1
        if tensor.view not in views:
            views.add(tensor.view)
            total[1] += strides.numel(tensor.shape)
            total[2] += tensor.nbytes
    shares = [Share(name, *total) for name, total in totals.items()]
    return tuple(sorted(shares, key=lambda share: -share.nbytes))

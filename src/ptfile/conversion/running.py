"""What `convert` does."""

# ruff: noqa: PTH122  (as in `sinks`, pathlib would lose what paths say)

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ptfile._collector import paused_collector
from ptfile._types import Path, Progress, Readable
from ptfile.conversion import npz_format, safetensors_format
from ptfile.conversion.checking import StorageSums, Sums, Watch, is_as_expected
from ptfile.conversion.describing import describe
from ptfile.conversion.reading import read_tree
from ptfile.conversion.report import SUFFIXES, Conversion, Format
from ptfile.conversion.restoring import restore
from ptfile.errors import located
from ptfile.formats.streamed import StreamedStorages, streamed_save
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sinks import Sink, open_sink
from ptfile.sources import open_source
from ptfile.stores.urls import StorageOptions


@dataclass(frozen=True, slots=True)
class Job:
    """The arguments of `convert`."""

    src: Path | Readable
    dst: Path
    to: Format | None
    leave_out: bool
    verify: bool
    text: Python2Text
    limits: Limits
    storage_options: StorageOptions


def run(job: Job, progress: Progress | None) -> Conversion:
    """Do it. Raises as `convert` says."""
    out = os.fspath(job.dst)
    target = job.to or _format_of(out)
    if target not in SUFFIXES.values():
        message = f"to is {target!r}: it must be 'pt', 'safetensors' or 'npz'"
        raise ValueError(message)
    watch = Watch(progress, compares=job.verify)
    with (
        open_source(job.src, mmap=False, storage_options=job.storage_options) as source,
        located(file=source.name),
        paused_collector(),
    ):
        opened = read_tree(source, job.limits, job.text)
        prepared = _prepare(opened.root, target, job, watch)
        with open_sink(job.dst, small_pages=True, storage_options=job.storage_options) as sink:
            watch.expect(prepared.nbytes, sink)
            prepared.write(sink)
            verified = is_as_expected(sink, out, prepared.expected, watch, job.limits, job.text, of=prepared.of)
        watch.counter.finish()
        return Conversion(
            file=source.name,
            format=opened.format,
            out=out,
            to=target,
            nbytes=prepared.nbytes,
            left_out=tuple(prepared.left_out),
            unkept=opened.unkept,
            unreached=prepared.unreached,
            verified=verified,
        )


def _format_of(path: str) -> Format:
    ending = os.path.splitext(path)[1].lower()
    if ending not in SUFFIXES:
        message = f"{path!r} does not end in {', '.join(SUFFIXES)}: say which format it shall have by `to` (--to)"
        raise ValueError(message)
    return SUFFIXES[ending]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file that is laid out and not written yet."""

    nbytes: int
    write: Callable[[Sink], None]
    expected: Callable[[], Any]
    """The tree that the file has to give again."""
    left_out: Sequence[str] = ()
    unreached: int = 0
    of: type[Sums] = Sums
    """What its tensors are compared by."""


def _prepare(root: Any, target: Format, job: Job, watch: Watch) -> _Prepared:
    if target == "pt":
        save = streamed_save(root, job.dst, StreamedStorages(watch.feed))
        return _Prepared(save.nbytes, save.write, lambda: root, of=StorageSums)
    other = safetensors_format if target == "safetensors" else npz_format
    described = describe(
        root,
        objection=other.objection,
        allows=other.allows,
        one_name=other.one_name,
        leave_out=job.leave_out,
    )
    planned = other.lay_out(described.entries, described.note)

    def write(sink: Sink) -> None:
        planned.write(sink, watch.feed)

    def expected() -> Any:
        if not described.left_out:
            return root
        return restore(described.note, {entry.name: entry.alone() for entry in described.entries}, job.limits)

    return _Prepared(planned.nbytes, write, expected, described.left_out, described.unreached)

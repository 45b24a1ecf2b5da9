"""`ptfile verify`: is this file what was saved?

Exit codes: 0 nothing is wrong with any of the files (what cannot be checked is said), 1 a file is damaged, is no
checkpoint or cannot be read, 2 the command line is wrong.

`--json` prints a list with one object for each file. Its keys stay as they are; later versions may add some.

    file, bytes, format         the path, its size, its dialect ("" if it is no checkpoint)
    ok                          whether nothing is wrong with what could be checked
    records                     how many records were held against their checksums
    damage                      list
        problem                 what is wrong
        record                  the record in the file; null for the file as a whole
        tensors                 names of the tensors whose bytes are in it
    unchecked                   list of sentences: what could not be checked
    advice                      what to do about the damage; ""
    can_be_repaired             whether `ptfile repair` can save a part of it
    error                       why the file could not be read at all; null
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from ptfile._verify import Progress, Verification, verify
from ptfile.cli import text
from ptfile.cli.printable import printable
from ptfile.errors import PtfileError

MOST_NAMES = 10
"""Names of damaged tensors that people are shown for one record."""
_PATIENCE = 1.0
"""Seconds before there is a progress bar."""


@click.command("verify")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--encoding", default="utf-8", help="How to read strings that Python 2 wrote, such as latin1.")
def command(files: tuple[str, ...], *, as_json: bool, encoding: str) -> None:
    """Check everything in checkpoints: structure, checksums, tensor bounds; name the tensors that are damaged.

    Runs nothing that a file names. Exit code 0: nothing is wrong; 1: a file is damaged or cannot be read.
    """
    found = []
    for file in files:
        with progress_bar(file) as progress:
            result, problem = _verified(file, encoding, progress)
        found.append((file, result, problem))
        if not as_json:
            for line in lines(file, result, problem):
                click.echo(printable(line))
    if as_json:
        click.echo(json.dumps([_as_dict(*each) for each in found]))
    if not all(result is not None and result.ok for _, result, _ in found):
        raise SystemExit(1)


def _verified(file: str, encoding: str, progress: Progress) -> tuple[Verification | None, str]:
    """What was found, or why nothing could be."""
    try:
        return verify(file, encoding=encoding, progress=progress), ""
    except PtfileError as error:
        return None, error.problem
    except OSError as error:
        return None, error.strerror or str(error)


def _as_dict(file: str, result: Verification | None, problem: str) -> dict[str, Any]:
    if result is None:
        return {"file": file, "ok": False, "error": problem}
    found = asdict(result)
    return {"file": file, "bytes": found.pop("nbytes"), "ok": result.ok, "error": None, **found}


def lines(file: str, result: Verification | None, problem: str) -> Iterator[str]:
    """What people read about one file."""
    if result is None:
        yield f"{file}: NOT CHECKED: {problem}"
        return
    kind = f"{result.format} format, " if result.format else ""
    if result.ok:
        how_much = f", {text.count(result.records, 'record')} checked" if result.records else ""
        yield f"{file}: OK: {kind}{text.size(result.nbytes)}{how_much}"
    else:
        yield f"{file}: NOT OK: {kind}{text.size(result.nbytes)}"
    for damage in result.damage:
        yield f"  {damage.record}: {damage.problem}" if damage.record else f"  {damage.problem}"
        if damage.tensors:
            yield f"    tensors: {text.names(damage.tensors, MOST_NAMES)}"
    for sentence in result.unchecked:
        yield f"  not checked: {sentence}"
    if result.advice:
        yield f"  {result.advice}"


@contextmanager
def progress_bar(file: str) -> Iterator[Callable[[int, int], None]]:
    """What to tell the bytes that are done: after a second, and in a terminal, it shows a bar."""
    started = time.monotonic()
    bar: Any = None
    task: Any = None

    def advance(done: int, total: int) -> None:
        nonlocal bar, task
        if bar is None and sys.stderr.isatty() and time.monotonic() - started > _PATIENCE:
            bar = _bar()
            bar.start()
            task = bar.add_task(printable(file), total=total)
        if bar is not None:
            bar.update(task, completed=done)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    name = TextColumn("{task.description}", markup=False)  # a name may hold brackets
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)

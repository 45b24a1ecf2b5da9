"""`ptfile verify`: is this file what was saved?

Exit codes: 0 nothing is wrong with any of the files (what cannot be checked is said), 1 a file is damaged or is no
checkpoint, 2 a file cannot be read, or the command line is wrong (1 goes before 2).

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

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from ptfile._types import Progress
from ptfile._verify import Verification, verify
from ptfile.cli import text, to_json
from ptfile.cli.arguments import FILE, encoding_option, json_option, storage_option
from ptfile.cli.lines import echo
from ptfile.cli.progress import progress_bar
from ptfile.errors import PtfileError
from ptfile.stores.urls import StorageOptions, redacted

MOST_NAMES = 10
"""Names of damaged tensors that people are shown for one record."""


@click.command("verify")
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@json_option
@encoding_option
@storage_option
def command(files: tuple[str, ...], *, as_json: bool, encoding: str, storage_options: StorageOptions) -> None:
    """Check everything in checkpoints: structure, checksums, tensor bounds; name the tensors that are damaged.

    Runs nothing that a file names.

    Exit codes: 0 nothing is wrong, 1 a file is damaged, 2 a file cannot be read.
    """
    found = []
    for file in files:
        called = redacted(file)
        with progress_bar(called) as progress:
            result, problem = _verified(file, encoding, storage_options, progress)
        found.append((called, result, problem))
        if not as_json:
            for line in lines(called, result, problem):
                echo(line)
    if as_json:
        to_json.write([_as_dict(*each) for each in found])
    codes = {2 if result is None else int(not result.ok) for _, result, _ in found}
    raise SystemExit(1 if 1 in codes else max(codes))


def _verified(
    file: str, encoding: str, storage_options: StorageOptions, progress: Progress
) -> tuple[Verification | None, str]:
    """What was found, or why nothing could be."""
    try:
        return verify(file, encoding=encoding, storage_options=storage_options, progress=progress), ""
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

"""`ptfile scan`: what the pickles in files would do if they were run. docs/scan.md describes what it prints.

Exit codes: 0 every pickle was read to its end and every rule held, 1 something is unsafe or malformed, 2 something
could not be read, or the command line is wrong (1 goes before 2).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, TypeAlias

import click

from ptfile._scan import Scan, scan
from ptfile.cli import scan_text, to_json
from ptfile.cli.arguments import FILE, json_option, storage_option
from ptfile.cli.lines import wrapped
from ptfile.cli.printable import printable
from ptfile.cli.progress import progress_bar
from ptfile.errors import PtfileError
from ptfile.formats.scan_report import PickleReport, Verdict
from ptfile.stores.urls import StorageOptions, is_url, redacted

Failed: TypeAlias = tuple[str, str]
"""A file that could not be opened, and why."""

_STYLES = {
    Verdict.UNSAFE: "bold red",
    Verdict.MALFORMED: "bold yellow",
    Verdict.INCOMPLETE: "yellow",
    Verdict.CLEAN: "green",
}


@click.command("scan")
@click.argument("paths", nargs=-1, required=True, type=FILE, metavar="PATH...")
@json_option
@storage_option
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, for code hosts and editors.")
@click.pass_context
def command(
    ctx: click.Context, paths: tuple[str, ...], *, as_json: bool, as_sarif: bool, storage_options: StorageOptions
) -> None:
    """Say what the pickles in files would do if they were run, and whether ptfile.load refuses them.

    Looks into folders, archives and files inside files. Runs nothing that is in them.

    Exit codes: 0 all is clean, 1 something is unsafe or malformed, 2 something could not be read.
    """
    if as_json and as_sarif:
        raise click.UsageError("--json and --sarif are two forms of the same: choose one")
    results = scanned(paths, storage_options)
    if as_json or as_sarif:
        found = list(results)
        to_json.write(_sarif(found) if as_sarif else as_dict(found))
        code = exit_code(found)
    else:
        code = _write(results)
    ctx.exit(code)


def scanned(paths: Iterable[str], storage_options: StorageOptions = None) -> Iterator[Scan | Failed]:
    """The files at some paths, one after the other; of folders, all that is in them."""
    for path in paths:
        for file in _files(path):
            if isinstance(file, tuple):
                yield file
                continue
            try:
                if not is_url(file) and not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116
                    yield file, "it is neither a file nor a folder"
                    continue
                with progress_bar(redacted(file)) as progress:
                    found = scan(file, storage_options=storage_options, progress=progress)
                yield found
            except OSError as error:
                yield redacted(file), error.strerror or str(error)
            except PtfileError as error:
                yield redacted(file), error.problem


def _files(path: str) -> Iterator[str | Failed]:
    """All files below a folder, in order, not following links to folders; or the path itself."""
    if not os.path.isdir(path):  # noqa: PTH112
        yield path
        return
    failed: list[Failed] = []

    def note(error: OSError) -> None:
        failed.append((str(error.filename), error.strerror or str(error)))

    for folder, folders, names in os.walk(path, onerror=note):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)  # noqa: PTH118
            # Sockets and the like are part of a folder, not something that was asked for.
            if os.path.isfile(file) or os.path.islink(file):  # noqa: PTH113, PTH114
                yield file
        yield from failed
        failed.clear()
    yield from failed


def exit_code(found: Iterable[Scan | Failed]) -> int:
    """1 goes before 2, and 2 before 0."""
    codes = {_code(one.verdict) if isinstance(one, Scan) else 2 for one in found}
    return 1 if 1 in codes else max(codes, default=0)


def _code(verdict: Verdict | None) -> int:
    return {Verdict.UNSAFE: 1, Verdict.MALFORMED: 1, Verdict.INCOMPLETE: 2}.get(verdict or Verdict.CLEAN, 0)


# for programs


def as_dict(found: Iterable[Scan | Failed]) -> dict[str, Any]:
    """The object that `--json` prints."""
    files = [_file(one) for one in found]
    verdicts = [file["verdict"] for file in files]
    total = {"files": len(files), "pickles": sum(len(file["pickles"]) for file in files)}
    total |= {verdict.value: verdicts.count(verdict.value) for verdict in Verdict}
    total |= {"not_readable": sum(file["error"] is not None for file in files)}
    return {"files": files, "total": total}


def _file(one: Scan | Failed) -> dict[str, Any]:
    if not isinstance(one, Scan):
        file, why = one
        return {"file": file, "verdict": None, "error": why, "pickles": [], "problems": []}
    return {
        "file": one.file,
        "verdict": one.verdict.value if one.verdict else None,
        "error": None,
        "bytes": one.nbytes,
        "kind": one.kind,
        "refusal": {"error": one.refused_as, "problem": one.refusal} if one.refused_as else None,
        "pickles": [_pickle(report) for report in one.pickles],
        "problems": [asdict(problem) for problem in one.problems],
    }


def _pickle(report: PickleReport) -> dict[str, Any]:
    return {
        "record": report.record,
        "offset": report.offset,
        "bytes": report.nbytes,
        "record_offset": report.record_offset,
        "verdict": report.verdict.value,
        "reached": report.reached,
        "fault": report.fault or None,
        "fault_offset": report.fault_offset,
        "findings": [{**asdict(found), "text": scan_text.finding(found)} for found in report.findings],
        "more_findings": report.more,
        "names": [asdict(use) for use in report.names],
        "more_names": report.more_names,
    }


def _sarif(found: list[Scan | Failed]) -> dict[str, Any]:
    from ptfile.cli.scan_sarif import document

    return document([one for one in found if isinstance(one, Scan)], [one for one in found if isinstance(one, tuple)])


# for people


def _write(results: Iterator[Scan | Failed]) -> int:
    """Print each file as it is done, and the total. Returns the exit code."""
    show = _show_rich() if sys.stdout.isatty() else _show_plain
    verdicts: list[Verdict | None] = []
    failed = pickles = 0
    for one in results:
        if isinstance(one, Scan):
            verdicts.append(one.verdict)
            pickles += len(one.pickles)
            style = _STYLES.get(one.verdict, "dim") if one.verdict else "dim"
            show(one.file, str(one.verdict or "no pickle"), scan_text.headline(one), style)
            for line in scan_text.details(one):
                show("", "", line, "")
        else:
            failed += 1
            show(one[0], "not readable", one[1], _STYLES[Verdict.INCOMPLETE])
    if verdicts or failed:
        show("", "", "", "")
    show(scan_text.total(verdicts, failed, pickles), "", "", "bold")
    codes = {_code(verdict) for verdict in verdicts} | ({2} if failed else set())
    return 1 if 1 in codes else max(codes, default=0)


def _show_plain(file: str, verdict: str, said: str, _style: str) -> None:
    sys.stdout.write(_line(file, verdict, said) + "\n")


def _line(file: str, verdict: str, said: str) -> str:
    if not verdict:
        return printable(file) if file else f"  {printable(said)}".rstrip()
    return ": ".join([printable(file), verdict, *([printable(said)] if said else [])])


def _show_rich() -> Any:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def show(file: str, verdict: str, said: str, style: str) -> None:
        line = Text(wrapped(_line(file, verdict, said), console.width), "" if verdict else style)
        if verdict:
            at = line.plain.find(verdict, len(printable(file)))
            line.stylize(style, at, at + len(verdict))
        console.print(line, soft_wrap=True)

    return show

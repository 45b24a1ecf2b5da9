"""`ptfile repair`: what is whole in a damaged file, as a file that loads.

Exit codes: 0 a file was written (what is not in it is printed), 1 nothing could be saved, 2 the command line is wrong.

`--json` prints one object: file, out, kept (names), lost (a list of objects with name, record, problem), unverified
(names among those kept for whose bytes there is no checksum), notes (what else was taken on trust).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from ptfile._repair import Repair, repair
from ptfile.cli import text, to_json
from ptfile.cli.arguments import FILE, check_new, encoding_option, json_option, storage_option, usage_errors
from ptfile.cli.lines import echo
from ptfile.cli.progress import progress_bar
from ptfile.stores.urls import StorageOptions

MOST = 30
"""Lost tensors that people are shown."""


@click.command("repair")
@click.argument("broken", type=FILE)
@click.argument("out", type=FILE)
@click.option("--force", is_flag=True, help="Replace OUT if it is there.")
@json_option
@encoding_option
@storage_option
def command(
    broken: str, out: str, *, force: bool, as_json: bool, encoding: str, storage_options: StorageOptions
) -> None:
    """Save the tensors that are whole in the damaged file BROKEN to the file OUT.

    Tensors that are lost are left out and listed. BROKEN is not touched, and nothing that it names is run.
    """
    check_new(out, storage_options, force=force)
    with usage_errors(), progress_bar(broken) as progress:
        report = repair(broken, out, encoding=encoding, storage_options=storage_options, progress=progress)
    if as_json:
        to_json.write(asdict(report))
        return
    for line in lines(report):
        echo(line)


def lines(report: Repair) -> Iterator[str]:
    """What people read."""
    total = len(report.kept) + len(report.lost)
    yield f"{report.out}: {len(report.kept)} of {text.count(total, 'tensor')} saved"
    for tensor in report.lost[:MOST]:
        record = f" ({tensor.record})" if tensor.record else ""
        yield f"  lost: {tensor.name or '(root)'}{record}: {tensor.problem}"
    if len(report.lost) > MOST:
        yield f"  and {len(report.lost) - MOST} more: --json lists all"
    if report.unverified:
        yield f"  unverified, there is no checksum for them: {', '.join(report.unverified[:MOST])}"
    for note in report.notes:
        yield f"  {note}"

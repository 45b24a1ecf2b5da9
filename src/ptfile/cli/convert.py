"""`ptfile convert`: a checkpoint as a file of another format.

Exit codes: 0 the file was written (what is not in it is printed), 1 it could not be, 2 the command line is wrong.

`--json` prints one object: file, format, out, to, nbytes, left_out (names), unkept (names in a safetensors file's
metadata), unreached (bytes), verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from ptfile._convert import convert
from ptfile.cli import text
from ptfile.cli.arguments import FILE, check_new, encoding_option, json_option, storage_option, usage_errors
from ptfile.cli.lines import echo
from ptfile.cli.progress import progress_bar
from ptfile.conversion.report import SUFFIXES, Conversion
from ptfile.stores.urls import StorageOptions

MOST = 30
"""Names that people are shown."""
EXAMPLES = """\b
Examples:
  ptfile convert model.pt model.safetensors
  ptfile convert model.safetensors model.pt
  ptfile convert checkpoint.pt arrays.npz --leave-out
  ptfile convert old.pt new.pt        (the legacy format becomes the zip format)"""


@click.command("convert", epilog=EXAMPLES)
@click.argument("src", type=FILE)
@click.argument("dst", type=FILE)
@click.option("--to", type=click.Choice(sorted(set(SUFFIXES.values()))), help="The format, if DST's name does not say.")
@click.option("--leave-out", is_flag=True, help="Leave out what has no form in the other format, and say what it was.")
@click.option("--no-verify", is_flag=True, help="Do not read the new file again to compare it.")
@click.option("--force", is_flag=True, help="Replace DST if it is there.")
@json_option
@encoding_option
@storage_option
def command(
    src: str,
    dst: str,
    *,
    to: str | None,
    leave_out: bool,
    no_verify: bool,
    force: bool,
    as_json: bool,
    encoding: str,
    storage_options: StorageOptions,
) -> None:
    """Write what is in the checkpoint SRC to the file DST: as .pt, .safetensors or .npz.

    Names, dtypes, values, nesting and tied weights are kept, and come back when the file is converted back.
    """
    check_new(dst, storage_options, force=force)
    with usage_errors(), progress_bar(dst) as progress:
        report = convert(
            src,
            dst,
            to=to,  # type: ignore[arg-type]  # click has checked it
            leave_out=leave_out,
            verify=not no_verify,
            encoding=encoding,
            storage_options=storage_options,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    for line in lines(report):
        echo(line)


def lines(report: Conversion) -> Iterator[str]:
    """What people read."""
    checked = "verified" if report.verified else "not verified"
    yield f"{report.out}: {text.size(report.nbytes)}, {checked}"
    if report.left_out:
        yield f"  left out: {text.names(report.left_out, MOST)}"
    if report.unkept:
        yield f"  metadata without a place in it: {text.names(report.unkept, MOST)}"
    if report.unreached:
        yield f"  {text.size(report.unreached)} that no tensor reaches are not in it"

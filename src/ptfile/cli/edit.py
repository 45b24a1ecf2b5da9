"""`ptfile edit`: a checkpoint made of parts of others.

Exit codes: 0 the file was written, 1 it could not be, 2 the command line is wrong, which a pattern that describes
nothing is too.

`--json` prints one object: files, out, nbytes, dropped (names), renamed (new keys by names), cast (names), copied
(bytes that went from file to file without being looked at), verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from ptfile._edit import edit
from ptfile.cli import text
from ptfile.cli.arguments import FILE, check_new, encoding_option, json_option, storage_option, usage_errors
from ptfile.cli.lines import echo
from ptfile.cli.progress import progress_bar
from ptfile.editing.report import Edit
from ptfile.stores.urls import StorageOptions

MOST = 30
"""Names that people are shown."""
EXAMPLES = """\b
Examples:
  ptfile edit run.pt weights.pt --root model
  ptfile edit run.pt small.pt --drop optimizer --cast bfloat16
  ptfile edit ddp.pt plain.pt --rename 'module\\.(.*)=\\1'
  ptfile edit model.pt encoder.pt --keep 'encoder.*'
  ptfile edit encoder.pt decoder.pt model.pt      (merges the first two)

In a pattern * stands for any characters, ? for any one, and all else for
itself."""


@click.command("edit", epilog=EXAMPLES)
@click.argument("src", nargs=-1, required=True, type=FILE)
@click.argument("dst", type=FILE)
@click.option("--root", default="", metavar="NAME", help="What shall be the whole object, such as model.")
@click.option("--keep", multiple=True, metavar="PATTERN", help="What shall stay; the rest goes.")
@click.option("--drop", multiple=True, metavar="PATTERN", help="What shall go.")
@click.option(
    "--rename", multiple=True, metavar="REGEX=NEW", help="Replace the first match of a regular expression in keys."
)
@click.option("--cast", multiple=True, metavar="[PATTERN=]DTYPE", help="Floating point tensors of another dtype.")
@click.option("--no-verify", is_flag=True, help="Do not read the new file again to compare it.")
@click.option("--force", is_flag=True, help="Replace DST if it is there; it may be SRC.")
@json_option
@encoding_option
@storage_option
def command(
    src: tuple[str, ...],
    dst: str,
    *,
    root: str,
    keep: tuple[str, ...],
    drop: tuple[str, ...],
    rename: tuple[str, ...],
    cast: tuple[str, ...],
    no_verify: bool,
    force: bool,
    as_json: bool,
    encoding: str,
    storage_options: StorageOptions,
) -> None:
    """Write a checkpoint made of parts of SRC, or of several, to DST. What stays as it is is copied, not read.

    The new file is then read and compared, before it takes its place.

    Names are those of `ptfile ls`. The order is: merge, keep, drop, rename, cast.
    """
    check_new(dst, storage_options, force=force)
    with usage_errors(), progress_bar(dst) as progress:
        report = edit(
            src,
            dst,
            root=root,
            keep=keep,
            drop=drop,
            rename=dict(_rule(rule) for rule in rename),
            cast=dict(_cast(each) for each in cast),
            encoding=encoding,
            verify=not no_verify,
            storage_options=storage_options,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    for line in lines(report):
        echo(line)


def _rule(text: str) -> tuple[str, str]:
    r"""A regular expression and what replaces it: they are parted by the last equals sign.

    >>> _rule(r"a(?=b)=\1")
    ('a(?=b)', '\\1')
    """
    pattern, equals, replacement = text.rpartition("=")
    if not equals:
        raise click.UsageError(f"--rename {text!r}: it has the form REGEX=NEW")
    return pattern, replacement


def _cast(text: str) -> tuple[str, str]:
    """A pattern and a dtype.

    >>> _cast("float16"), _cast("model.*=float16")
    (('*', 'float16'), ('model.*', 'float16'))
    """
    pattern, equals, dtype = text.rpartition("=")
    return (pattern if equals else "*"), dtype


def lines(report: Edit) -> Iterator[str]:
    """What people read."""
    copied = f", of which {text.size(report.copied)} as they were" if report.copied else ""
    checked = "verified" if report.verified else "not verified"
    yield f"{report.out}: {text.size(report.nbytes)}{copied}, {checked}"
    if report.dropped:
        yield f"  dropped: {text.names(report.dropped, MOST)}"
    if report.renamed:
        renamed = [f"{name} → {key}" for name, key in report.renamed.items()]
        yield f"  renamed: {text.names(renamed, MOST)}"
    if report.cast:
        yield f"  cast: {text.names(report.cast, MOST)}"

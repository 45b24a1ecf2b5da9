"""`ptfile digest`: a hash of what is in each checkpoint, one line a file, as `sha256sum` prints them."""

from __future__ import annotations

import click

from ptfile._digest import digest
from ptfile.cli.printable import printable
from ptfile.stores.urls import redacted


@click.command("digest")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--encoding", default="utf-8", help="How to read strings that Python 2 wrote, such as latin1.")
def command(files: tuple[str, ...], *, encoding: str) -> None:
    """Print a hash of what is in each checkpoint: names, values, tensors, and not how or where they were saved.

    Files that hold the same have the same digest, whatever format or version of PyTorch they were saved with.
    """
    for file in files:
        click.echo(f"{digest(file, encoding=encoding)}  {printable(redacted(file))}")

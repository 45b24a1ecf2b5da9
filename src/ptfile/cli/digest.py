"""`ptfile digest`: a hash of what is in each checkpoint, one line a file, as `sha256sum` prints them.

`--json` prints a list of objects: file, digest. Its keys stay as they are; later versions may add some.
"""

from __future__ import annotations

import click

from ptfile._digest import digest
from ptfile.cli import to_json
from ptfile.cli.arguments import FILE, encoding_option, json_option, storage_option
from ptfile.cli.printable import printable
from ptfile.cli.progress import progress_bar
from ptfile.stores.urls import StorageOptions, redacted


@click.command("digest")
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@json_option
@encoding_option
@storage_option
def command(files: tuple[str, ...], *, as_json: bool, encoding: str, storage_options: StorageOptions) -> None:
    """Print a hash of what is in each checkpoint: names, values, tensors, and not how or where they were saved.

    Files that hold the same have the same digest, whatever format or version of PyTorch they were saved with.
    """
    found = []
    for file in files:
        called = redacted(file)
        with progress_bar(called) as progress:
            made = digest(file, encoding=encoding, storage_options=storage_options, progress=progress)
        found.append({"file": called, "digest": made})
        if not as_json:
            click.echo(f"{made}  {printable(called)}")
    if as_json:
        to_json.write(found)

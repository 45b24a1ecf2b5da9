"""`ptfile extract`: one tensor of a checkpoint as a file of numpy's.

Exit codes: 0 the file was written, 1 it could not be, 2 the command line is wrong, which a name of nothing is too.

`--json` prints one object: name, dtype, shape, nbytes; to the standard error if the standard output gets the file.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from ptfile._extract import extract
from ptfile._selection import ROOT
from ptfile.cli import text
from ptfile.cli.arguments import (
    FILE,
    check_new,
    encoding_option,
    json_option,
    storage_option,
    tensor_names,
    usage_errors,
)
from ptfile.cli.lines import echo
from ptfile.cli.progress import progress_bar
from ptfile.stores.urls import StorageOptions

STDOUT = "-"
EXAMPLES = """\b
Examples:
  ptfile extract model.pt layer.0.weight weight.npy
  ptfile extract model.safetensors layer.0.weight weight.npy --dtype float32
  ptfile extract model.pt bias - | python -c 'import numpy, sys; ...'

To have it as a .pt file: ptfile edit model.pt weight.pt --root layer.0.weight"""


@click.command("extract", epilog=EXAMPLES)
@click.argument("file", type=FILE)
@click.argument("name", shell_complete=tensor_names)
@click.argument("out", type=FILE)
@click.option("--dtype", help="Convert a floating point tensor, as bfloat16 has to be for numpy.")
@click.option("--force", is_flag=True, help="Replace OUT if it is there.")
@json_option
@encoding_option
@storage_option
def command(
    file: str,
    name: str,
    out: str,
    *,
    dtype: str | None,
    force: bool,
    as_json: bool,
    encoding: str,
    storage_options: StorageOptions,
) -> None:
    """Write the tensor NAME of the checkpoint FILE to OUT as a .npy file, or to the standard output if that is -.

    Names are those of `ptfile ls`.
    """
    is_stdout = out == STDOUT
    if not is_stdout:
        check_new(out, storage_options, force=force)
    with usage_errors(), progress_bar(file) as progress:
        report = extract(
            file,
            "" if name == ROOT else name,
            sys.stdout.buffer if is_stdout else out,
            dtype=dtype,
            encoding=encoding,
            storage_options=storage_options,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(asdict(report)), err=is_stdout)
    elif not is_stdout:
        echo(f"{out}: {report.dtype} {text.shape(report.shape)}, {text.size(report.nbytes)}")

"""The subcommands by name, and what all of them have in common: how they fail."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import IO, Any

import click

from ptfile.cli.printable import printable
from ptfile.errors import PtfileError
from ptfile.stores.urls import StorageOptionsError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "ls": "List the tensors of a checkpoint.",
        "info": "Say what a checkpoint is made of, and where its bytes go.",
        "show": "Show a tensor or value of a checkpoint, and what its numbers are like.",
        "diff": "Say what is different between two checkpoints.",
        "verify": "Check everything in checkpoints, and name what is damaged.",
        "convert": "Write a checkpoint as .pt, .safetensors or .npz.",
        "edit": "Drop, keep, rename, cast and merge what is in checkpoints.",
        "extract": "Write one tensor of a checkpoint as a .npy file.",
        "repair": "Save what is whole in a damaged checkpoint.",
        "scan": "Say what the pickles in files would do if they were run.",
        "pickle": "Show the opcodes of the pickles in a file.",
        "digest": "Print a hash of what is in checkpoints, however they were saved.",
    }
)
"""Every subcommand and what `--help` says of it. Each is the object `command` in the module of its name here."""


QUESTIONS = frozenset({"diff", "scan", "verify"})
"""The subcommands that answer a question by their exit code: for them 1 is an answer, and a failure is 2."""
_SIGPIPE = 141
"""What a shell gives for a program that a closed pipe has ended."""


class Failure(click.ClickException):
    """What went wrong, on one line. Exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        line = f"ptfile: {self.message}"
        if file is None and sys.stderr.isatty():
            from ptfile.cli.lines import wrapped

            line = wrapped(line, shutil.get_terminal_size().columns)
        click.echo(line, file=file, err=file is None)


class NoAnswer(Failure):
    """The same of a command that answers a question by its exit code."""

    exit_code = 2


class Interrupted(Failure):
    """Ctrl-C: the exit code that a shell gives for that signal, since 1 is an answer of some commands."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted")


class LazyGroup(click.Group):
    """Imports a subcommand when it runs, and not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        command = import_module(f"ptfile.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                _flush_stdout()
        except KeyboardInterrupt:
            raise Interrupted from None
        except StorageOptionsError as error:
            raise click.UsageError(printable(str(error))) from error
        except PtfileError as error:
            raise _failure(ctx)(printable(str(error))) from error
        except OSError as error:
            if error.errno == errno.EPIPE and error.filename is None:  # `ptfile ls x.pt | head`
                raise SystemExit(_SIGPIPE) from None
            raise _failure(ctx)(printable(_os_text(error))) from error


def _flush_stdout() -> None:
    """Have everything written now, while a failure can still be told, or nothing more: not when the process ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise


def _failure(ctx: click.Context) -> type[Failure]:
    return NoAnswer if ctx.invoked_subcommand in QUESTIONS else Failure


def _os_text(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename is not None else what


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ptfile", message="%(prog)s %(version)s")
def group() -> None:
    """Look into PyTorch's .pt files, without PyTorch and without running what is in them.

    Every command has --help and --json. Exit codes: 0 done, 1 not done, 2 the command line is wrong. Of diff, scan and
    verify: 0 the same, clean, whole; 1 not so; 2 a file could not be read. 130 after Ctrl-C.
    """

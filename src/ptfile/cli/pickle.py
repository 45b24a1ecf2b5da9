"""`ptfile pickle`: the opcodes of the pickles in a file, one a line, with what they do.

Exit codes: 0 each pickle was shown up to its end, 1 one breaks off, or the file cannot be read, 2 the command line is
wrong. Whether a file means harm is for `ptfile scan` to say.

`--json` prints one object. Its keys stay as they are; later versions may add some.

    file                        the path
    pickles                     list
        record                  the record that it is in; "" for the file itself
        start                   where it begins in the record, or in the file, in bytes
        instructions            list
            position            counted as `start` is
            opcode              its name; "" in the last, if the bytes there are no opcode
            argument            as Python writes it, cut short; "" if there is none
            depth               marks on the stack around it
            note                what it makes, or what is in the memo; ""
            warning             what is wrong with it, or what harm its name is known for; ""
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict

import click

from ptfile._disassembly import Disassembly, disassemble
from ptfile.cli.arguments import FILE, json_option, storage_option
from ptfile.cli.printable import printable
from ptfile.cli.progress import progress_bar
from ptfile.machine.disasm import Instruction
from ptfile.stores.urls import StorageOptions

_OPCODE = 18
"""Columns of an opcode with its indent, if they are enough."""
_ARGUMENT = 4
"""Columns of a short argument before a note: the number of a memo entry."""
_POSITION = 8
_INDENT = "  "
_DEEPEST = 12
"""Marks by which lines are indented."""


@click.command("pickle")
@click.argument("file", type=FILE)
@click.argument("record", required=False)
@click.option("--at", type=click.IntRange(min=0), help="The byte of the record, or of FILE, where the pickle begins.")
@json_option
@storage_option
def command(file: str, record: str | None, *, at: int | None, as_json: bool, storage_options: StorageOptions) -> None:
    """Show the opcodes of the pickles in FILE, or in one RECORD of it, with their positions. Nothing of them is run.

    Without a RECORD: all whose names end in .pkl. Names that ptfile.load does not know are marked, and what harm they
    are known for.
    """
    with progress_bar(file):
        pickles = iter(disassemble(file, record, at=at, storage_options=storage_options))
        first = next(pickles, None)
    found = [] if first is None else _chain(first, pickles)
    is_whole = _write_json(file, found) if as_json else _write(file, found)
    if not is_whole:
        raise SystemExit(1)


def _chain(first: Disassembly, others: Iterable[Disassembly]) -> Iterable[Disassembly]:
    yield first
    yield from others


# for programs


def _write_json(file: str, pickles: Iterable[Disassembly]) -> bool:
    """Print one document, an instruction at a time. Returns whether all pickles have an end."""
    out = sys.stdout
    is_whole = True
    out.write(f'{{"file": {json.dumps(file)}, "pickles": [')
    for number, one in enumerate(pickles):
        head = f'{{"record": {json.dumps(one.record)}, "start": {one.start}, "instructions": ['
        out.write((", " if number else "") + head)
        for place, line in enumerate(one):
            out.write((", " if place else "") + json.dumps(asdict(line)))
            is_end = line.opcode == "STOP"
        is_whole = is_whole and is_end
        out.write("]}")
    out.write("]}\n")
    return is_whole


# for people


def _write(file: str, pickles: Iterable[Disassembly]) -> bool:
    """Print all. Returns whether all pickles have an end."""
    show = _show_rich() if sys.stdout.isatty() else _show_plain
    is_whole = True
    last = None
    for number, one in enumerate(pickles):
        if number:
            show("\n", None)
        if number == 0 or one.record != last:
            show(printable(f"{file}, {one.record}" if one.record else file) + "\n", None)
        last = one.record
        line = None
        for line in one:
            show("", line)
        is_whole = is_whole and line is not None and line.opcode == "STOP"
    return is_whole


def _parts(line: Instruction) -> tuple[str, str, str, str]:
    """Position and opcode, argument, note, warning: what stands in a line, with spaces between."""
    opcode = _INDENT * min(line.depth, _DEEPEST) + line.opcode
    behind = bool(line.argument or line.note or line.warning)
    head = f"{line.position:>{_POSITION}}  " + (f"{opcode:{_OPCODE}}  " if behind else opcode)
    argument = printable(line.argument)
    if argument and (line.note or line.warning):
        argument = f"{argument:{_ARGUMENT}}  "
    note = printable(line.note) + ("  " if line.note and line.warning else "")
    return head, argument, note, f"!! {printable(line.warning)}" if line.warning else ""


def _show_plain(text: str, line: Instruction | None) -> None:
    sys.stdout.write(text if line is None else "".join(_parts(line)) + "\n")


def _show_rich() -> Callable[[str, Instruction | None], None]:
    from rich.cells import cell_len

    from ptfile.cli.screen import Screen

    screen = Screen()

    def show(text: str, line: Instruction | None) -> None:
        if line is None:
            screen.line((screen.cut(text.rstrip("\n"), screen.width), "bold"))
            return
        head, argument, note, warning = _parts(line)
        room = screen.width - len(head)
        warning = screen.cut(warning, room)
        room -= len(warning)
        argument = screen.cut(argument, room if not note else max(room // 2, _ARGUMENT + 2))
        note = screen.cut(note, max(room - cell_len(argument), 0))
        screen.line((head, "cyan"), argument, (note, "dim"), (warning, "bold red"))

    return show

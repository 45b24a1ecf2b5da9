"""The names behind a fault in a pickle: a reader that is less strict than ptfile may get there.

Nothing is run: the opcodes are walked one by one, frames and the order of things left aside, up to the first that
cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator

from ptfile.errors import FormatError
from ptfile.machine.opcodes import BY_CODE, Argument

_TEXTS = frozenset({"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"})
_PYTHON2_TEXTS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUSH_TEXTS = _TEXTS | _PYTHON2_TEXTS | _GETS


def names_from(data: bytes, start: int) -> Iterator[tuple[int, str, str]]:
    """(position, module, name) of each name from the opcode at `start` on."""
    texts = _Texts()
    for position, _, opcode, argument in opcodes_from(data, start):
        named = texts.name(opcode, argument)
        if named is not None:
            yield position, *named


def may_stray(data: bytes, size: int) -> bool:
    """Whether CPython's unpickler may go on elsewhere than at the next opcode. Where a frame ends inside an opcode, it
    does when it reads from a file, though not from memory: the rest of the frame is lost to it.

    size: of the file, from `data` on. It takes no frame that is longer.
    """
    frame_end = end = 0
    for position, end, opcode, argument in opcodes_from(data, 0):
        if position < frame_end and (frame_end < end or opcode in ("FRAME", "STOP")):
            return opcode != "STOP" or end < frame_end
        if opcode == "FRAME" and isinstance(argument, int) and argument:
            frame_end = end + argument
            if frame_end > size:
                return False
    # An argument that cannot be read here may well be read behind the frame.
    return end < min(frame_end, len(data)) and data[end] in BY_CODE


def looks_up(data: bytes) -> bool:
    """Whether STACK_GLOBAL stands behind two texts, or one that is there twice. Which name it then is takes a stack."""
    texts = 0
    for _, _, opcode, _ in opcodes_from(data, 0):
        if opcode == "STACK_GLOBAL" and texts >= 2:
            return True
        texts += opcode in _PUSH_TEXTS or (opcode == "DUP" and texts > 0)
    return False


def opcodes_from(data: bytes, start: int) -> Iterator[tuple[int, int, str, Argument]]:
    """(position, end, opcode, argument) up to where no opcode can be read, over STOP too."""
    position = start
    while position < len(data):
        opcode = BY_CODE.get(data[position])
        if opcode is None:
            return
        argument: Argument = None
        end = position + 1
        if opcode.read is not None:
            try:
                argument, end = opcode.read(data, end)
            except FormatError:
                return
        yield position, end, opcode.name, argument
        position = end


class _Texts:
    """The two texts that came last, and those in the memo: what STACK_GLOBAL would take."""

    def __init__(self) -> None:
        self._last = ("", "")
        self._memo: dict[int, str] = {}

    def name(self, opcode: str, argument: Argument) -> tuple[str, str] | None:
        """What an opcode names."""
        if opcode in ("GLOBAL", "INST") and isinstance(argument, tuple):
            return argument
        if opcode == "STACK_GLOBAL":
            return self._last
        if opcode in _TEXTS and isinstance(argument, str):
            self._push(argument)
        elif opcode in _PYTHON2_TEXTS and isinstance(argument, bytes):
            self._push(argument.decode("latin1"))
        elif opcode in _GETS and isinstance(argument, int) and argument in self._memo:
            self._push(self._memo[argument])
        elif opcode in _PUTS and isinstance(argument, int):
            self._memo[argument] = self._last[1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = self._last[1]
        return None

    def _push(self, text: str) -> None:
        self._last = (self._last[1], text)

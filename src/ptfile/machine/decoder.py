"""Cut a pickle into opcodes, without doing what they say."""

from __future__ import annotations

from collections.abc import Iterator

from ptfile.errors import FormatError
from ptfile.machine.opcodes import BY_CODE, HIGHEST_PROTOCOL, Argument, CutOffError, Opcode


def decode(data: bytes, start: int = 0) -> Iterator[tuple[int, Opcode, Argument]]:
    """Yield (position in bytes, opcode, argument) up to and with STOP.

    Raises FormatError with the position where the bytes stop being a pickle: an unknown opcode, an argument that is
    cut off or malformed, a frame that ends inside an opcode, or no STOP.
    """
    position = start
    frame_end = 0  # no opcode may reach across the end of the frame that it starts in
    while True:
        if position >= len(data):
            raise CutOffError("the pickle has no end (STOP)", needed=position + 1, offset=position)
        opcode = BY_CODE.get(data[position])
        if opcode is None:
            raise FormatError(f"0x{data[position]:02x} is no pickle opcode", offset=position)
        argument: Argument = None
        end = position + 1
        if opcode.read is not None:
            try:
                argument, end = opcode.read(data, end)
            except FormatError as error:
                error.offset = position
                raise
        if position < frame_end < end:
            raise FormatError(f"a frame ends inside the opcode {opcode.name}", offset=position)
        yield position, opcode, argument
        if opcode.name == "STOP":
            return
        if opcode.name == "FRAME":
            frame_end = _frame_end(argument, position, end, frame_end, len(data))
        elif opcode.name == "PROTO" and (position != start or _as_int(argument) > HIGHEST_PROTOCOL):
            raise FormatError(f"PROTO {argument!r} at this place: not a pickle of protocol 0 to 5", offset=position)
        position = end


def find_end(data: bytes, start: int = 0) -> int:
    """The position behind STOP, from the position of any opcode of the pickle on; frames are left to `decode`.

    Raises FormatError as `decode` does. If it is a CutOffError, its offset is the opcode from which to go on when there
    are more bytes.
    """
    position = start
    while True:
        if position >= len(data):
            raise CutOffError("the pickle has no end (STOP)", needed=position + 1, offset=position)
        opcode = BY_CODE.get(data[position])
        if opcode is None:
            raise FormatError(f"0x{data[position]:02x} is no pickle opcode", offset=position)
        end = position + 1
        if opcode.read is not None:
            try:
                _, end = opcode.read(data, end)
            except FormatError as error:
                error.offset = position
                raise
        if opcode.name == "STOP":
            return end
        position = end


def _frame_end(length: Argument, position: int, start: int, open_frame_end: int, size: int) -> int:
    if position < open_frame_end:
        raise FormatError("a frame begins inside another", offset=position)
    end = start + _as_int(length)
    if end > size:
        raise FormatError(f"a frame ends {end - size} bytes behind the pickle", offset=position)
    return end


def _as_int(argument: Argument) -> int:
    assert isinstance(argument, int)  # the table says so
    return argument

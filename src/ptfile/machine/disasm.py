"""A pickle as a list of its opcodes, with what each does to the stack, as far as that can be told without doing it.

For looking at pickles that mean harm or are broken, too: nothing is built, a stack that is too short is no reason to
stop, and what is remembered of a value is a few words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, TypeAlias

from ptfile.errors import FormatError
from ptfile.machine.opcodes import BY_CODE, Argument

ARGUMENT = 60
"""Characters of an argument that are shown."""
_WORDS = 60
_LONGEST_NAME = 300
"""Characters of a name that are remembered: none that does any harm is as long."""
_PARTS = 5
"""Elements of a tuple that are shown."""

Judge: TypeAlias = Callable[[str, str], str]
"""Says of a module and a name in it what is bad about them; nothing of what is harmless."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One opcode of a pickle, or the place where there is none."""

    position: int
    """In bytes, counted as the pickle's start is."""
    opcode: str
    """Its name; empty where the bytes are no opcode: that is the last."""
    argument: str
    """As Python would write it, cut short; empty if it has none."""
    depth: int
    """How many marks are on the stack around it."""
    note: str
    """What it makes, or what is in the memo there."""
    warning: str
    """What is wrong with it, or what harm the name is known for; empty if nothing."""


@dataclass(frozen=True, slots=True)
class _Value:
    """What is known of something on the stack."""

    words: str
    name: tuple[str, str] | None = None
    """The beginnings of the module and of the name, of what a pickle can call."""
    text: str | None = None
    """Of a string, as far as it can be a name."""


_UNKNOWN = _Value("?")
_MADE: Mapping[str, str] = MappingProxyType(
    {
        "NONE": "None",
        "NEWTRUE": "True",
        "NEWFALSE": "False",
        "EMPTY_LIST": "[]",
        "EMPTY_TUPLE": "()",
        "EMPTY_DICT": "{}",
        "EMPTY_SET": "set()",
        "NEXT_BUFFER": "a buffer",
    }
)
"""What opcodes without an argument push."""
_FILLED = frozenset({"APPENDS", "SETITEMS", "ADDITEMS"})
_BUILT: Mapping[str, str] = MappingProxyType(
    {"LIST": "a list", "DICT": "a dict", "FROZENSET": "a frozenset", "TUPLE": "a tuple"}
)
_TUPLES: Mapping[str, int] = MappingProxyType({"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3})
_DROPS: Mapping[str, int] = MappingProxyType({"APPEND": 1, "SETITEM": 2, "STOP": 1})
_EXTENSION = "a number for a name that programs register"


def disassemble(data: bytes, start: int = 0, *, judge: Judge = lambda _module, _name: "") -> Iterator[Instruction]:
    r"""The opcodes of the pickle that begins at `start`, up to its STOP or to where it is none. Raises nothing.

    >>> for line in disassemble(b"cos\nsystem\nU\x02ls\x85R."):
    ...     print(line.position, line.opcode, line.argument or line.note)
    0 GLOBAL os system
    11 SHORT_BINSTRING b'ls'
    15 TUPLE1 (b'ls',)
    16 REDUCE os.system(b'ls')
    17 STOP os.system(b'ls')
    """
    stack = _Stack(judge)
    position, frame_end = start, 0
    while True:
        code = data[position] if position < len(data) else None
        opcode = BY_CODE.get(code) if code is not None else None
        if opcode is None:
            fault = "the pickle ends without STOP" if code is None else f"0x{code:02x} is no opcode of a pickle"
            yield Instruction(position, "", "", stack.depth, "", fault)
            return
        argument: Argument = None
        end = position + 1
        if opcode.read is not None:
            try:
                argument, end = opcode.read(data, end)
            except FormatError as error:
                yield Instruction(position, opcode.name, "", stack.depth, "", f"{error.problem}: it cannot be read on")
                return
        depth = stack.depth
        note, warning = stack.take(opcode.name, argument)
        if position < frame_end < end:
            warning = warning or "it reaches over the end of its frame"
        if opcode.name == "FRAME" and isinstance(argument, int):
            frame_end = end + argument
            warning = "the frame is longer than the pickle" if frame_end > len(data) else warning
        yield Instruction(position, opcode.name, _argument(argument), min(depth, stack.depth), note, warning)
        if opcode.name == "STOP":
            return
        position = end


def _argument(argument: Argument) -> str:
    if argument is None:
        return ""
    if isinstance(argument, tuple):
        return _cut(" ".join(part[:ARGUMENT] for part in argument), ARGUMENT)
    return _literal(argument, ARGUMENT)


def _literal(value: object, most: int) -> str:
    """A number or a text as Python writes it: only as much is looked at as is shown."""
    if isinstance(value, (str, bytes, bytearray)):
        written = repr(value[:most] if isinstance(value, str) else bytes(value[:most]))
        return written[: most - 1] + f"…{written[0]} ({len(value):,})" if len(value) > most else _cut(written, 2 * most)
    if isinstance(value, int) and value.bit_length() > 4 * most:
        return f"an integer of {value.bit_length():,} bits"
    return _cut(repr(value), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _name(name: tuple[str, str]) -> _Value:
    module, qualname = (part[:_LONGEST_NAME] for part in name)
    return _Value(_cut(f"{module}.{qualname}", _WORDS), name=(module, qualname))


class _Stack:
    """The stack and the memo, as far as a few words say what is there."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._values: list[_Value] = []
        self._marks: list[int] = []
        self._memo: dict[int, _Value] = {}
        self._problem = ""

    @property
    def depth(self) -> int:
        """Marks on the stack."""
        return len(self._marks)

    def take(self, name: str, argument: Argument) -> tuple[str, str]:
        """Do to the stack what an opcode does. Returns a note and a warning."""
        self._problem = ""
        act = self._actions.get(name)
        if act is not None:
            note, warning = act(self, name, argument)
        else:
            note, warning = self._plain(name, argument), ""
        return note, warning or self._problem

    # the kinds of opcodes

    def _plain(self, name: str, argument: Argument) -> str:
        """Those that push what they say, or take a fixed number of values away."""
        if name in _MADE:
            self._push(_Value(_MADE[name]))
        elif name in _TUPLES:
            return self._tuple([self._pop() for _ in range(_TUPLES[name])][::-1])
        elif name in _DROPS:
            last = _UNKNOWN
            for _ in range(_DROPS[name]):
                last = self._pop()
            return last.words if name == "STOP" else ""
        elif argument is not None and name not in ("PROTO", "FRAME"):
            text = argument[:_LONGEST_NAME] if isinstance(argument, str) else None
            if isinstance(argument, bytes):
                text = argument[:_LONGEST_NAME].decode("latin1")
            self._push(_Value(_literal(argument, _WORDS), text=text))
        return ""

    def _tuple(self, parts: list[_Value], count: int | None = None) -> str:
        more = (count or len(parts)) - len(parts)
        inside = ", ".join(part.words for part in parts) + (f", and {more} more" if more else "")
        inside += "," if len(parts) == 1 else ""
        return self._made(_cut(f"({inside})", _WORDS))

    def _made(self, words: str) -> str:
        self._push(_Value(words))
        return words

    def _mark(self, _name: str, _argument: Argument) -> tuple[str, str]:
        self._marks.append(len(self._values))
        return "", ""

    def _filled(self, name: str, _argument: Argument) -> tuple[str, str]:
        _, count = self._to_mark()
        number, noun = (count // 2, "pair") if name == "SETITEMS" else (count, "item")
        return f"{number} {noun}" + "s" * (number != 1), ""

    def _built(self, name: str, _argument: Argument) -> tuple[str, str]:
        parts, count = self._to_mark()
        if name == "TUPLE":
            return self._tuple(parts, count), ""
        return self._made(f"{_BUILT[name]} of {count // 2 if name == 'DICT' else count}"), ""

    def _pop_one(self, _name: str, _argument: Argument) -> tuple[str, str]:
        if self._marks and self._marks[-1] == len(self._values):
            self._marks.pop()
            return "the mark", ""
        return self._pop().words, ""

    def _pop_mark(self, _name: str, _argument: Argument) -> tuple[str, str]:
        _, count = self._to_mark()
        return f"{count} dropped", ""

    def _dup(self, _name: str, _argument: Argument) -> tuple[str, str]:
        top = self._top()
        self._push(top)
        return top.words, ""

    def _put(self, name: str, argument: Argument) -> tuple[str, str]:
        place = argument if isinstance(argument, int) and name != "MEMOIZE" else len(self._memo)
        top = self._memo[place] = self._top()
        return f"memo {place} = {top.words}", ""

    def _get(self, _name: str, argument: Argument) -> tuple[str, str]:
        value = self._memo.get(argument, _UNKNOWN) if isinstance(argument, int) else _UNKNOWN
        self._push(value)
        return value.words, "" if value is not _UNKNOWN else "nothing was kept there"

    def _global(self, _name: str, argument: Argument) -> tuple[str, str]:
        _, warning = self._named(argument if isinstance(argument, tuple) else ("?", "?"))
        return "", warning

    def _stack_global(self, _name: str, _argument: Argument) -> tuple[str, str]:
        name, module = self._pop(), self._pop()
        if module.text is None or name.text is None:
            self._push(_UNKNOWN)
            return "a name that is no text", "its module or name is no text"
        return self._named((module.text, name.text))

    def _named(self, name: tuple[str, str]) -> tuple[str, str]:
        value = _name(name)
        self._push(value)
        return value.words, self._judge(*name)

    def _extension(self, _name: str, argument: Argument) -> tuple[str, str]:
        return self._made(f"extension {argument!r}"), _EXTENSION

    def _call(self, _name: str, _argument: Argument) -> tuple[str, str]:
        arguments = self._pop()
        return self._called(self._pop(), arguments.words)

    def _call_with_keywords(self, _name: str, _argument: Argument) -> tuple[str, str]:
        keywords, arguments = self._pop(), self._pop()
        return self._called(self._pop(), f"(*{arguments.words}, **{keywords.words})")

    def _inst(self, name: str, argument: Argument) -> tuple[str, str]:
        """INST, which has its name with it, and OBJ, which has it above the mark."""
        parts, count = self._to_mark()
        if name == "INST" and isinstance(argument, tuple):
            target = _name(argument)
        else:
            target, parts, count = (parts[0], parts[1:], count - 1) if parts else (_UNKNOWN, [], 0)
        self._tuple(parts, count)
        return self._called(target, self._pop().words)

    def _called(self, target: _Value, arguments: str) -> tuple[str, str]:
        words = target.words + (arguments.replace(",)", ")") if arguments.startswith("(") else f"(*{arguments})")
        note = self._made(_cut(words, _WORDS))
        return note, self._judge(*target.name) if target.name else ""

    def _build(self, _name: str, _argument: Argument) -> tuple[str, str]:
        state = self._pop()
        return f"{self._top().words} gets {state.words}", ""

    def _persistent(self, name: str, argument: Argument) -> tuple[str, str]:
        key = self._pop().words if name == "BINPERSID" else _argument(argument)
        return self._made(_cut(f"persistent {key}", _WORDS)), ""

    # the stack

    def _push(self, value: _Value) -> None:
        self._values.append(value)

    def _pop(self) -> _Value:
        if len(self._values) <= (self._marks[-1] if self._marks else 0):
            self._problem = "the stack is too short"
            return _UNKNOWN
        return self._values.pop()

    def _top(self) -> _Value:
        value = self._pop()
        if not self._problem:
            self._push(value)
        return value

    def _to_mark(self) -> tuple[list[_Value], int]:
        """The first values above the mark, and how many there are."""
        if not self._marks:
            self._problem = "there is no mark on the stack"
            return [], 0
        start = self._marks.pop()
        first, count = self._values[start : start + _PARTS], len(self._values) - start
        del self._values[start:]
        return first, count

    _actions: ClassVar[Mapping[str, Callable[[_Stack, str, Argument], tuple[str, str]]]] = {
        "MARK": _mark,
        "POP": _pop_one,
        "POP_MARK": _pop_mark,
        "DUP": _dup,
        **dict.fromkeys(_FILLED, _filled),
        **dict.fromkeys(_BUILT, _built),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
        "GLOBAL": _global,
        "STACK_GLOBAL": _stack_global,
        **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _extension),
        **dict.fromkeys(("REDUCE", "NEWOBJ"), _call),
        "NEWOBJ_EX": _call_with_keywords,
        **dict.fromkeys(("INST", "OBJ"), _inst),
        "BUILD": _build,
        **dict.fromkeys(("PERSID", "BINPERSID"), _persistent),
    }

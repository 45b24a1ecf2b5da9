"""Run a pickle under a policy, in plain Python: a stack, a memo, and one small method per opcode.

Nothing is imported and nothing that the file chose is called. Whatever is wrong raises a PtfileError with the
position of the opcode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ptfile.errors import FormatError, PtfileError, UnsafeError, UnsupportedError
from ptfile.limits import Limits
from ptfile.machine.budget import Budget
from ptfile.machine.decoder import decode
from ptfile.machine.extent import CONTAINERS
from ptfile.machine.inert import InertRecord, keep_setter
from ptfile.machine.names import InertName
from ptfile.machine.opcodes import Argument
from ptfile.machine.policy import Rules, TypeRules, guarded

_BITS_PER_DIGIT = 3.33


@dataclass(frozen=True, slots=True)
class Python2Text:
    """How to read the `str` objects of Python 2, as in `pickle.load`."""

    encoding: str = "utf-8"
    """`bytes` leaves them as bytes."""
    errors: str = "strict"

    def read(self, data: bytes) -> str | bytes:
        if self.encoding == "bytes":
            return data
        try:
            return data.decode(self.encoding, self.errors)
        except UnicodeDecodeError as error:
            problem = f"a Python 2 string is not {self.encoding} ({error.reason})"
            fix = "Give the encoding that it has, such as encoding='latin1' (--encoding latin1), or encoding='bytes'"
            raise FormatError(problem, fix=fix) from error


class Machine:
    """Runs one pickle, once."""

    def __init__(
        self,
        policy: Rules,
        load_persistent: Callable[[object], object],
        *,
        limits: Limits | None = None,
        text: Python2Text | None = None,
    ) -> None:
        self._policy = policy
        self._load_persistent = load_persistent
        self._limits = limits or Limits()
        self._text = text or Python2Text()
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below each open mark
        self._memo: dict[int, Any] = {}
        self._names: dict[tuple[str, str], Any] = {}  # what names have become
        self._looked_up = 0  # names that calls have made
        self._is_tree = True  # whether no container was taken out of the memo
        self._budget = Budget(policy, self._limits, 0)
        self.position = 0
        """Of the opcode that is being run, for a policy that takes notes."""

    def run(self, data: bytes, start: int = 0) -> tuple[Any, int]:
        """Return the pickle's value and the position behind its STOP."""
        actions = self._actions
        self.position = start
        budget = self._budget = Budget(self._policy, self._limits, len(data) - start)
        try:
            for position, opcode, argument in budget.counted(decode(data, start)):
                self.position = position
                actions[opcode.name](self, argument)
            value = self._result()
            budget.check(value, is_tree=self._is_tree)
            return value, self.position + 1
        except PtfileError as error:
            if error.offset is None and error.record is None:  # else it is about another place than the pickle
                error.offset = self.position
            budget.chains.clear()
            raise
        except BaseException:
            budget.chains.clear()
            raise

    def _result(self) -> Any:
        if self._below:
            raise FormatError("the pickle ends with an open mark")
        if len(self._stack) != 1:
            raise FormatError(f"the pickle ends with {len(self._stack)} values on its stack instead of one")
        return self._stack[0]

    # the stack

    def _pop(self) -> Any:
        if not self._stack:
            raise FormatError("the pickle takes a value from its stack, where there is none")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise FormatError("the pickle looks at the top of its stack, where there is none")
        return self._stack[-1]

    def _pop_mark(self) -> list[Any]:
        """The values above the mark."""
        if not self._below:
            raise FormatError("the pickle goes back to a mark that it never made")
        items = self._stack
        self._stack = self._below.pop()
        return items

    def _mark(self, _: Argument) -> None:
        self._budget.hold("depth", len(self._below) + 1, "containers are nested too deep")
        self._below.append(self._stack)
        self._stack = []

    def _discard(self, _: Argument) -> None:
        if not self._stack:
            self._pop_mark()
            return
        dropped = self._stack.pop()
        if type(dropped) is InertRecord:
            keep_setter(dropped)

    def _discard_to_mark(self, _: Argument) -> None:
        self._pop_mark()

    def _duplicate(self, _: Argument) -> None:
        self._push_again(self._top())

    def _nothing(self, _: Argument) -> None:
        """PROTO and FRAME are checked by the decoder; STOP ends the loop."""

    # values

    def _push(self, argument: Argument) -> None:
        self._stack.append(argument)

    def _integer(self, argument: Argument) -> None:
        assert isinstance(argument, int)
        digits = int(argument.bit_length() / _BITS_PER_DIGIT)
        self._budget.hold("integer_digits", digits, "an integer is too large")
        self._stack.append(argument)

    def _python2_text(self, argument: Argument) -> None:
        assert isinstance(argument, bytes)
        self._stack.append(self._text.read(argument))

    def _none(self, _: Argument) -> None:
        self._stack.append(None)

    def _true(self, _: Argument) -> None:
        self._stack.append(True)

    def _false(self, _: Argument) -> None:
        self._stack.append(False)

    def _outside_buffer(self, _: Argument) -> None:
        raise UnsupportedError("the pickle keeps buffers outside itself, which no checkpoint does")

    # containers

    def _empty_list(self, _: Argument) -> None:
        self._stack.append([])

    def _empty_tuple(self, _: Argument) -> None:
        self._stack.append(())

    def _empty_dict(self, _: Argument) -> None:
        self._stack.append({})

    def _empty_set(self, _: Argument) -> None:
        self._stack.append(set())

    def _list(self, _: Argument) -> None:
        items = self._pop_mark()
        self._stack.append(items)

    def _tuple(self, _: Argument) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def _tuple1(self, _: Argument) -> None:
        self._stack.append((self._pop(),))

    def _tuple2(self, _: Argument) -> None:
        second, first = self._pop(), self._pop()
        self._stack.append((first, second))

    def _tuple3(self, _: Argument) -> None:
        third, second, first = self._pop(), self._pop(), self._pop()
        self._stack.append((first, second, third))

    def _dict(self, _: Argument) -> None:
        items = self._pop_mark()
        self._stack.append(dict(self._pairs(items, items)))

    def _frozenset(self, _: Argument) -> None:
        items = self._pop_mark()
        self._budget.keys.check(items, items, into_set=True)
        self._stack.append(frozenset(items))

    def _append(self, _: Argument) -> None:
        item = self._pop()
        self._extend([item])

    def _appends(self, _: Argument) -> None:
        self._extend(self._pop_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        rules = self._policy.rules(type(target))
        if rules.extend is None:
            raise FormatError(f"the pickle appends to a {type(target).__name__}")
        rules.extend(target, items)
        self._note(target, rules)

    def _set_item(self, _: Argument) -> None:
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def _set_items(self, _: Argument) -> None:
        self._update(self._pop_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._top()
        rules = self._policy.rules(type(target))
        if rules.update is None:
            raise FormatError(f"the pickle stores items in a {type(target).__name__}")
        rules.update(target, self._pairs(target, items))
        self._note(target, rules)

    def _note(self, target: Any, rules: TypeRules) -> None:
        if rules.unguarded is not None:
            self._budget.chains.note(target, rules.unguarded)

    def _add_items(self, _: Argument) -> None:
        items = self._pop_mark()
        target = self._top()
        add = self._policy.rules(type(target)).add
        if add is None:
            raise FormatError(f"the pickle adds elements to a {type(target).__name__}")
        self._budget.keys.check(target, items, into_set=True)
        add(target, items)

    def _pairs(self, target: Any, items: list[Any]) -> list[tuple[Any, Any]]:
        if len(items) % 2:
            raise FormatError("the pickle stores a key without a value")
        keys = items[::2]
        self._budget.keys.check(target, keys)
        return list(zip(keys, items[1::2], strict=True))

    # the memo

    def _get(self, argument: Argument) -> None:
        assert isinstance(argument, int)
        try:
            self._push_again(self._memo[argument])
        except KeyError:
            raise FormatError(f"the pickle asks for memo entry {argument}, which it never made") from None

    def _push_again(self, value: Any) -> None:
        if type(value) in CONTAINERS:
            self._is_tree = False
        self._stack.append(value)

    def _put(self, argument: Argument) -> None:
        assert isinstance(argument, int)
        if argument < 0:
            raise FormatError(f"the pickle makes a memo entry with the negative number {argument}")
        self._memo[argument] = self._top()
        if len(self._memo) > self._limits.memo:
            self._budget.hold("memo", len(self._memo), "the pickle has too many memo entries")

    def _memoize(self, _: Argument) -> None:
        self._put(len(self._memo))

    # names and objects

    def _global(self, argument: Argument) -> None:
        assert isinstance(argument, tuple)
        self._push_name(*argument)

    def _stack_global(self, _: Argument) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise FormatError("the pickle gives a name that is not text")
        self._push_name(module, name)

    def _push_name(self, module: str, name: str) -> None:
        key = module, name
        if key not in self._names:
            self._names[key] = self._policy.resolve(module, name)
            self._budget.hold("names", len(self._names), "the pickle has too many names")
        self._stack.append(self._names[key])

    def _extension(self, argument: Argument) -> None:
        raise UnsafeError(f"the pickle uses extension code {argument!r}", name=f"copyreg extension {argument!r}")

    def _reduce(self, _: Argument) -> None:
        arguments, target = self._pop(), self._pop()
        self._call(target, arguments)

    def _call(self, target: Any, arguments: Any) -> None:
        if type(arguments) is tuple:
            self._budget.call(target, arguments)
        made = self._policy.call(target, arguments)
        self._note(made, self._policy.rules(type(made)))
        if type(made) is InertName:  # one name looked up in another
            self._looked_up += 1
            self._budget.hold("names", len(self._names) + self._looked_up, "the pickle has too many names")
        self._stack.append(made)

    def _new_object(self, _: Argument) -> None:
        arguments, target = self._pop(), self._pop()
        arguments = _arguments(arguments)
        self._budget.hand(arguments)
        self._stack.append(self._policy.new(target, arguments))

    def _new_object_ex(self, _: Argument) -> None:
        keywords, arguments, target = self._pop(), self._pop(), self._pop()
        if type(keywords) is not dict:
            raise FormatError("the pickle gives keyword arguments that are no dict")
        arguments = _arguments(arguments)
        self._budget.hand((*arguments, keywords))
        self._stack.append(self._policy.new(target, arguments, keywords))

    def _instance(self, argument: Argument) -> None:
        assert isinstance(argument, tuple)
        arguments = self._pop_mark()
        self._push_name(*argument)
        self._call(self._pop(), tuple(arguments))

    def _object(self, _: Argument) -> None:
        items = self._pop_mark()
        if not items:
            raise FormatError("the pickle makes an object of no class")
        self._call(items[0], tuple(items[1:]))

    def _build(self, _: Argument) -> None:
        state = self._pop()
        target = self._top()
        rules = self._policy.rules(type(target))
        if rules.set_state is None:
            raise FormatError(f"the pickle gives a state to a {type(target).__name__}")
        self._budget.hand((state,))
        guarded(f"the state of a {type(target).__name__}", rules.set_state, target, state)
        if rules.weigh is not None:
            self._budget.hand((target,))  # it may be given the same state again
        self._note(target, rules)

    # persistent ids

    def _persistent_text(self, argument: Argument) -> None:
        self._stack.append(self._load_persistent(argument))

    def _persistent(self, _: Argument) -> None:
        self._stack.append(self._load_persistent(self._pop()))

    # which method does what an opcode says

    _actions: ClassVar[Mapping[str, Callable[[Machine, Argument], None]]] = {
        **dict.fromkeys(("BININT", "BININT1", "BININT2"), _push),
        **dict.fromkeys(("INT", "LONG", "LONG1", "LONG4"), _integer),
        **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _push),
        **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _push),
        **dict.fromkeys(("FLOAT", "BINFLOAT"), _push),
        **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _python2_text),
        **dict.fromkeys(("NEXT_BUFFER", "READONLY_BUFFER"), _outside_buffer),
        "NONE": _none,
        "NEWTRUE": _true,
        "NEWFALSE": _false,
        "EMPTY_LIST": _empty_list,
        "APPEND": _append,
        "APPENDS": _appends,
        "LIST": _list,
        "EMPTY_TUPLE": _empty_tuple,
        "TUPLE": _tuple,
        "TUPLE1": _tuple1,
        "TUPLE2": _tuple2,
        "TUPLE3": _tuple3,
        "EMPTY_DICT": _empty_dict,
        "DICT": _dict,
        "SETITEM": _set_item,
        "SETITEMS": _set_items,
        "EMPTY_SET": _empty_set,
        "ADDITEMS": _add_items,
        "FROZENSET": _frozenset,
        "POP": _discard,
        "DUP": _duplicate,
        "MARK": _mark,
        "POP_MARK": _discard_to_mark,
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
        "MEMOIZE": _memoize,
        **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _extension),
        "GLOBAL": _global,
        "STACK_GLOBAL": _stack_global,
        "REDUCE": _reduce,
        "BUILD": _build,
        "INST": _instance,
        "OBJ": _object,
        "NEWOBJ": _new_object,
        "NEWOBJ_EX": _new_object_ex,
        **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
        "PERSID": _persistent_text,
        "BINPERSID": _persistent,
    }


def _arguments(value: object) -> tuple[Any, ...]:
    if type(value) is not tuple:
        raise FormatError(f"the pickle calls with a {type(value).__name__} where a tuple of arguments belongs")
    return value

"""Prove that a pickle is harmless, without running it.

Regular expressions know the phrases of which the pickles of checkpoints are nearly all made; a model of the stack,
which knows the kinds of values but not the values, follows how they are put together. What it does not know it does not
prove, and the plain machine runs that. A proof says of a pickle that

- it is well-formed, and all of it is read;
- it calls nothing but builders of tensors, with arguments as PyTorch's own, and `OrderedDict()`;
- it puts items into lists and dicts only, and gives a state to nothing but an OrderedDict, called `_metadata`;
- keys of dicts are texts, numbers, booleans and None;
- each memo entry is set once, one behind the other, and nothing is taken out again but texts, names and short tuples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from ptfile.machine.keys import FEW_SMALL
from ptfile.machine.phrases import phrases, record
from ptfile.machine.proof_alike import Alike
from ptfile.machine.proof_memo import Memo, NoProofError, Role, Roles, check, get

# What the model of the stack knows of a value, each a byte.
_PLAIN, _TUPLE, _LIST, _DICT, _ORDERED, _TENSOR, _FUNCTION = b"a", b"t", b"l", b"d", b"o", b"T", b"P"
_NUMBER = b"i"
"""A plain value that is no text: its hash can be chosen."""
_KEYS = _PLAIN + _NUMBER
_CODES = _NUMBER + _PLAIN
"""Of a value without and with a reference to the memo."""
_DICTS = (_DICT, _ORDERED)
_OPEN_STATE, _STATE = b"n", b"m"
"""A dict that is to have one item, called `_metadata`, before and behind it."""
_PARAMETER = _FUNCTION + _TENSOR + _NUMBER + _ORDERED
"""What a parameter is made of."""
_NO_VALUES = _FUNCTION + _OPEN_STATE + _STATE
"""Nothing else may come of these than what they are there for."""
_SHORT = 16
"""Values in a tuple that may be taken out of the memo again."""
DEEPEST = 100
"""Open marks."""
_WORTH_LEARNING = 2_000
"""Dicts with the same keys that the rest of a pickle may hold: fewer are read before an expression for them is made."""
_MOST_LEARNED = 4
_PROTOCOLS = (b"\x80\x02", b"\x80\x03")


def is_harmless(data: bytes, roles: Roles) -> bool:
    """Whether all of the bytes are one pickle of which the above is proved; `roles` has the names that it may use."""
    try:
        _Proof(data, roles).run()
    except NoProofError:
        return False
    return True


class _Proof:
    """Goes through one pickle, once."""

    def __init__(self, data: bytes, roles: Roles) -> None:
        self._data = data
        self._phrases = phrases()
        self._memo = Memo(roles)
        self._position = len(_PROTOCOLS[0])
        self._met: set[tuple[bytes, ...]] = set()  # what tensors have taken out of the memo, all together
        self._alike = Alike(data)
        self._values = bytearray()  # kinds of the values above the innermost mark
        self._below: list[bytearray] = []  # those below each mark
        self._keys: tuple[bytes, ...] = ()  # of the last dict with nothing but plain values
        self._record: re.Pattern[bytes] | None = None  # more of such dicts
        self._learned = 0
        self._numbers: dict[tuple[int, int], int] = {}  # keys that are no texts, by the place of their dict

    def run(self) -> None:
        """Raise NoProofError unless there is a proof."""
        data, end = self._data, len(self._data)
        if not data.startswith(_PROTOCOLS):
            raise NoProofError
        while (step := self._steps.get(data[self._position : self._position + 1])) is not None:
            step(self)
        check(data[self._position :] == b"." and not self._below and len(self._values) == 1)
        check(_are_values(self._values))
        check(self._memo.last < end)

    # values

    def _plain_values(self) -> None:
        match = self._phrases.values.match(self._data, self._position)
        if match is None:
            raise NoProofError
        references = self._phrases.value.findall(self._data, self._position, match.end())
        unknown = self._memo.not_known(references) - {b""}
        kinds = bytes(map(_CODES.__getitem__, map(bool, references)))
        if unknown:
            others = {reference: self._other(reference) for reference in unknown if self._is_other(reference)}
            if others:  # what the memo gives is no text
                plain = {b"": _NUMBER, **others}
                kinds = b"".join([plain.get(reference, _PLAIN) for reference in references])
            puts = [reference for reference in references if reference.startswith((b"q", b"r"))]
            self._memo.puts(puts)
            self._memo.texts(puts)
            check(self._memo.are_texts(unknown.difference(puts, others)))
        else:
            self._look_for_records(references, match.start(), match.end())
        self._values += kinds
        self._position = match.end()

    def _is_other(self, reference: bytes) -> bool:
        return reference in self._memo.tuples or reference in self._memo.names

    def _other(self, reference: bytes) -> bytes:
        """The kind of a value out of the memo that is no text."""
        if reference in self._memo.tuples:
            return _TUPLE
        self._memo.put(self._memo.expect(reference, Role.PARAMETER))
        return _FUNCTION

    def _named(self) -> None:
        """What begins with a name, or with what the memo gives."""
        data, position = self._data, self._position
        if match := self._phrases.tensor.match(data, position):
            self._tensor(*match.groups())
            self._position = match.end()
            self._more_tensors()
        elif match := self._phrases.ordered_dict.match(data, position):
            self._memo.put(self._memo.expect(match[1], Role.ORDERED_DICT))
            self._add(_ORDERED, match.end(), match[2])
        elif (match := self._phrases.name.match(data, position)) and match[1] in self._memo.tuples:
            self._add(_TUPLE, match.end())
        elif match and not self._memo.are_texts((match[1],)):
            self._memo.put(self._memo.expect(match[1], Role.PARAMETER))
            self._add(_FUNCTION, match.end())
        else:
            self._plain_values()

    def _more_tensors(self) -> None:
        """As many as follow, each behind its name."""
        self._more_alike()
        while match := self._phrases.text_and_tensor.match(self._data, self._position):
            name, function, tag, kind, key, location, identity, shape, stride, hooks_kind, *results = match.groups()
            self._position = match.end()
            if (function, tag, kind, location, hooks_kind) in self._met and key.startswith(b"X"):
                name_put, key_put = name[5 + name[1] :], key[5 + key[1] :]
                self._memo.puts((name_put, key_put, identity, shape, stride, *results))
                self._memo.texts((name_put, key_put))
                self._values += _PLAIN + _TENSOR
                if self._alike.learn(match):
                    self._more_alike()
            else:
                self._memo.put(self._memo.text(name))
                self._values += _PLAIN
                self._tensor(*match.groups()[1:])

    def _more_alike(self) -> None:
        """As many as follow that are written as the one that was learned: names, keys and memo entries may differ."""
        while run := self._alike.run(self._position):
            self._memo.put_many(run.puts, run.texts)
            self._values += (_PLAIN + _TENSOR) * run.count
            self._position = run.end

    def _tensor(
        self,
        function: bytes,
        tag: bytes,
        kind: bytes,
        key: bytes,
        location: bytes,
        identity: bytes,
        shape: bytes,
        stride: bytes,
        hooks_kind: bytes,
        *results: bytes,
    ) -> None:
        puts = [
            self._memo.expect(function, Role.TENSOR),
            self._memo.text(tag),
            self._memo.expect(kind, Role.STORAGE),
            self._memo.text(key),
            self._memo.text(location),
            *(identity, shape, stride),
            self._memo.expect(hooks_kind, Role.ORDERED_DICT),
            *results,
        ]
        self._memo.puts([put for put in puts if put])
        self._values += _TENSOR
        references = (function, tag, kind, location, hooks_kind)
        if not any(reference.startswith((b"c", b"X")) for reference in references):
            self._met.add(references)

    # containers

    def _dict(self) -> None:
        match = self._phrases.metadata.match(self._data, self._position)
        if match and (match[2] == self._memo.metadata or (match[3] and not self._memo.metadata)):
            self._memo.put(match[1])
            if match[3]:
                self._memo.put(match[3])
                self._memo.metadata = get(match[3])
            self._add(_OPEN_STATE + _PLAIN, match.end())
        else:
            self._with_put(_DICT)

    def _list(self) -> None:
        self._with_put(_LIST)

    def _look_for_records(self, references: list[bytes], start: int, end: int) -> None:
        """Learn the keys of a dict, when it has only plain values and many more dicts with these keys may follow."""
        data, keys = self._data, tuple(references[::2])
        is_record = data[start - 1 : start] == b"(" and data[end : end + 1] == b"u" and not any(references[1::2])
        if not is_record or not all(keys) or (len(data) - end) // (end - start) < _WORTH_LEARNING:
            self._record = None
        elif keys != self._keys:
            self._keys, self._record = keys, None
        elif self._record is None and self._learned < _MOST_LEARNED:
            self._learned += 1
            self._record = record(keys)

    def _more_records(self) -> None:
        """As many as follow of the dicts that were learned."""
        if self._record is None:
            return
        check(len(self._below) < DEEPEST)
        while match := self._record.match(self._data, self._position):
            name, name_put, put = match.groups()
            if name:
                self._memo.put(name_put)
                self._memo.texts((name_put,))
                self._values += _PLAIN
            self._add(_DICT, match.end(), put)

    def _mark(self) -> None:
        check(len(self._below) < DEEPEST)
        self._below.append(self._values)
        self._values = bytearray()
        self._position += 1

    def _to_mark(self) -> bytearray:
        """What is above the mark; what is below it is on the stack again."""
        check(bool(self._below) and _are_values(self._values))
        items, self._values = self._values, self._below.pop()
        return items

    def _tuple(self) -> None:
        self._make_tuple(self._to_mark())

    def _short_tuple(self) -> None:
        match = self._phrases.result.match(self._data, self._position)
        if match and self._values.endswith(_PARAMETER):
            self._memo.put(match[1])
            del self._values[-len(_PARAMETER) :]
            self._add(_TENSOR, match.end(), match[2])
            return
        count = b"\x85\x86\x87".index(self._data[self._position]) + 1
        items = self._values[-count:]
        check(len(items) == count and _are_values(items))
        del self._values[-count:]
        self._make_tuple(items)

    def _make_tuple(self, items: bytearray) -> None:
        put = self._with_put(_TUPLE)
        if not items.translate(None, _KEYS) and len(items) <= _SHORT:
            self._memo.tuples.add(get(put))

    def _set_items(self) -> None:
        items = self._to_mark()
        check(len(items) % 2 == 0 and self._values[-1:] in _DICTS)
        self._put_under(items[::2])
        self._more_records()

    def _set_item(self) -> None:
        target, key = self._values[-3:-2], self._values[-2:-1]
        check(len(self._values) > 2 and target in (*_DICTS, _OPEN_STATE) and _are_values(self._values[-1:]))
        self._values[-3:] = _STATE if target == _OPEN_STATE else target
        self._put_under(key)

    def _put_under(self, keys: bytearray) -> None:
        """Items go into the dict at the top."""
        check(not keys.translate(None, _KEYS))
        place = len(self._below), len(self._values)
        self._numbers[place] = self._numbers.get(place, 0) + keys.count(_NUMBER)
        check(self._numbers[place] <= FEW_SMALL)  # the vm looks at more of them: they may be chosen to collide
        self._position += 1

    def _appends(self) -> None:
        self._to_mark()
        check(self._values.endswith(_LIST))
        self._position += 1

    def _append(self) -> None:
        check(self._values[-2:-1] == _LIST and _are_values(self._values[-1:]))
        del self._values[-1:]
        self._position += 1

    def _build(self) -> None:
        check(self._values.endswith(_ORDERED + _STATE))
        del self._values[-1:]
        self._position += 1

    def _with_put(self, kind: bytes) -> bytes:
        """An opcode without an argument, which leaves a value of this kind. Returns its PUT."""
        match = self._phrases.with_put.match(self._data, self._position)
        assert match
        self._add(kind, match.end(), match[1])
        return match[1]

    def _add(self, kinds: bytes, end: int, put: bytes = b"") -> None:
        self._memo.put(put)
        self._values += kinds
        self._numbers.pop((len(self._below), len(self._values)), None)
        self._position = end

    _steps: ClassVar[Mapping[bytes, Callable[[_Proof], None]]] = {
        **dict.fromkeys((b"X", b"K", b"M", b"J", b"G", b"N", b"\x88", b"\x89", b"\x8a", b")"), _plain_values),
        **dict.fromkeys((b"c", b"h", b"j"), _named),
        **dict.fromkeys((b"\x85", b"\x86", b"\x87"), _short_tuple),
        b"}": _dict,
        b"]": _list,
        b"(": _mark,
        b"t": _tuple,
        b"u": _set_items,
        b"s": _set_item,
        b"e": _appends,
        b"a": _append,
        b"b": _build,
    }
    """By the first byte of a phrase."""


def _are_values(kinds: bytearray) -> bool:
    return kinds.translate(None, _NO_VALUES) == kinds

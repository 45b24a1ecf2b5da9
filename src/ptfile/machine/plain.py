"""Write the trees that most checkpoints are, of dicts, lists, plain values and tensors, in one pass of Python.

A pickler in C asks Python about each object that it meets, five times and more for a tensor alone, and for such trees
that takes longer than to write the opcodes here. They are those of CPython's pickler, byte for byte, in protocol 2.
Anything else in a tree, and a tree that is mostly plain values, which the pickler is faster with, is left to it.
"""

from __future__ import annotations

import copyreg
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, ClassVar, NamedTuple, TypeAlias

from ptfile._collector import paused_collector
from ptfile._types import Buffer
from ptfile.machine.names import Global
from ptfile.machine.plain_opcodes import (
    BYTES,
    CLOSE_TUPLE,
    COUNT,
    FLOAT,
    PUTS,
    SHORT_MEMO,
    NotPlainError,
    Pattern,
    bool_opcode,
    counts_opcodes,
    int_opcode,
    name_opcode,
    text_opcode,
)

PLAIN_PROTOCOL = 2
"""The only one that is written here."""

_BATCH = 1000
"""Items between two marks, as in CPython."""
_DEEPEST = 50
_MUCH = 1 << 16
_MUCH_FOR_TENSOR = 400
"""Bytes of a pickle, in all and more for each tensor, from which it is mostly plain values."""
_NUMBERS_OF_FIRST = 12
"""Objects in a tensor of which nothing is in the memo that have a number: all that have one."""
_NUMBERS = 7
"""Objects in a tensor that have a number: the key of its storage, the persistent id, the shape, the stride, the hooks,
the arguments and the tensor."""

PersistentId: TypeAlias = "tuple[str, Any, str, str, int]"
Strided: TypeAlias = "tuple[PersistentId, int, tuple[int, ...], tuple[int, ...], bool]"
"""A tensor as the arguments of `_rebuild_tensor_v2`: its storage, offset, shape and stride, and `requires_grad`."""


class PlainTensors(NamedTuple):
    """The tensors that a tree may hold beside Python's own plain values."""

    kind: type
    rebuild: Any
    """The function that a pickle names to make one: a `Global`, or what can be imported."""
    strided: Callable[[Any], Strided | None]
    """Describes a tensor; None if it is more than that can say."""


def encode_plain(value: object, tensors: PlainTensors) -> list[Buffer] | None:
    """The pickle in pieces, as `Encoder.encode` gives it; None if this value is not for here."""
    if OrderedDict in copyreg.dispatch_table:  # someone has a way of their own to write them
        return None
    try:
        with paused_collector():
            return [_PlainEncoder(tensors).encode(value)]
    except NotPlainError:
        return None


class _PlainEncoder:
    """Pickles one value, once."""

    def __init__(self, tensors: PlainTensors) -> None:
        self._rebuild = tensors.rebuild
        self._strided = tensors.strided
        self._out = bytearray(b"\x80\x02")
        self._memo: dict[int, int] = {}
        """From the identity of an object to its number."""
        self._kept: list[object] = []
        """The objects in the memo, so that no other gets the identity of one."""
        self._next = 0
        """The next number. All that a pickler would note has one; what is new each time is not noted here."""
        self._patterns: dict[tuple[Any, ...], Pattern] = {}
        self._depth = 0
        self._most = _MUCH
        self._writers = {**self._table, tensors.kind: _PlainEncoder._tensor}

    def encode(self, value: object) -> bytearray:
        try:
            self._writers[type(value)](self, value)
        except KeyError:  # of a type that is not in the table
            raise NotPlainError from None
        self._out += b"."
        return self._out

    # the memo

    def _is_known(self, obj: object) -> bool:
        """Whether the object has been written, and then write a reference to it."""
        if id(obj) not in self._memo:
            return False
        self._out += self._reference(obj)
        return True

    def _reference(self, obj: object) -> bytes:
        number = self._memo[id(obj)]
        return b"h%c" % number if number < SHORT_MEMO else b"j" + COUNT.pack(number)

    def _note(self, obj: object) -> None:
        """Number what has just been written, for references to it."""
        self._memo[id(obj)] = self._next
        self._kept.append(obj)
        self._number()

    def _number(self) -> None:
        """Number what has just been written; nothing else can refer to it."""
        number = self._next
        self._out += b"q%c" % number if number < SHORT_MEMO else b"r" + COUNT.pack(number)
        self._next = number + 1

    # plain values

    def _none(self, _: None) -> None:
        self._out += b"N"

    def _bool(self, value: bool) -> None:
        self._out += bool_opcode(value)

    def _int(self, value: int) -> None:
        self._out += BYTES[value] if 0 <= value < 1 << 8 else int_opcode(value)

    def _float(self, value: float) -> None:
        self._out += FLOAT.pack(b"G", value)

    def _text(self, value: str) -> None:
        if self._is_known(value):
            return
        self._out += text_opcode(value)
        self._note(value)

    # names

    def _name(self, obj: Any) -> None:
        """A `Global`, or a class or function that can be imported."""
        if self._is_known(obj):
            return
        self._out += name_opcode(obj)
        self._note(obj)

    # containers

    def _tuple(self, value: tuple[Any, ...]) -> None:
        if not value:
            self._out += b")"
            return
        if self._is_known(value):
            return
        close = CLOSE_TUPLE.get(len(value))
        if close is None:
            self._out += b"("
        self._enter()
        for item in value:
            self._writers[type(item)](self, item)
        self._depth -= 1
        if id(value) in self._memo:  # it is inside itself
            raise NotPlainError
        self._out += close or b"t"
        self._note(value)

    def _list(self, value: list[Any]) -> None:
        if self._is_known(value):
            return
        self._out += b"]"
        self._note(value)
        self._enter()
        if len(value) == 1:
            self._writers[type(value[0])](self, value[0])
            self._out += b"a"
        else:
            for start in range(0, len(value), _BATCH):
                self._check_worth()
                self._out += b"("
                for item in value[start : start + _BATCH]:
                    self._writers[type(item)](self, item)
                self._out += b"e"
        self._depth -= 1

    def _dict(self, value: dict[Any, Any]) -> None:
        if self._is_known(value):
            return
        self._out += b"}"
        self._note(value)
        self._enter()
        items = iter(value.items())
        if len(value) == 1:
            self._pairs(items)
            self._out += b"s"
        elif value:
            for _ in range(len(value) // _BATCH + 1):  # CPython begins a batch before it sees that nothing is left
                self._batch(islice(items, _BATCH))
        self._depth -= 1

    def _ordered_dict(self, value: OrderedDict[Any, Any]) -> None:
        if self._is_known(value):
            return
        self._name(OrderedDict)
        self._out += b")R"
        self._note(value)
        self._enter()
        items = iter(value.items())
        for start in range(0, len(value), _BATCH):
            if len(value) - start == 1:
                self._pairs(items)
                self._out += b"s"
            else:
                self._batch(islice(items, _BATCH))
        self._depth -= 1
        if value.__dict__:
            self._dict(value.__dict__)
            self._out += b"b"

    def _batch(self, items: Iterable[tuple[Any, Any]]) -> None:
        self._check_worth()
        self._out += b"("
        self._pairs(items)
        self._out += b"u"

    def _pairs(self, items: Iterable[tuple[Any, Any]]) -> None:
        writers = self._writers
        for key, item in items:
            writers[type(key)](self, key)
            writers[type(item)](self, item)

    def _enter(self) -> None:
        """Go one container deeper."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotPlainError
        self._check_worth()

    def _check_worth(self) -> None:
        if len(self._out) > self._most:
            raise NotPlainError

    # tensors

    def _tensor(self, tensor: Any) -> None:
        if self._is_known(tensor):
            return
        described = self._strided(tensor)
        if described is None:
            raise NotPlainError
        self._most += _MUCH_FOR_TENSOR
        persistent_id, offset, shape, stride, requires_grad = described
        kind, storage_class, key, location, numel = persistent_id
        if shape and self._next <= SHORT_MEMO - _NUMBERS_OF_FIRST:
            new = {id(obj) for obj in (self._rebuild, kind, storage_class, key, location, OrderedDict)}
            if len(new) == 6 and self._memo.keys().isdisjoint(new):
                self._first_tensor(tensor, *described)
                return
        alike = (id(storage_class), id(location), numel, offset, shape, stride, requires_grad)
        pattern = self._patterns.get(alike)
        if pattern is not None and id(key) not in self._memo:
            self._out += pattern.filled(key, self._next)
            self._memo[id(key)] = self._next
            self._next += _NUMBERS
            self._memo[id(tensor)] = self._next - 1
            self._kept += (key, tensor)
            return
        first = self._next
        self._name(self._rebuild)
        self._out += b"(("
        self._text(kind)
        self._name(storage_class)
        self._text(key)
        self._text(location)
        self._int(numel)
        self._out += b"t"
        self._number()
        self._out += b"Q"
        self._int(offset)
        self._counts(shape)
        self._counts(stride)
        self._bool(requires_grad)
        self._name(OrderedDict)  # of hooks, which PyTorch leaves empty, and new for each tensor
        self._out += b")R"
        self._number()
        self._out += b"t"
        self._number()
        self._out += b"R"
        self._note(tensor)
        if shape and first >= SHORT_MEMO:  # from here on all numbers are as long, and all that is not new is known
            self._patterns[alike] = Pattern(
                self._reference(self._rebuild) + b"((" + self._reference(kind) + self._reference(storage_class),
                (
                    self._reference(location) + int_opcode(numel) + b"t",
                    b"Q" + int_opcode(offset) + counts_opcodes(shape),
                    counts_opcodes(stride),
                    bool_opcode(requires_grad) + self._reference(OrderedDict) + b")R",
                ),
            )

    def _first_tensor(
        self,
        tensor: Any,
        persistent_id: PersistentId,
        offset: int,
        shape: tuple[int, ...],
        stride: tuple[int, ...],
        requires_grad: bool,
    ) -> None:
        """The same for one of which nothing is in the memo: the first of a pickle, in many the only one."""
        kind, storage_class, key, location, numel = persistent_id
        n = self._next
        self._next = n + _NUMBERS_OF_FIRST
        objects = (self._rebuild, kind, storage_class, key, location, OrderedDict, tensor)
        self._memo.update(zip(map(id, objects), (n, n + 1, n + 2, n + 3, n + 4, n + 8, n + 11), strict=True))
        self._kept += objects
        a, b, c, d, e, f, g, h, i, j, k, m = PUTS[n : self._next]
        self._out += b"".join(
            [
                *(name_opcode(self._rebuild), a, b"((", text_opcode(kind), b, name_opcode(storage_class), c),
                *(text_opcode(key), d, text_opcode(location), e, int_opcode(numel), b"t", f, b"Q", int_opcode(offset)),
                *(counts_opcodes(shape), g, counts_opcodes(stride), h),
                *(bool_opcode(requires_grad), name_opcode(OrderedDict), i, b")R", j, b"t", k, b"R", m),
            ]
        )

    def _counts(self, counts: tuple[int, ...]) -> None:
        """A tuple that is new each time."""
        self._out += counts_opcodes(counts)
        if counts:
            self._number()

    _table: ClassVar[Mapping[type, Callable[[_PlainEncoder, Any], None]]] = {
        str: _text,
        int: _int,
        float: _float,
        bool: _bool,
        type(None): _none,
        tuple: _tuple,
        dict: _dict,
        list: _list,
        OrderedDict: _ordered_dict,
        Global: _name,
    }
    """What writes a value, by its type."""

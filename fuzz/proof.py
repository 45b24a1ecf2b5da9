"""Target: pickles of the phrases that are proved harmless. CPython's unpickler gives what the plain machine gives."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

from tests.hostile.pickle_assembler import integer, name

from fuzz import pickles
from fuzz.machine import small_storages
from fuzz.oracle import attempt, require, require_same
from fuzz.values import SIZES
from ptfile.formats.proved_tensors import tensors_of
from ptfile.formats.vocabulary import ROLES, find, policy
from ptfile.limits import Limits
from ptfile.machine.fast import run_if_harmless
from ptfile.machine.vm import Machine
from ptfile.tensors import dtypes

_LIMITS = Limits()
_TEXTS = ("", "a", "b", "weight", "_metadata", "storage", "0", "1", "é", "x" * 255, "x" * 256)
_NUMBERS = (0, 1, 2, 255, 256, 65_535, 65_536, (1 << 31) - 1, -1, -(1 << 31), 1 << 31, 1 << 40, (1 << 55) - 1)
_FLOATS = (0.0, -0.0, 1.0, 2.5, 256.0, float("nan"), float("inf"), 2.0**61, 2.0**122)
_PUTS = (b"", b"q\0", b"q\xff", b"r\0\1\0\0", b"r\xff\xff\xff\xff")
_FAR = 0.01
"""How often something is not as a pickler would have it."""


def check(data: bytes) -> None:
    """Raise Violation if the two ways to run this pickle differ."""
    fast = attempt("the fast way", lambda: _run_if_harmless(data))
    value, is_run = fast.value or (None, False)
    if is_run:
        plain = attempt("the vm", lambda: Machine(policy("error"), small_storages().load, limits=_LIMITS).run(data))
        require(plain.loaded, f"the fast way gives a value, and the vm {plain}")
        require_same("what the fast way gives, and what the vm gives,", [value, len(data)], [*plain.value])


def _run_if_harmless(data: bytes) -> tuple[Any, bool]:
    storages = small_storages()
    return run_if_harmless(data, ROLES, find, storages.load, _LIMITS, tensors_of(storages))


def generate(rng: Random) -> bytes:
    """A pickle that is proved, as a rule."""
    data = rng.choice((b"\x80\x02", b"\x80\x02", b"\x80\x03")) + _Phrases(rng).value(rng.randrange(5)) + b"."
    return data if rng.random() < 0.7 else mutate(rng, data, data)


def mutate(rng: Random, data: bytes, donor: bytes) -> bytes:
    """Bytes or values changed, taken out, doubled and moved."""
    if rng.random() < 0.5:
        return pickles.mutated(rng, data, donor)
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        place, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 5, 20))
        start = rng.randrange(len(donor) + 1)
        part = rng.choice((b"", donor[start : start + length], bytes([rng.randrange(256)])))
        changed[place : place + rng.choice((0, len(part), length))] = part
    return bytes(changed)


class _Phrases:
    """Writes one pickle as Python's pickler does, but for what is wrong on purpose now and then."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._next = rng.choice((0, 0, 250))  # behind 255 stand the rows that are read together
        self._gets: dict[object, bytes] = {}  # what is in the memo, by the text, the name or the tuple that it is

    def value(self, depth: int) -> bytes:
        """Any value, of so many levels."""
        if depth <= 0:
            return self._rng.choice((self._number, self._number, self._text, self._text, self._tensor))()
        return self._rng.choice((self._list, self._dict, self._ordered, self._tuple, self._parameter))(depth - 1)

    def _put(self, of: object = None) -> bytes:
        if self._rng.random() < _FAR:
            return self._rng.choice(_PUTS)
        index = self._next
        self._next += 1 if self._rng.random() > _FAR else 40
        number, code = (bytes([index]), b"q") if index < 256 else (struct.pack("<I", index), b"r")
        if of is not None:
            self._gets[of] = (b"h" if code == b"q" else b"j") + number
        return code + number

    def _known(self, of: object, made: bytes) -> bytes:
        """Something with its PUT; or what the memo has of it."""
        if of in self._gets and self._rng.random() > _FAR:
            return self._gets[of]
        if self._gets and self._rng.random() < _FAR:
            return self._rng.choice([*self._gets.values()])
        return made + self._put(of)

    def _text(self, text: str | None = None) -> bytes:
        text = self._rng.choice(_TEXTS) if text is None else text
        raw = text.encode()
        return self._known(text, b"X" + struct.pack("<I", len(raw)) + raw)

    def _name(self, module: str, function: str) -> bytes:
        return self._known((module, function), name(module, function))

    def _number(self) -> bytes:
        kind = self._rng.randrange(8)
        if kind == 0:
            return self._rng.choice((b"N", b"\x88", b"\x89", b")"))
        if kind == 1:
            return b"G" + struct.pack(">d", self._rng.choice(_FLOATS))
        return self._int(self._rng.choice(_NUMBERS) if kind == 2 else self._rng.randrange(20))

    def _int(self, number: int) -> bytes:
        if 0 <= number < 1 << 8:
            return struct.pack("<cB", b"K", number)
        if 0 <= number < 1 << 16:
            return struct.pack("<cH", b"M", number)
        return struct.pack("<ci", b"J", number) if -(1 << 31) <= number < 1 << 31 else integer(number)

    def _sizes(self, *sizes: int) -> bytes:
        if not sizes:
            return b")" + self._rng.choice((b"", self._put()))
        return b"".join(map(self._int, sizes)) + (b"\x85", b"\x86")[len(sizes) - 1] + self._put()

    def _hooks(self) -> bytes:
        return self._name("collections", "OrderedDict") + b")R" + self._put()

    def _tensor(self, storage: str | None = None, *, has_key: bool = False) -> bytes:
        rng = self._rng
        storage = storage or rng.choice(tuple(dtypes.BY_STORAGE_CLASS))
        key = rng.randrange(len(SIZES))
        numel = SIZES[key] // dtypes.BY_STORAGE_CLASS[storage].itemsize
        rows = rng.choice((1, 2)) if rng.random() > _FAR else rng.choice(_NUMBERS)
        made = self._name("torch._utils", "_rebuild_tensor_v2") + b"((" + self._text("storage")
        made += self._name("torch", storage) + (b"X\1\0\0\0%d" % key + self._put() if has_key else self._text(str(key)))
        made += self._text("cpu") + self._int(numel)
        made += b"t" + self._put() + b"Q" + self._int(rng.choice((0, 0, 0, 1)))
        if rng.random() < 0.5:
            made += self._sizes(rows, numel // max(abs(rows), 1)) + self._sizes(max(numel // 2, 1), 1)
        else:
            made += self._sizes() + self._sizes()
        return made + b"\x89" + self._hooks() + b"t" + self._put() + b"R" + self._put()

    # containers

    def _items(self, depth: int) -> list[bytes]:
        many = 80 if self._rng.random() < 0.05 else 4
        return [self.value(depth if many == 4 else 0) for _ in range(self._rng.randrange(many))]

    def _list(self, depth: int) -> bytes:
        return b"]" + self._put() + self._one_by_one_or_all(self._items(depth), b"a", b"e")

    def _one_by_one_or_all(self, items: list[bytes], one: bytes, many: bytes) -> bytes:
        if self._rng.random() < 0.2:
            return b"".join(item + one for item in items)
        return b"(" + b"".join(items) + many

    def _pairs(self, depth: int) -> bytes:
        keys = (self._number, self._text, self._text, self._text, lambda: self._short_tuple())
        pairs = []
        for _ in range(self._rng.choice((0, 1, 2, 3, 80)) if depth < 1 else self._rng.randrange(4)):
            key = keys[self._rng.randrange(4 if self._rng.random() > _FAR else 5)]()
            pairs.append(key + self.value(depth))
        return self._one_by_one_or_all(pairs, b"s", b"u")

    def _row(self) -> bytes:
        """Names with tensors that differ in nothing else."""
        rng, seed, pairs = self._rng, self._rng.random(), []
        for number in range(rng.choice((3, 8, 20))):
            name = self._text(f"n{number}")
            self._rng = Random(seed)
            pairs.append(name + self._tensor(has_key=True))
            self._rng = rng
        return b"(" + b"".join(pairs) + b"u"

    def _dict(self, depth: int) -> bytes:
        return b"}" + self._put() + (self._row() if self._rng.random() < 0.2 else self._pairs(depth))

    def _ordered(self, depth: int) -> bytes:
        made = self._hooks() + self._pairs(depth)
        if self._rng.random() < 0.3:
            made += b"}" + self._put() + self._text("_metadata") + self.value(depth) + b"sb"
        return made

    def _short_tuple(self) -> bytes:
        count = self._rng.randrange(1, 4)
        made = b"".join(self._number() for _ in range(count)) + b"\x85\x86\x87"[count - 1 : count]
        return self._known(("tuple", self._rng.randrange(3)), made)

    def _tuple(self, depth: int) -> bytes:
        if self._rng.random() < 0.4:
            return self._short_tuple()
        items = self._items(depth)
        if 0 < len(items) < 4:
            return b"".join(items) + b"\x85\x86\x87"[len(items) - 1 : len(items)] + self._put()
        return b"(" + b"".join(items) + b"t" + self._put()

    def _parameter(self, _: int) -> bytes:
        made = self._name("torch._utils", "_rebuild_parameter") + self._tensor("FloatStorage")
        made += self._rng.choice((b"\x88", b"\x89", b"K\1")) + self._hooks() + b"\x87" + self._put()
        return made + b"R" + self._put()

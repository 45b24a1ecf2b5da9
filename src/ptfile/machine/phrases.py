"""The phrases that the pickles of checkpoints are made of, as regular expressions over protocols 2 and 3.

A tensor is one match, as is a run of plain values: that is why a pickle can be read this way in a fraction of the
time. No expression can take longer than in proportion to what it matches: which way to go on is always told by the next
byte or two.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_TEXT = 255
"""In bytes: longer ones are no phrase."""
_LONGEST_KEY, _LONGEST_LOCATION = 20, 15
"""The same for the key of a storage and the tag of its device."""
_MOST_VALUES = 1_000
"""In one match, for the sake of the memory that it needs; picklers put no more into one batch."""

_A_PUT = rb"(?:q.|r....)"
_PUT = _A_PUT + rb"?"
_GET = rb"(?:h.|j....)"


def _of_length(count: int, rest: bytes = b"") -> bytes:
    """The length of an argument, and as many bytes."""
    return re.escape(bytes([count])) + rest + b".{%d}" % count


def _text(longest: int) -> bytes:
    lengths = [_of_length(count, b"\0\0\0") for count in range(longest + 1)]
    return rb"X(?:" + b"|".join(lengths) + rb")" + _A_PUT


_TEXT = _text(LONGEST_TEXT)
_SMALL_INT = rb"(?:K.|M..|J....)"
_INT = rb"(?:" + _SMALL_INT + rb"|\x8a(?:" + b"|".join(map(_of_length, range(8))) + rb"))"
_NAME = rb"(c[\w.]{1,40}\n\w{1,40}\n" + _PUT + rb"|" + _GET + rb")"
_SIZES = (
    rb"(?:\)|\(" + _SMALL_INT + rb"{4,64}t|" + _SMALL_INT + rb"(?:\x85|" + _SMALL_INT + rb"(?:\x86|" + _SMALL_INT
    + rb"\x87)))(" + _PUT + rb")"
)  # fmt: skip
_TAG = rb"(X\x07\0\0\0storage" + _A_PUT + rb"|" + _GET + rb")"
_KEY = rb"(" + _text(_LONGEST_KEY) + rb"|" + _GET + rb")"
_LOCATION = rb"(" + _text(_LONGEST_LOCATION) + rb"|" + _GET + rb")"
_TENSOR = (
    _NAME + rb"\(\(" + _TAG + _NAME + _KEY + _LOCATION + _INT + rb"t(" + _PUT + rb")Q"
    + _INT + _SIZES + _SIZES + rb"[\x88\x89]" + _NAME + rb"\)R(" + _PUT + rb")t(" + _PUT + rb")R(" + _PUT + rb")"
)  # fmt: skip
_CALLED = rb"\(\(|\)R"
"""What follows a name, and not a text, that is taken out of the memo."""
_PLAIN = rb"[N\x88\x89)]|G.{8}|" + _INT
_VALUE = _PLAIN + rb"|" + _TEXT + rb"|" + _GET + rb"(?!" + _CALLED + rb")"


@dataclass(frozen=True, slots=True)
class Phrases:
    tensor: re.Pattern[bytes]
    """`_rebuild_tensor_v2` with its arguments. Groups: function, "storage", class, key, location, PUT of the persistent
    id, of the shape, of the stride, OrderedDict, PUT of the hooks, of the arguments, of the tensor."""
    text_and_tensor: re.Pattern[bytes]
    """The same behind its name in a dict, which is one more group before the others."""
    values: re.Pattern[bytes]
    """Values that have no parts."""
    value: re.Pattern[bytes]
    """One of these. The group is its PUT or GET."""
    name: re.Pattern[bytes]
    ordered_dict: re.Pattern[bytes]
    """An OrderedDict, made. Groups: OrderedDict, PUT."""
    metadata: re.Pattern[bytes]
    """A dict and its first key, which is what PyTorch calls the one attribute of a state_dict. Groups: PUT of the dict,
    the key, its PUT."""
    with_put: re.Pattern[bytes]
    """An opcode without an argument."""
    result: re.Pattern[bytes]
    """A call with the three arguments in front of it."""


def record(keys: Sequence[bytes]) -> re.Pattern[bytes]:
    """A dict with these keys, each out of the memo, and plain values; in front of it its name, if it is in a dict.

    Groups: the name with its PUT, the PUT, that of the dict.
    """
    items = b"".join([re.escape(key) + rb"(?:" + _PLAIN + rb")" for key in keys])
    name = rb"(" + _TEXT[: -len(_A_PUT)] + rb"(" + _A_PUT + rb"))?"
    return re.compile(name + rb"\}(" + _PUT + rb")\(" + items + rb"u", re.DOTALL)


@functools.cache
def phrases() -> Phrases:
    """The expressions, made when they are needed first: that takes as long as importing half of ptfile."""
    sources = {
        "tensor": _TENSOR,
        "text_and_tensor": rb"(" + _TEXT + rb")" + _TENSOR,
        "values": rb"(?:" + _VALUE + rb"){1,%d}" % _MOST_VALUES,
        "value": _PLAIN + rb"|(?:" + _TEXT[: -len(_A_PUT)] + rb")?([qh].|[rj]....)",
        "name": _NAME,
        "ordered_dict": _NAME + rb"\)R(" + _PUT + rb")",
        "metadata": rb"\}(" + _PUT + rb")(X\t\0\0\0_metadata(" + _A_PUT + rb")|" + _GET + rb")",
        "with_put": rb".(" + _PUT + rb")",
        "result": rb"\x87(" + _PUT + rb")R(" + _PUT + rb")",
    }
    return Phrases(**{name: re.compile(source, re.DOTALL) for name, source in sources.items()})

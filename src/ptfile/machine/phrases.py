"""The phrases that the pickles of checkpoints are made of, as regular expressions over protocols 2 and 3.

A tensor is one match, as is a run of plain values: that is why a pickle can be read this way in a fraction of the
time. No expression can take longer than in proportion to what it matches: which way to go on is always told by the next
byte or two.
"""

from __future__ import annotations

import re

_PUT = rb"(?:q.|r....)?"
_GET = rb"(?:h.|j....)"
LONGEST_TEXT = 255
"""In bytes: longer ones are no phrase."""


def _of_length(count: int, rest: bytes = b"") -> bytes:
    """The length of an argument, and as many bytes."""
    return re.escape(bytes([count])) + rest + b".{%d}" % count


_TEXT = rb"X(?:" + b"|".join(_of_length(count, b"\0\0\0") for count in range(LONGEST_TEXT + 1)) + rb")"
_SMALL_INT = rb"(?:K.|M..|J....)"
_INT = rb"(?:" + _SMALL_INT + rb"|\x8a(?:" + b"|".join(map(_of_length, range(8))) + rb"))"
_NAME = rb"(c[\w.]{1,40}\n\w{1,40}\n" + _PUT + rb"|" + _GET + rb")"
_SHARED_TEXT = rb"(" + _TEXT + _PUT + rb"|" + _GET + rb")"
_SIZES = (
    rb"(?:\)|\(" + _SMALL_INT + rb"{4,64}t|" + _SMALL_INT + rb"(?:\x85|" + _SMALL_INT + rb"(?:\x86|" + _SMALL_INT
    + rb"\x87)))(" + _PUT + rb")"
)  # fmt: skip
_TENSOR = (
    _NAME + rb"\(\(" + _SHARED_TEXT + _NAME + _SHARED_TEXT + _SHARED_TEXT + _INT + rb"t(" + _PUT + rb")Q"
    + _INT + _SIZES + _SIZES + rb"[\x88\x89]" + _NAME + rb"\)R(" + _PUT + rb")t(" + _PUT + rb")R(" + _PUT + rb")"
)  # fmt: skip
_CALLED = rb"\(\(|\)R"
"""What follows a name, and not a text, that is taken out of the memo."""
_PLAIN = rb"[N\x88\x89)]|G.{8}|" + _INT

_FLAGS = re.DOTALL
TENSOR = re.compile(_TENSOR, _FLAGS)
"""`_rebuild_tensor_v2` with its arguments. Groups: function, "storage", class, key, location, PUT of the persistent id,
of the shape, of the stride, OrderedDict, PUT of the hooks, of the arguments, of the tensor."""
TEXT_AND_TENSOR = re.compile(rb"(" + _TEXT + _PUT + rb")" + _TENSOR, _FLAGS)
"""The same behind its name in a dict, which is one more group before the others."""
RUN = re.compile(rb"(?:" + _PLAIN + rb"|" + _TEXT + _PUT + rb"|" + _GET + rb"(?!" + _CALLED + rb")){1,1000}", _FLAGS)
"""Values that have no parts; no more of them than picklers put into one batch, for the sake of the memory."""
VALUE = re.compile(_PLAIN + rb"|" + _TEXT + rb"(?![qr])|(?:" + _TEXT + rb"(?=[qr]))?([qh].|[rj]....)", _FLAGS)
"""One of these. The group is its PUT or GET."""
NAME = re.compile(_NAME, _FLAGS)
ORDERED_DICT = re.compile(_NAME + rb"\)R(" + _PUT + rb")", _FLAGS)
METADATA = re.compile(rb"\}(" + _PUT + rb")(X\t\0\0\0_metadata(" + _PUT + rb")|" + _GET + rb")", _FLAGS)
"""A dict and its first key, which is what PyTorch calls the one attribute of a state_dict. Groups: PUT of the dict, the
key, its PUT."""
WITH_PUT = re.compile(rb".(" + _PUT + rb")", _FLAGS)
"""An opcode without an argument."""
RESULT = re.compile(rb"\x87(" + _PUT + rb")R(" + _PUT + rb")", _FLAGS)
"""A call with the three arguments in front of it."""

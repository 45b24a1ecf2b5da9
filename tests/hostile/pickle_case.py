"""Cases whose file is a zip-format checkpoint that is right in all but its pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.hostile.case import Case, Fails, Loads
from tests.hostile.pickle_assembler import PROTO, checkpoint

_PICKLE = "data.pkl"


def refused(
    number: int,
    name: str,
    body: bytes,
    letters: str,
    says: str,
    at: bytes | int | None = -1,
    /,
    *storages: bytes,
    record: str | None = _PICKLE,
    **more: Any,
) -> Case:
    """A pickle that is an error, at an opcode of its body: given by the bytes that it begins with, or as an index from
    the end of the body. None: the error is about another record and has no place in the pickle.
    """
    offset = None
    if at is not None:
        place = body.index(at) if isinstance(at, bytes) else len(body) + at
        offset = len(PROTO) + place
    return Case(number, name, lambda: checkpoint(body, *storages), Fails(letters, says, record, offset, more))


def read(number: int, name: str, body: bytes, check: Callable[[Any], None] | None = None, *storages: bytes) -> Case:
    """A pickle that does no harm."""
    return Case(number, name, lambda: checkpoint(body, *storages), Loads(check))

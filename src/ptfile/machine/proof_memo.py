"""What a proof knows of the memo: which entries there are, and what may be taken out again.

Entries are known by the opcode that takes them out, a GET of one or four bytes, as it stands in the pickle.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from operator import lt
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SHORT = 256
"""Entries that have a PUT and a GET of one byte; the others do with LONG_PUT."""
LONG_PUT = 5
"""Bytes of a LONG_BINPUT."""

Indices: TypeAlias = "npt.NDArray[np.uint32]"


class Role(Enum):
    """What a name may be used for."""

    TENSOR = auto()
    """It is called with what a phrase of a tensor says."""
    PARAMETER = auto()
    """It is called with a tensor, a flag and an OrderedDict."""
    ORDERED_DICT = auto()
    STORAGE = auto()
    """It stands in persistent ids."""


Roles: TypeAlias = "Mapping[bytes, Role]"
"""What `roles_of` makes."""


def roles_of(names: Mapping[tuple[str, str], Role]) -> Roles:
    """Names, each a module and what is in it, as they stand in a pickle."""
    return {f"{module}\n{name}".encode(): role for (module, name), role in names.items()}


class NoProofError(Exception):
    """The pickle says something that is no phrase, or that may not be."""


def check(holds: bool) -> None:
    if not holds:
        raise NoProofError


def get(put: bytes) -> bytes:
    """The opcode that takes out of the memo what this one has put there; nothing for nothing."""
    return put and (b"j" if put.startswith(b"r") else b"h") + put[1:]


class Memo:
    """The memo of one pickle. Its entries are set one behind the other, each once."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles
        self.last = -1
        """The entry that was set last."""
        self._texts: set[bytes] = set()  # the GETs that give texts
        self._more_texts: list[Indices] = []  # entries that are texts too, which nobody has asked for
        # The GET that gives the text "_metadata". CPython makes one object of all texts that are names of attributes:
        # so that no one sees that, there is one such text, and it is nothing else.
        self.metadata = b""
        self.tuples: set[bytes] = set()
        """The GETs that give short tuples of plain values."""
        self.names: dict[bytes, Role] = {}
        """What the GETs of names give."""

    def put(self, put: bytes) -> None:
        """A memo entry, if the phrase makes one."""
        if put:
            index = int.from_bytes(put[1:], "little")
            check(index > self.last and (index >= SHORT or len(put) == 2))
            self.last = index

    def puts(self, puts: Sequence[bytes]) -> None:
        """The same for many, in their order."""
        count, joined = len(puts), b"".join(puts)
        if len(joined) == 2 * count and joined[::2] == b"q" * count:
            self._rising(joined[1::2])
        elif len(joined) == LONG_PUT * count and joined[::LONG_PUT] == b"r" * count:
            indices = struct.unpack("<" + count * "xI", joined)
            check(not indices or indices[0] >= SHORT)
            self._rising(indices)
        else:
            for put in puts:
                self.put(put)

    def _rising(self, indices: Sequence[int]) -> None:
        """New memo entries, one behind the other."""
        if indices:
            check(indices[0] > self.last and all(map(lt, indices, indices[1:])))
            self.last = indices[-1]

    def put_many(self, indices: Indices, texts: Sequence[Indices]) -> None:
        """The same for very many that are set by long PUTs. texts: those of them that are texts."""
        check(int(indices[0]) >= max(self.last + 1, SHORT) and bool((indices[1:] > indices[:-1]).all()))
        self.last = int(indices[-1])
        self._more_texts += texts

    def text(self, text: bytes) -> bytes:
        """A text, which may come from the memo. Returns its PUT, if it has one."""
        if not text.startswith(b"X"):
            check(self.are_texts((text,)))
            return b""
        put = text[5 + text[1] :]
        self._texts.add(get(put))
        return put

    def texts(self, puts: Sequence[bytes]) -> None:
        """What these have put there are texts."""
        self._texts.update(map(get, puts))

    def not_known(self, references: Collection[bytes]) -> set[bytes]:
        """Those that are no GETs of texts, or that nobody has asked for yet."""
        return set(references) - self._texts

    def are_texts(self, references: Collection[bytes]) -> bool:
        """Whether all of them are GETs that give texts."""
        if not self.not_known(references):
            return True
        for indices in self._more_texts:
            raw = indices.astype("<u4").tobytes()
            self._texts.update(b"j" + raw[start : start + 4] for start in range(0, len(raw), 4))
        self._more_texts.clear()
        return not self.not_known(references)

    def expect(self, name: bytes, role: Role) -> bytes:
        """A name, which may come from the memo. Returns its PUT, if it has one."""
        if not name.startswith(b"c"):
            check(self.names.get(name) is role)
            return b""
        module, function, put = name[1:].split(b"\n", 2)
        check(self._roles.get(module + b"\n" + function) is role)
        self.names[get(put)] = role
        return put

"""`ptfile.digest`: one short text for what a checkpoint says, however it was saved.

A tree of hashes: that of a value is over its kind and the hashes of its parts, so what is in a tree many times is
hashed once, and no more than a piece of a tensor is in memory. docs/digest.md has the rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from ptfile._content import Elements, Parts, Raw, atom, parts
from ptfile._progress import Counter
from ptfile._types import Path, Progress, Readable
from ptfile.containers.zip_reader import ZipReader
from ptfile.errors import LimitError, located
from ptfile.formats.opening import open_format
from ptfile.formats.pickles import SafeRunner
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources import Source, announce, open_source
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.elements import element_bytes
from ptfile.tensors.parameter import Parameter
from ptfile.tensors.quantized import QuantizedTensor
from ptfile.tensors.storage import Bytes
from ptfile.tensors.tensor import EXPANDED_COPY, Tensor

VERSION = "ptfile1"
"""In front of every digest: the rules that it was made by."""
_WITHOUT_CHECKSUMS = ("legacy", "tar", "safetensors")
_SHOWN_AGAIN = 16
"""How often, all in all, the bytes of a file may be hashed: tensors that overlap show them more than once."""
_STRIDED = frozenset({Parameter, Tensor})
_DEFAULT_LIMITS = Limits()


def digest(
    f: Path | Readable,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
    progress: Progress | None = None,
) -> str:
    """A hash of what a checkpoint says: `ptfile1:` and 64 hexadecimal digits (SHA-256).

    Two files have the same digest if loading them gives the same tree: keys in the same order, values of the same
    types, tensors of the same dtypes, shapes, values and `requires_grad`. It does not depend on the file's name and
    format, the byte order, the pickle protocol, the version of PyTorch, devices, strides, or which tensors share
    memory. All of it is in docs/digest.md.

    f: a path, a URL, or a binary file object that can seek, which is read from where it stands.

    encoding, errors: how to read the strings of Python 2, as in `load`.
    storage_options: how to open the store that a URL is in (docs/remote.md).
    progress: is called with the bytes that are done and those to do, again and again.

    Objects of classes that ptfile does not know count by the names, arguments and state in the file; nothing is
    imported or called. Checksums are verified. Takes memory for the pickle and for a piece of a tensor; for all that a
    tensor spans, if its elements do not lie row by row in the file; and for what is compressed.

    Raises what `load` raises.

    >>> import io, ptfile
    >>> whole, part = io.BytesIO(), io.BytesIO()
    >>> ptfile.save(ptfile.arange(10)[:3], whole)
    >>> ptfile.save(ptfile.tensor([0, 1, 2]), part, pickle_protocol=5)
    >>> whole.seek(0), part.seek(0)
    (0, 0)
    >>> digest(whole) == digest(part)
    True
    """
    with open_source(f, mmap=False, storage_options=storage_options) as source, located(file=source.name):
        reader = open_format(source, limits)
        has_checksums = reader.format not in _WITHOUT_CHECKSUMS
        counter = Counter(progress, source.size * (2 if has_checksums else 1))
        if has_checksums:
            _verify(source, limits, counter.advance)
        value = reader.load(SafeRunner(limits, "inert", Python2Text(encoding, errors)), None)
        announce(source, [(0, source.size)])
        made = Digester(source.size, counter.advance).digest(value)
        counter.finish()
        return f"{VERSION}:{made.hex()}"


def content_hash(value: Any) -> bytes:
    """The hash of a value by itself: equal for two that say the same. Raises as `digest` does."""
    return Digester(EXPANDED_COPY).digest(value)


def _verify(source: Source, limits: Limits, advance: Callable[[int], None]) -> None:
    """Check every record of a zip file by its checksum: the pieces that are read afterwards have none."""
    container = ZipReader(source, limits)
    announce(source, [(0, source.size)])
    for record in container.records.values():
        container.check(record, advance)


def _row(part: bytes) -> bytes:
    """A part after its length, so that no two rows of parts are the same bytes."""
    return len(part).to_bytes(8, "little") + part


def _before_elements(tensor: Tensor) -> hashlib._Hash:
    """What is hashed of a tensor that has only atoms, a shape and elements inside, up to its elements."""
    taken = parts(tensor)
    head = _Open(tensor, taken, 0)
    for part in taken.parts:
        if type(part) is tuple:
            shape = _Open(part, parts(part), 0)
            for size in parts(part).parts:
                shape.add(atom(size) or b"")
            head.add(b"@" + shape.finish())
        elif type(part) is not Elements:
            head.add(atom(part) or b"")
    return head.hash


class _Open:
    """A value that is being hashed."""

    __slots__ = ("hash", "identity", "inside", "outermost", "unordered", "value")

    def __init__(self, value: Any, taken: Parts, level: int) -> None:
        self.value = value
        self.identity = id(value)
        self.inside: Iterator[Any] = iter(taken.parts)
        self.hash = hashlib.sha256()
        self.add(taken.kind.encode())
        self.unordered: list[bytes] | None = None if taken.ordered else []
        self.outermost = level
        """The lowest level of a value that this one has inside again, up to its own."""

    def add(self, part: bytes) -> None:
        """One part."""
        self.hash.update(_row(part))

    def take(self, part: bytes) -> None:
        """The next part, or one of a set."""
        if self.unordered is None:
            self.add(part)
        else:
            self.unordered.append(part)

    def finish(self) -> bytes:
        for part in sorted(self.unordered or ()):
            self.add(part)
        return self.hash.digest()


class Digester:
    """Hashes one tree; a subclass may have another hash for the elements of tensors.

    Keeps its own stack, because a file may nest deeper than Python's functions can.
    """

    def __init__(self, file_size: int, advance: Callable[[int], None] = lambda _: None) -> None:
        """advance: gets how many further bytes of elements have been hashed."""
        self._advance = advance
        self._allowed = _SHOWN_AGAIN * file_size + EXPANDED_COPY
        self._hashed = 0
        # What is done, by identity; with the objects, so that no other gets their identity.
        self._done: dict[int, tuple[Any, bytes]] = {}
        self._elements: dict[tuple[Any, ...], tuple[Any, bytes]] = {}
        self._stack: list[_Open] = []
        self._levels: dict[int, int] = {}
        self._heads: dict[tuple[Any, ...], hashlib._Hash] = {}

    def digest(self, root: Any) -> bytes:
        whole = _Open(None, Parts("checkpoint", (root,)), 0)
        self._stack = [whole]
        while True:
            top = self._stack[-1]
            for value in top.inside:
                part = self._part(top, value)
                if part is None:
                    self._open(value)
                    break
                top.take(part)
            else:
                made = top.finish()
                if top is whole:
                    return made
                self._close(top, made)

    def _part(self, top: _Open, value: Any) -> bytes | None:
        """What a part counts as; None if it has to be gone into first."""
        if type(value) in _STRIDED and value.python_side is None and value.device != "meta":
            return b"@" + self._hash_of_strided(value)
        simple = atom(value)
        if simple is not None:
            return simple
        if isinstance(value, Raw):
            return b"bytes:" + value.data
        if type(value) is Elements:
            return b"@" + self.hash_of_elements(value.tensor)
        if id(value) in self._done:
            return b"@" + self._done[id(value)][1]
        level = self._levels.get(id(value))
        if level is not None:
            top.outermost = min(top.outermost, level)
            return b"^%d" % (len(self._stack) - level)
        return None

    def _hash_of_strided(self, tensor: Tensor) -> bytes:
        """The hash of a tensor with elements and nothing of Python's: the same as by way of the stack, but sooner.

        There may be a hundred thousand, and what comes before the elements is the same for many of them.
        """
        facts = (type(tensor), tensor.dtype, tensor.shape, tensor.requires_grad)
        head = self._heads.get(facts)
        if head is None:
            head = self._heads[facts] = _before_elements(tensor)
        hashed = head.copy()
        hashed.update(_row(b"@" + self.hash_of_elements(tensor)))
        return hashed.digest()

    def _open(self, value: Any) -> None:
        level = len(self._stack)
        self._levels[id(value)] = level
        self._stack.append(_Open(value, parts(value), level))

    def _close(self, top: _Open, made: bytes) -> None:
        self._stack.pop()
        del self._levels[top.identity]
        level, below = len(self._stack), self._stack[-1]
        if top.outermost >= level:
            self._done[top.identity] = (top.value, made)
        else:  # it says how far up something is, which is another thing elsewhere
            below.outermost = min(below.outermost, top.outermost)
        below.take(b"@" + made)

    def hash_of_elements(self, tensor: Tensor | QuantizedTensor) -> bytes:
        """The hash of a tensor's elements, which are gone through once."""
        storage = tensor.untyped_storage()
        flags = (getattr(tensor, "is_conj", bool)(), getattr(tensor, "is_neg", bool)())
        key = (id(storage), tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride(), flags)
        if key not in self._elements:
            self._elements[key] = (storage, self.of_elements(tensor))
        return self._elements[key][1]

    def of_elements(self, tensor: Tensor | QuantizedTensor) -> bytes:
        """The hash of a tensor's elements."""
        hashed = hashlib.sha256()
        for piece in self.counted(element_bytes(tensor)):
            hashed.update(piece.data)
        return hashed.digest()

    def counted(self, pieces: Iterator[Bytes]) -> Iterator[Bytes]:
        """The same pieces, until they are too many."""
        for piece in pieces:
            self._hashed += piece.nbytes
            if self._hashed > self._allowed:
                problem = "its tensors show the same bytes again and again"
                raise LimitError(problem, limit="shown_again", allowed=self._allowed, actual=self._hashed)
            yield piece
            self._advance(piece.nbytes)

"""A source over a file that gives ranges: what it asks for, in which pieces, and what it keeps."""

from __future__ import annotations

import errno
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ptfile._types import Buffer
from ptfile.sources import Source, announce, part_of
from ptfile.sources.merging import PIECE_MAX, PIECE_MIN
from ptfile.sources.remote import AHEAD_MAX, AHEAD_MIN, AT_ONCE, BESIDE, HEAD, RemoteSource
from tests.sources.contract import CONTENT, SourceContract

MIB = 1 << 20


class Zeros:
    """As many zeros as one likes, without memory."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        return bytes(place.stop - place.start)


@dataclass
class Far:
    """A file far away, in memory, that notes which ranges it was asked for."""

    content: bytes | Zeros
    name: str = "far://file"
    asked: list[tuple[int, int]] = field(default_factory=list)
    fault: Exception | None = None
    gate: threading.Event | None = None

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def head(self) -> Buffer:
        return self.content[0 : min(HEAD, len(self.content))]

    def fetch(self, start: int, target: memoryview) -> None:
        self.asked.append((start, start + target.nbytes))
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.fault is not None:
            raise self.fault
        target[:] = self.content[start : start + target.nbytes]


class TestRemoteSource(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return RemoteSource(Far(content))


class TestPartOfRemoteSource(SourceContract):
    def make(self, content: bytes, folder: Path) -> Source:
        return part_of(RemoteSource(Far(b"before" + content + b"behind")), 6, len(content), "part")


def test_what_came_with_opening_is_not_asked_for_again() -> None:
    """The first bytes are there."""
    far = Far(CONTENT)
    with RemoteSource(far) as source:
        assert bytes(source.read(0, 512)) == CONTENT[:512]
        assert bytes(source.read(HEAD - 9, 9)) == CONTENT[HEAD - 9 : HEAD]

    assert far.asked == []


def test_a_small_read_brings_its_surroundings_which_are_kept() -> None:
    """Headers stand beside what they are of."""
    far = Far(CONTENT)
    with RemoteSource(far) as source:
        source.read(100_000, 10)
        source.read(100_000 - BESIDE, 100)
        source.read(100_010, BESIDE)

    assert far.asked == [(100_000 - BESIDE, 100_010 + BESIDE)]


@pytest.mark.parametrize("announced", [True, False])
def test_what_goes_on_brings_more_each_time(announced: bool) -> None:
    """The first brings no more than it needs; a read elsewhere begins anew."""
    far = Far(Zeros(20 * MIB))
    with RemoteSource(far) as source:
        for at in range(MIB, 6 * MIB, 10_000):
            if announced:
                announce(source, [(at, at + 10_000)])
            source.read(at, 10_000)
        in_a_row = list(far.asked)
        source.read(15 * MIB, 10_000)

    sizes = [stop - start for start, stop in in_a_row]
    assert sizes[0] <= 10_000 + 2 * BESIDE
    assert AHEAD_MIN < sizes[1] <= AHEAD_MIN + 10_000 + 2 * BESIDE
    assert AHEAD_MAX < max(sizes) <= AHEAD_MAX + 10_000 + 2 * BESIDE
    assert len(in_a_row) <= 12
    assert far.asked[len(in_a_row) :] == [(15 * MIB - BESIDE, 15 * MIB + 10_000 + BESIDE)]


def test_announced_ranges_are_merged_and_fetched_once() -> None:
    """Reads of them, in whatever pieces, ask for nothing more."""
    far = Far(CONTENT * 8)
    with RemoteSource(far) as source:
        announce(source, [(100_000, 200_000), (210_000, 300_000), (600_000, 700_000)])
        for start, stop in [(100_000, 200_000), (210_000, 300_000), (600_000, 700_000)]:
            for at in range(start, stop, 7_000):
                assert bytes(source.read(at, min(7_000, stop - at))) == far.content[at : min(at + 7_000, stop)]

    assert sorted(far.asked) == [(100_000, 300_000), (600_000, 700_000)]


def test_an_announcement_is_under_way_before_it_is_read() -> None:
    """As many requests as are allowed at once wait for their answers together."""
    far = Far(Zeros(600 * MIB), gate=threading.Event())
    with RemoteSource(far) as source:
        announce(source, [(0, far.size)])
        for _ in range(500):
            if len(far.asked) == AT_ONCE:
                break
            threading.Event().wait(0.01)
        asked = len(far.asked)
        assert far.gate is not None
        far.gate.set()

    assert asked == AT_ONCE


def test_a_large_file_goes_by_in_bounded_memory() -> None:
    """What was read is forgotten, and no more is ahead of the reader than the requests at once."""
    far = Far(Zeros(600 * MIB))
    most = 0
    with RemoteSource(far) as source:
        announce(source, [(0, far.size)])
        target = memoryview(bytearray(MIB))
        for at in range(0, far.size, MIB):
            source.read_into(at, target)
            held = [piece for plan in source._plans for piece in plan.pieces.values() if piece.coming is not None]
            most = max(most, sum(piece.stop - piece.start for piece in held))

    assert len(far.asked) == len(set(far.asked))
    assert most <= (AT_ONCE + 1) * PIECE_MAX * 5 // 4


def test_pieces_that_are_passed_over_are_forgotten() -> None:
    """Who reads only a part of what was announced holds no more than who reads all of it."""
    far = Far(Zeros(600 * MIB))
    with RemoteSource(far) as source:
        announce(source, [(0, far.size)])
        for at in range(0, far.size, 30 * MIB):
            source.read(at, 10)
            (plan,) = source._plans
            assert sum(piece.coming is not None for piece in plan.pieces.values()) <= AT_ONCE + 3


def test_reading_backwards_through_an_announcement_is_right() -> None:
    """The hint was wrong; the bytes are not."""
    far = Far(CONTENT * 100)
    with RemoteSource(far) as source:
        announce(source, [(0, far.size)])
        for at in range(far.size - PIECE_MIN, 0, -PIECE_MIN):
            assert bytes(source.read(at, 100)) == far.content[at : at + 100]


def test_more_announcements_than_are_held_lose_the_first_and_no_bytes() -> None:
    """A reader of an announcement that was dropped gets its bytes all the same."""
    far = Far(CONTENT * 100)
    with RemoteSource(far) as source:
        for start in range(20):
            announce(source, [(start * MIB, start * MIB + 300_000)])
        assert len(source._plans) <= 4
        for start in range(20):
            assert bytes(source.read(start * MIB, 300_000)) == far.content[start * MIB : start * MIB + 300_000]


def test_what_is_announced_and_not_read_gives_way() -> None:
    """Readers that stop in the middle leave no more in memory than one that goes on."""
    far = Far(Zeros(1 << 40))
    with RemoteSource(far) as source:
        for start in range(20):
            announce(source, [(start << 35, (start << 35) + 32 * MIB)])
            assert bytes(source.read(start << 35, 10)) == bytes(10)
            assert sum(plan.under_way() for plan in source._plans) <= 3 * AT_ONCE


def test_a_failed_request_fails_the_read_of_it_and_no_other() -> None:
    """The error is the one of the request, and the next read asks again."""
    far = Far(CONTENT)
    with RemoteSource(far) as source:
        far.fault = OSError(errno.EIO, "the line is dead", "far://file")
        with pytest.raises(OSError, match="the line is dead"):
            source.read(100_000, 10)
        far.fault = None

        assert bytes(source.read(100_000, 10)) == CONTENT[100_000:100_010]


def test_a_closed_source_says_so() -> None:
    """It asks for nothing any more."""
    source = RemoteSource(Far(CONTENT))
    source.close()

    with pytest.raises(OSError, match="closed") as caught:
        source.read(100_000, 10)

    assert caught.value.errno == errno.EBADF


def test_a_size_that_no_file_has_takes_no_memory() -> None:
    """A server may say what it likes: an announcement of 2**60 bytes is a few pieces ahead."""
    far = Far(Zeros(1 << 60))
    with RemoteSource(far) as source:
        announce(source, [(0, 1 << 60)])
        assert bytes(source.read(5, 10)) == bytes(10)
